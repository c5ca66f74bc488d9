"""LeetCode tasks that turn a list into another list."""

from metarfft_core.tasks.registry import task


@task("lc_283", source="leetcode", split="downstream", length="length of nums")
class MoveZeroes:
    """Zeros to the end of a list (leetcode.com/problems/move-zeroes)."""

    question = "Move all zeros of {nums} to the end and keep the order of the other numbers."

    def rule(nums):
        result = []
        zeros = 0
        while nums:
            num = nums.pop(0)
            if num == 0:
                zeros += 1
            else:
                result.append(num)
        while zeros > 0:
            result.append(0)
            zeros -= 1
        return result

    counterfactual = {"if num == 0:": "if num == 1:"}

    def sample(rng, length):
        """Single digits, about four zeros in ten."""
        return {"nums": [0 if rng.random() < 0.4 else rng.randint(1, 9) for _ in range(length)]}


@task("lc_2677", source="leetcode", split="downstream", length="length of arr")
class ChunkArray:
    """A list cut into pieces (leetcode.com/problems/chunk-array)."""

    question = ("Cut the list {arr} into pieces of {size} items; the last piece may be shorter.")

    def rule(arr, size):
        chunks = []
        chunk = []
        while arr:
            item = arr.pop(0)
            chunk.append(item)
            if len(chunk) == size:
                chunks.append(chunk)
                chunk = []
        if chunk:
            chunks.append(chunk)
        return chunks

    counterfactual = {"if len(chunk) == size:": "if len(chunk) > size:"}

    def sample(rng, length):
        return {"arr": [rng.randint(0, 9) for _ in range(length)],
                "size": rng.randint(1, min(length + 1, 6))}


@task("lc_2899", source="leetcode", length="length of nums")
class LastVisitedIntegers:
    """The numbers that each -1 looks back at (leetcode.com/problems/last-visited-integers)."""

    question = ("Every -1 in {nums} looks back at the numbers before it that are not -1: the first "
                "-1 in a row at the last of them, the second -1 in that row at the last but one, "
                "and so on. List what each -1 finds, from left to right, or -1 where it finds "
                "none.")

    def rule(nums):
        seen = []
        size = 0
        asked = 0
        result = []
        while nums:
            num = nums.pop(0)
            if num != -1:
                seen.insert(0, num)
                size += 1
                asked = 0
            elif asked < size:
                result.append(seen[asked])
                asked += 1
            else:
                result.append(-1)
        return result

    def sample(rng, length):
        """Single digits from 1; -1 at every second place or so, often several in a row."""
        return {"nums": [-1 if rng.random() < 0.45 else rng.randint(1, 9)
                         for _ in range(length)]}


@task("lc_2460", source="leetcode", length="length of nums")
class ApplyOperationsToAnArray:
    """Merge equal neighbours, then zeros to the end
    (leetcode.com/problems/apply-operations-to-an-array)."""

    question = ("Go through {nums} from left to right: where a number equals the next one, double "
                "it and make the next one zero, before you go on. At the end move all zeros to "
                "the end and keep the order of the other numbers. What is the list now?")

    def rule(nums):
        result = []
        zeros = []
        while nums:
            num = nums.pop(0)
            if num == 0:
                zeros.append(0)
            elif nums and num == nums[0]:
                result.append(num * 2)
                nums[0] = 0
            else:
                result.append(num)
        result.extend(zeros)
        return result

    def sample(rng, length):
        """Single digits, four in ten the same as or twice the one before; some zeros."""
        nums = []
        while len(nums) < length:
            if nums and rng.random() < 0.4:
                nums.append(rng.choice([nums[-1], nums[-1], nums[-1] * 2 % 10]))
            else:
                nums.append(0 if rng.random() < 0.15 else rng.randint(1, 9))
        return {"nums": nums}


@task("lc_228", source="leetcode", length="numbers drawn, before repeats are dropped")
class SummaryRanges:
    """A sorted list as ranges (leetcode.com/problems/summary-ranges)."""

    question = ("Write the sorted list {nums} as the shortest list of ranges: 'a->b' for the "
                "whole numbers from a to b, 'a' for a number without neighbours.")

    def rule(nums):
        ranges = []
        while nums:
            start = nums.pop(0)
            end = start
            while nums and nums[0] == end + 1:
                end = nums.pop(0)
            if start == end:
                ranges.append(str(start))
            else:
                ranges.append(str(start) + '->' + str(end))
        return ranges

    def sample(rng, length):
        """Out of up to twice as many numbers, below 130."""
        first = rng.randint(0, 9)
        last = first + rng.randint(length, 2 * length)
        return {"nums": sorted({rng.randint(first, last) for _ in range(length)})}


@task("lc_448", source="leetcode", length="length of nums")
class FindAllNumbersDisappearedInAnArray:
    """Which of 1 to n are not in a list of n numbers
    (leetcode.com/problems/find-all-numbers-disappeared-in-an-array)."""

    question = ("Let n be the number of items in {nums}. Which whole numbers from one to n are "
                "not among the items? List them in ascending order.")

    def rule(nums):
        seen = {}
        n = 0
        while nums:
            num = nums.pop(0)
            seen[num] = 1
            n += 1
        missing = []
        num = 1
        while num <= n:
            if seen.get(num, 0) == 0:
                missing.append(num)
            num += 1
        return missing

    def sample(rng, length):
        """Any numbers of 1 to n in two draws of three, else all of them but for some repeats."""
        if rng.random() < 2 / 3:
            return {"nums": [rng.randint(1, length) for _ in range(length)]}
        nums = rng.sample(range(1, length + 1), length)
        for _ in range(rng.randint(0, 2)):
            nums[rng.randrange(length)] = rng.randint(1, length)
        return {"nums": nums}


@task("lc_344", source="leetcode", length="length of s")
class ReverseString:
    """Characters in opposite order (leetcode.com/problems/reverse-string)."""

    question = "Write the characters {s} in opposite order, again as a list."

    def rule(s):
        result = []
        while s:
            letter = s.pop(0)
            result.insert(0, letter)
        return result

    def sample(rng, length):
        """Letters of either case and digits."""
        return {"s": [rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
                      for _ in range(length)]}
