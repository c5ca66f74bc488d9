"""LeetCode tasks that count or add up over a list of numbers."""

from metarfft_core.tasks.registry import task


@task("lc_2210", source="leetcode", length="length of nums")
class CountHillsAndValleys:
    """Turns between up and down (leetcode.com/problems/count-hills-and-valleys-in-an-array)."""

    question = ("Count neighbours that are equal in {nums} as one place. A place is a hill where "
                "the places on both sides exist and are lower, a valley where both exist and are "
                "higher. How many hills and valleys are there together?")

    def rule(nums):
        count = 0
        way = 'flat'
        last = nums.pop(0)
        while nums:
            num = nums.pop(0)
            if num > last:
                if way == 'down':
                    count += 1
                way = 'up'
            elif num < last:
                if way == 'up':
                    count += 1
                way = 'down'
            last = num
        return count

    def sample(rng, length):
        """Single digits; a quarter repeat the one before, others go on in its direction."""
        nums, step = [rng.randint(1, 9)], 0
        while len(nums) < length:
            if rng.random() < 0.25:
                nums.append(nums[-1])
            elif rng.random() < 0.5 and 1 <= nums[-1] + step <= 9:
                nums.append(nums[-1] + step)
            else:
                nums.append(rng.randint(1, 9))
                step = (nums[-1] > nums[-2]) - (nums[-1] < nums[-2])
        return {"nums": nums}


@task("lc_2529", source="leetcode", length="length of nums")
class MaximumCountOfPositiveAndNegative:
    """The larger of two counts
    (leetcode.com/problems/maximum-count-of-positive-integer-and-negative-integer)."""

    question = ("Count the positive and the negative numbers in the sorted list {nums}; zero is "
                "neither. What is the larger of the two counts?")

    def rule(nums):
        positive = 0
        negative = 0
        while nums:
            num = nums.pop(0)
            if num > 0:
                positive += 1
            elif num < 0:
                negative += 1
        return max(positive, negative)

    counterfactual = {"return max(positive, negative)": "return min(positive, negative)"}

    def sample(rng, length):
        """From -9 to 9, any number of negative ones, up to a third of zeros."""
        zeros = rng.randint(0, (length + 1) // 3)
        below = rng.randint(0, length - zeros)
        above = length - zeros - below
        nums = [-rng.randint(1, 9) for _ in range(below)] + [0] * zeros
        return {"nums": sorted(nums + [rng.randint(1, 9) for _ in range(above)])}


@task("lc_2404", source="leetcode", length="length of nums")
class MostFrequentEvenElement:
    """The even number that occurs most often
    (leetcode.com/problems/most-frequent-even-element)."""

    question = ("Which even number occurs most often in {nums}? Take the smallest where several "
                "do, and -1 where no number is even.")

    def rule(nums):
        counts = {}
        most = 0
        best = -1
        while nums:
            num = nums.pop(0)
            if num % 2 == 0:
                count = counts.get(num, 0) + 1
                counts[num] = count
                if count > most:
                    most = count
                    best = num
                elif count == most:
                    best = min(best, num)
        return best

    counterfactual = {"if num % 2 == 0:": "if num % 2 == 1:"}

    def sample(rng, length):
        """Single digits, two thirds of them even; odd ones alone in one draw of seven."""
        if rng.random() < 1 / 7:
            return {"nums": rng.choices([1, 3, 5, 7, 9], k=length)}
        nums = [rng.choice([0, 2, 4, 6, 8]) if rng.random() < 2 / 3 else rng.choice([1, 3, 5, 7, 9])
                for _ in range(length)]
        nums[rng.randrange(length)] = rng.choice([0, 2, 4, 6, 8])
        return {"nums": nums}


@task("lc_674", source="leetcode", length="length of nums")
class LongestContinuousIncreasingSubsequence:
    """Length of the longest rising run
    (leetcode.com/problems/longest-continuous-increasing-subsequence)."""

    question = ("How long is the longest stretch of neighbours in {nums} in which every number is "
                "larger than the one before it?")

    def rule(nums):
        last = nums.pop(0)
        run = 1
        best = 1
        while nums:
            num = nums.pop(0)
            if num > last:
                run += 1
                best = max(best, run)
            else:
                run = 1
            last = num
        return best

    counterfactual = {"if num > last:": "if num < last:"}

    def sample(rng, length):
        """Numbers up to 99 that rise by 1 to 6 in two steps of three, else fall or stay."""
        nums = [rng.randint(1, 30)]
        while len(nums) < length:
            if nums[-1] < 94 and rng.random() < 2 / 3:
                nums.append(nums[-1] + rng.randint(1, 6))
            else:
                nums.append(nums[-1] if rng.random() < 0.3 else rng.randint(1, nums[-1]))
        return {"nums": nums}


@task("lc_485", source="leetcode", length="length of nums")
class MaxConsecutiveOnes:
    """Longest run of ones (leetcode.com/problems/max-consecutive-ones)."""

    question = "What is the largest number of ones in a row in {nums}?"

    def rule(nums):
        run = 0
        best = 0
        while nums:
            num = nums.pop(0)
            if num == 1:
                run += 1
                best = max(best, run)
            else:
                run = 0
        return best

    counterfactual = {"if num == 1:": "if num == 0:"}

    def sample(rng, length):
        """Ones at a share of 3, 5 or 8 in ten."""
        share = rng.choice([0.3, 0.5, 0.8])
        return {"nums": [1 if rng.random() < share else 0 for _ in range(length)]}


@task("lc_605", source="leetcode", length="length of flowerbed")
class CanPlaceFlowers:
    """Room for n more flowers (leetcode.com/problems/can-place-flowers).

    The middle one of three empty plots takes a flower; the edge of the bed counts as empty."""

    question = ("In the flowerbed {flowerbed} a one is a plot with a flower, a zero an empty plot. "
                "Flowers may not stand on neighbouring plots. Is there room for {n} more flowers?")

    def rule(flowerbed, n):
        empty = 1
        while flowerbed:
            plot = flowerbed.pop(0)
            if plot == 1:
                empty = 0
            else:
                empty += 1
                if empty == 3:
                    n -= 1
                    empty = 1
        if empty == 2:
            n -= 1
        return n <= 0

    def sample(rng, length):
        """For a yes up to as many flowers as there is room for, for a no one or two more."""
        share = rng.choice([0.1, 0.3, 0.5])
        bed = []
        while len(bed) < length:
            bed.append(1 if bed[-1:] != [1] and rng.random() < share else 0)
        gaps = ("0" + "".join(map(str, bed)) + "0").split("1")
        room = sum((len(gap) - 1) // 2 for gap in gaps if gap)
        if rng.random() < 0.5:
            n = room if rng.random() < 0.5 else rng.randint(0, room)
        else:
            n = room + rng.choice([1, 1, 2])
        return {"flowerbed": bed, "n": n}


@task("lc_268", source="leetcode", length="n + 1, where nums holds n distinct numbers of 0..n")
class MissingNumber:
    """The one of 0 to n that a list lacks (leetcode.com/problems/missing-number)."""

    question = ("The list {nums} holds all whole numbers from zero up to its length but for one. "
                "Which one is missing?")

    def rule(nums):
        i = 0
        expected = 0
        total = 0
        while nums:
            num = nums.pop(0)
            total += num
            i += 1
            expected += i
        return expected - total

    def sample(rng, length):
        return {"nums": rng.sample(range(length), length - 1)}


@task("lc_2562", source="leetcode", length="length of nums")
class FindTheArrayConcatenationValue:
    """Sum of first and last numbers written together
    (leetcode.com/problems/find-the-array-concatenation-value)."""

    question = ("Take the first and the last number of {nums} away, write them one behind the "
                "other as one number, and go on until the list is empty; a last number that is "
                "left alone counts as it is. What is the sum of these numbers?")

    def rule(nums):
        total = 0
        while nums:
            first = nums.pop(0)
            if nums:
                last = nums.pop()
                joined = str(first) + str(last)
                total += int(joined)
            else:
                total += first
        return total

    def sample(rng, length):
        """Numbers of one or two digits, up to 30."""
        return {"nums": [rng.randint(1, rng.choice([9, 30])) for _ in range(length)]}


@task("lc_2869", source="leetcode",
      length="highest number: nums holds 1.9 * length (rounded down) out of two of each")
class MinimumOperationsToCollectElements:
    """How many to take from the end until 1 to k are collected
    (leetcode.com/problems/minimum-operations-to-collect-elements)."""

    question = ("Take numbers from the end of {nums}, one after the other. How many must be taken "
                "until all whole numbers from one up to {k} are among them? Answer -1 where they "
                "cannot be.")

    def rule(nums, k):
        nums.reverse()
        seen = {}
        missing = k
        operations = 0
        for num in nums:
            operations += 1
            if num <= k and seen.get(num, 0) == 0:
                seen[num] = 1
                missing -= 1
                if missing == 0:
                    return operations
        return -1

    def sample(rng, length):
        """Up to length 10 only one number of the two of each lacks, so that -1 cannot be."""
        size = max(1, int(1.9 * length))
        k = rng.randint(min(3, length), length)
        lacking = []
        if 2 * length - size > 1 and rng.random() < 0.15:
            lacking = [rng.randint(1, k)]
        nums = [num for num in range(1, length + 1) if num not in lacking] * 2
        return {"nums": rng.sample(nums, size), "k": k}
