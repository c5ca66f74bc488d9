"""LeetCode tasks that compare the numbers of a list."""

from metarfft_core.tasks.registry import task


@task("lc_2057", source="leetcode", length="length of nums")
class SmallestIndexWithEqualValue:
    """First place whose last digit is its number
    (leetcode.com/problems/smallest-index-with-equal-value)."""

    question = ("Number the places of {nums} from zero on. Which is the first place whose last "
                "digit equals the number there? Answer -1 where there is none.")

    def rule(nums):
        i = 0
        while nums:
            num = nums.pop(0)
            if i % 10 == num:
                return i
            i += 1
        return -1

    def sample(rng, length):
        """Digits; the first match is at any place, or nowhere in one draw of five."""
        place = rng.randrange(length) if rng.random() < 0.8 else length
        nums = [rng.choice([num for num in range(10) if num != i % 10]) for i in range(place)]
        if place < length:
            nums.append(place % 10)
        return {"nums": nums + [rng.randrange(10) for _ in range(length - len(nums))]}


@task("lc_1909", source="leetcode", length="length of nums")
class RemoveOneElementToMakeTheArrayStrictlyIncreasing:
    """Rising but for one number
    (leetcode.com/problems/remove-one-element-to-make-the-array-strictly-increasing)."""

    question = ("Take exactly one number out of {nums}. Can that be done so that every number "
                "left is larger than the one before it?")

    def rule(nums):
        removed = 0
        last = 0
        while nums:
            num = nums.pop(0)
            if num > last:
                before = last
                last = num
            elif removed == 1:
                return False
            else:
                removed = 1
                if num > before:
                    last = num
        return True

    def sample(rng, length):
        """Rising numbers up to 99. For a yes, none or one of them changes; for a no, two repeat
        the one before, two change places, or two pairs do."""
        nums = sorted(rng.sample(range(1, 100), length))
        if length < 3 or rng.random() < 0.5:
            place = rng.randrange(length)
            nums[place] = rng.choice([nums[place], nums[place - 1], rng.randint(1, 99)])
            return {"nums": nums}
        way = rng.choice(["repeats", "change places", "pairs"])
        if way == "repeats":
            for place in sorted(rng.sample(range(1, length), 2)):
                nums[place] = nums[place - 1]
        elif way == "pairs" and length > 3:
            i = rng.randint(0, length - 4)
            nums[i:i + 4] = nums[i + 2:i + 4] + nums[i:i + 2]
        else:
            i = rng.randint(0, length - 3)
            j = rng.randint(i + 2, length - 1)
            nums[i], nums[j] = nums[j], nums[i]
        return {"nums": nums}


@task("lc_2078", source="leetcode", length="number of houses")
class TwoFurthestHousesWithDifferentColors:
    """Largest distance between two colours
    (leetcode.com/problems/two-furthest-houses-with-different-colors)."""

    question = ("The houses of a street have the colours {colors}, one number for each colour, and "
                "each stands at a distance of one from the next. How far from each other are the "
                "two furthest houses of different colours?")

    def rule(colors):
        first = colors.pop(0)
        left = 0
        right = 0
        i = 0
        while colors:
            color = colors.pop(0)
            i += 1
            if color != first:
                right = i
                if left == 0:
                    left = i
        return max(right, i - left)

    def sample(rng, length):
        """Colours 1 to 4; in seven draws of ten one colour alone but for one to three houses."""
        if length == 1 or rng.random() < 0.3:
            colors = [rng.randint(1, 4) for _ in range(length)]
        else:
            colors = [rng.randint(1, 4)] * length
            for _ in range(rng.randint(1, 3)):
                colors[rng.randrange(length)] = rng.randint(1, 4)
        if length > 1 and len(set(colors)) == 1:
            colors[rng.randrange(length)] = colors[0] % 4 + 1
        return {"colors": colors}


@task("lc_2016", source="leetcode", length="length of nums")
class MaximumDifferenceBetweenIncreasingElements:
    """Largest rise from a number to a later one
    (leetcode.com/problems/maximum-difference-between-increasing-elements)."""

    question = ("By how much does a number of {nums} exceed an earlier one at most? Answer -1 "
                "where none is larger than an earlier one.")

    def rule(nums):
        lowest = nums.pop(0)
        best = -1
        while nums:
            num = nums.pop(0)
            if num > lowest:
                rise = num - lowest
                best = max(best, rise)
            else:
                lowest = num
        return best

    def sample(rng, length):
        """Numbers up to 50, never rising in one draw of seven, else falling but for one to three
        places in half of the lists from length 4 on."""
        nums = [rng.randint(1, 50) for _ in range(length)]
        if rng.random() < 1 / 7:
            nums.sort(reverse=True)
        elif length > 3 and rng.random() < 0.5:
            nums.sort(reverse=True)
            for _ in range(rng.randint(1, 3)):
                nums[rng.randrange(1, length)] = rng.randint(1, 50)
        return {"nums": nums}


@task("lc_414", source="leetcode", length="length of nums")
class ThirdMaximumNumber:
    """The third largest value (leetcode.com/problems/third-maximum-number)."""

    question = ("What is the third largest of the distinct numbers in {nums}? Where there are "
                "fewer than three distinct ones, give the largest.")

    def rule(nums):
        first = -1
        second = -1
        while nums:
            num = nums.pop(0)
            if num > first:
                third = second
                second = first
                first = num
            elif first > num > second:
                third = second
                second = num
            elif second > num > third:
                third = num
        if third == -1:
            return first
        return third

    def sample(rng, length):
        """Out of 2 to 20 numbers from 0 to 99, so that some occur again and again."""
        pool = rng.sample(range(100), rng.choice([2, 4, 20]))
        return {"nums": rng.choices(pool, k=length)}


@task("lc_896", source="leetcode", length="length of nums")
class MonotonicArray:
    """Never rising or never falling (leetcode.com/problems/monotonic-array)."""

    question = ("Do the numbers {nums} never fall, or never rise, from one to the next? Equal "
                "neighbours neither fall nor rise.")

    def rule(nums):
        never_falls = True
        never_rises = True
        last = nums.pop(0)
        while nums:
            num = nums.pop(0)
            if num > last:
                never_rises = False
            elif num < last:
                never_falls = False
            last = num
        return never_falls or never_rises

    def sample(rng, length):
        """Sorted either way, with repeats; for a no, numbers change until it is neither."""
        highest = rng.choice([length // 2 + 1, length + 1, 30])
        nums = sorted(rng.randint(1, highest) for _ in range(length))
        if rng.random() < 0.5:
            nums.reverse()
        if length > 2 and rng.random() < 0.5:
            while nums in (sorted(nums), sorted(nums)[::-1]):
                nums[rng.randrange(length)] = rng.randint(1, highest + 2)
        return {"nums": nums}
