"""Independent answers to the LeetCode tasks on lists of numbers, and checked cases."""

from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import combinations, groupby, pairwise


def count_hills_and_valleys(nums):
    places = [num for num, _ in groupby(nums)]
    return sum((two > one) == (two > three)
               for one, two, three in zip(places, places[1:], places[2:], strict=False))


def groups(items):
    return [list(group) for _, group in groupby(items)]


def last_visited_integers(nums):
    found = []
    for end, num in enumerate(nums, start=1):
        if num == -1:
            before = [one for one in nums[:end] if one != -1]
            in_a_row = len(groups(nums[:end])[-1])
            found.append(before[-in_a_row] if in_a_row <= len(before) else -1)
    return found


def smallest_index_with_equal_value(nums):
    return min((i for i, num in enumerate(nums) if str(i)[-1] == str(num)), default=-1)


def apply_operations_to_an_array(nums):
    result = []
    for group in groups(nums):
        pairs, alone = divmod(len(group), 2)
        result += [2 * group[0]] * pairs + [group[0]] * alone
    result = [num for num in result if num]
    return result + [0] * (len(nums) - len(result))


def remove_one_element_to_make_the_array_strictly_increasing(nums):
    lefts = [nums[:i] + nums[i + 1:] for i in range(len(nums))]
    return any(left == sorted(set(left)) for left in lefts)


def two_furthest_houses_with_different_colors(colors):
    return max((j - i for (i, one), (j, two) in combinations(enumerate(colors), 2) if one != two),
               default=0)


def maximum_difference_between_increasing_elements(nums):
    return max((two - one for one, two in combinations(nums, 2) if one < two), default=-1)


def maximum_count_of_positive_and_negative(nums):
    return max(bisect_left(nums, 0), len(nums) - bisect_right(nums, 0))


def most_frequent_even_element(nums):
    counts = Counter(num for num in nums if num % 2 == 0)
    return min(counts, key=lambda num: (-counts[num], num), default=-1)


def longest_continuous_increasing_subsequence(nums):
    steps = "".join("<" if one < two else "|" for one, two in pairwise(nums))
    return max(map(len, steps.split("|"))) + 1


def can_place_flowers(flowerbed, n):
    """The most flowers that fit, with the plot before empty and with a flower on it."""
    bed = [0, *flowerbed, 0]
    empty, planted = 0, -1
    for before, plot, behind in zip(bed, bed[1:], bed[2:], strict=False):
        free = before == plot == behind == 0
        empty, planted = max(empty, planted), empty + 1 if free else -1
    return max(empty, planted) >= n


def third_maximum_number(nums):
    distinct = sorted(set(nums), reverse=True)
    return distinct[2] if len(distinct) > 2 else distinct[0]


def summary_ranges(nums):
    ranges = []
    for _, group in groupby(enumerate(nums), key=lambda pair: pair[1] - pair[0]):
        members = [str(num) for _, num in group]
        ranges.append("->".join([members[0], members[-1]][:len(members)]))
    return ranges


def minimum_operations_to_collect_elements(nums, k):
    if not set(range(1, k + 1)) <= set(nums):
        return -1
    return max(nums[::-1].index(num) + 1 for num in range(1, k + 1))


def find_the_array_concatenation_value(nums):
    half = len(nums) // 2
    middle = nums[half] if len(nums) % 2 else 0
    return middle + sum(first * 10 ** len(str(last)) + last
                        for first, last in zip(nums[:half], nums[::-1], strict=False))


ORACLES = {
    "lc_2210": count_hills_and_valleys,
    "lc_2899": last_visited_integers,
    "lc_2057": smallest_index_with_equal_value,
    "lc_2460": apply_operations_to_an_array,
    "lc_1909": remove_one_element_to_make_the_array_strictly_increasing,
    "lc_2078": two_furthest_houses_with_different_colors,
    "lc_2016": maximum_difference_between_increasing_elements,
    "lc_2529": maximum_count_of_positive_and_negative,
    "lc_2404": most_frequent_even_element,
    "lc_674": longest_continuous_increasing_subsequence,
    "lc_605": can_place_flowers,
    "lc_414": third_maximum_number,
    "lc_228": summary_ranges,
    "lc_448": lambda nums: sorted(set(range(1, len(nums) + 1)) - set(nums)),
    "lc_268": lambda nums: (set(range(len(nums) + 1)) - set(nums)).pop(),
    "lc_2562": find_the_array_concatenation_value,
    "lc_485": lambda nums: max(map(len, "".join(map(str, nums)).split("0"))),
    "lc_344": lambda s: s[::-1],
    "lc_896": lambda nums: nums in (sorted(nums), sorted(nums, reverse=True)),
    "lc_2869": minimum_operations_to_collect_elements,
}

EDGES = {
    "lc_2210": [
        ({"nums": [5]}, 0),
        ({"nums": [4, 4, 4, 4]}, 0),
        ({"nums": [1, 2]}, 0),
        ({"nums": [2, 4, 1, 1, 6, 5]}, 3),
        ({"nums": [6, 6, 5, 5, 4, 1]}, 0),
        ({"nums": [1, 3, 3, 3, 1]}, 1),
        ({"nums": [3, 1, 1, 3]}, 1),
        ({"nums": [1, 2, 2, 3]}, 0),
    ],
    "lc_2899": [
        ({"nums": [7]}, []),
        ({"nums": [-1]}, [-1]),
        ({"nums": [1, 2, -1, -1, -1]}, [2, 1, -1]),
        ({"nums": [1, -1, 2, -1, -1]}, [1, 2, 1]),
        ({"nums": [-1, -1, 3, -1]}, [-1, -1, 3]),
        ({"nums": [1, 2, 3]}, []),
    ],
    "lc_2057": [
        ({"nums": [0]}, 0),
        ({"nums": [1]}, -1),
        ({"nums": [4, 3, 2, 1]}, 2),
        ({"nums": [0, 1, 2]}, 0),
        ({"nums": [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0]}, 10),
        ({"nums": [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 0, 1]}, -1),
    ],
    "lc_2460": [
        ({"nums": [0]}, [0]),
        ({"nums": [0, 0, 0]}, [0, 0, 0]),
        ({"nums": [2, 2, 2]}, [4, 2, 0]),
        ({"nums": [2, 2, 4]}, [4, 4, 0]),
        ({"nums": [1, 2, 2, 1, 1, 0]}, [1, 4, 2, 0, 0, 0]),
        ({"nums": [3, 0, 3]}, [3, 3, 0]),
        ({"nums": [5, 5, 5, 5]}, [10, 10, 0, 0]),
    ],
    "lc_1909": [
        ({"nums": [1]}, True),
        ({"nums": [3, 3]}, True),
        ({"nums": [1, 1, 1]}, False),
        ({"nums": [3, 2, 1]}, False),
        ({"nums": [1, 2, 10, 5, 7]}, True),
        ({"nums": [2, 3, 1, 2]}, False),
        ({"nums": [9, 1, 2]}, True),
        ({"nums": [1, 2, 1]}, True),
        ({"nums": [1, 2, 1, 2]}, False),
        ({"nums": [1, 3, 2, 3]}, True),
        ({"nums": [1, 5, 2, 4, 3]}, False),
    ],
    "lc_2078": [
        ({"colors": [2]}, 0),
        ({"colors": [1, 2]}, 1),
        ({"colors": [1, 1, 1, 2, 1, 1, 1]}, 3),
        ({"colors": [1, 8, 3, 8, 3]}, 4),
        ({"colors": [1, 1, 2, 1]}, 2),
        ({"colors": [1, 2, 1, 1]}, 2),
        ({"colors": [1, 1, 2, 3]}, 3),
        ({"colors": [1, 2, 3, 1, 1]}, 3),
    ],
    "lc_2016": [
        ({"nums": [5]}, -1),
        ({"nums": [4, 4]}, -1),
        ({"nums": [9, 4, 3, 2]}, -1),
        ({"nums": [7, 1, 5, 4]}, 4),
        ({"nums": [1, 5, 2, 10]}, 9),
        ({"nums": [3, 9, 1, 5]}, 6),
        ({"nums": [2, 2, 3]}, 1),
    ],
    "lc_2529": [
        ({"nums": [0]}, 0),
        ({"nums": [-1]}, 1),
        ({"nums": [1]}, 1),
        ({"nums": [-2, -1, -1, 1, 2, 3]}, 3),
        ({"nums": [-3, -2, -1, 0, 0, 1, 2]}, 3),
        ({"nums": [5, 20, 66]}, 3),
    ],
    "lc_2404": [
        ({"nums": [0]}, 0),
        ({"nums": [3]}, -1),
        ({"nums": [0, 1, 2, 2, 4, 4, 1]}, 2),
        ({"nums": [4, 4, 4, 9, 2, 4]}, 4),
        ({"nums": [8, 6, 8, 6]}, 6),
        ({"nums": [6, 8, 6, 8]}, 6),
        ({"nums": [7, 7, 7, 2]}, 2),
    ],
    "lc_674": [
        ({"nums": [3]}, 1),
        ({"nums": [2, 2, 2]}, 1),
        ({"nums": [1, 3, 5, 4, 7]}, 3),
        ({"nums": [9, 1, 2, 3]}, 3),
        ({"nums": [1, 2, 3, 1]}, 3),
        ({"nums": [1, 2, 2, 3, 4]}, 3),
    ],
    "lc_605": [
        ({"flowerbed": [0], "n": 1}, True),
        ({"flowerbed": [1], "n": 1}, False),
        ({"flowerbed": [1], "n": 0}, True),
        ({"flowerbed": [0, 0], "n": 2}, False),
        ({"flowerbed": [1, 0, 0, 0, 1], "n": 1}, True),
        ({"flowerbed": [1, 0, 0, 0, 1], "n": 2}, False),
        ({"flowerbed": [1, 0, 0, 1], "n": 1}, False),
        ({"flowerbed": [0, 0, 1, 0, 0], "n": 2}, True),
        ({"flowerbed": [0, 0, 0, 0, 0], "n": 3}, True),
        ({"flowerbed": [0, 0, 0, 0, 0, 0], "n": 4}, False),
    ],
    "lc_414": [
        ({"nums": [0]}, 0),
        ({"nums": [1, 2]}, 2),
        ({"nums": [2, 2, 3, 1]}, 1),
        ({"nums": [5, 5, 5]}, 5),
        ({"nums": [1, 2, 0]}, 0),
        ({"nums": [3, 2, 2, 3]}, 3),
        ({"nums": [1, 3, 2, 3]}, 1),
    ],
    "lc_228": [
        ({"nums": [0]}, ["0"]),
        ({"nums": [0, 1, 2, 4, 5, 7]}, ["0->2", "4->5", "7"]),
        ({"nums": [0, 2, 3, 4, 6, 8, 9]}, ["0", "2->4", "6", "8->9"]),
        ({"nums": [1, 3, 5]}, ["1", "3", "5"]),
        ({"nums": [8, 9, 10, 11]}, ["8->11"]),
    ],
    "lc_448": [
        ({"nums": [1]}, []),
        ({"nums": [1, 1]}, [2]),
        ({"nums": [2, 2]}, [1]),
        ({"nums": [4, 3, 2, 7, 8, 2, 3, 1]}, [5, 6]),
        ({"nums": [3, 1, 2]}, []),
    ],
    "lc_268": [
        ({"nums": []}, 0),
        ({"nums": [0]}, 1),
        ({"nums": [1]}, 0),
        ({"nums": [3, 0, 1]}, 2),
        ({"nums": [0, 1, 2]}, 3),
    ],
    "lc_2562": [
        ({"nums": [4]}, 4),
        ({"nums": [7, 52, 2, 4]}, 596),
        ({"nums": [5, 14, 13, 8, 12]}, 673),
        ({"nums": [10, 1]}, 101),
        ({"nums": [1, 10]}, 110),
        ({"nums": [1, 2, 3]}, 15),
    ],
    "lc_485": [
        ({"nums": [0]}, 0),
        ({"nums": [1]}, 1),
        ({"nums": [1, 1, 0, 1, 1, 1]}, 3),
        ({"nums": [1, 1, 1, 0]}, 3),
        ({"nums": [0, 1, 0, 1, 1, 0]}, 2),
    ],
    "lc_344": [
        ({"s": ["a"]}, ["a"]),
        ({"s": ["a", "b"]}, ["b", "a"]),
        ({"s": ["h", "e", "l", "l", "o"]}, ["o", "l", "l", "e", "h"]),
        ({"s": ["A", "a", "0", "0"]}, ["0", "0", "a", "A"]),
    ],
    "lc_896": [
        ({"nums": [1]}, True),
        ({"nums": [2, 2, 2]}, True),
        ({"nums": [2, 1]}, True),
        ({"nums": [1, 2, 2, 3]}, True),
        ({"nums": [6, 5, 4, 4]}, True),
        ({"nums": [1, 3, 2]}, False),
        ({"nums": [3, 1, 2]}, False),
        ({"nums": [1, 1, 2, 2, 1]}, False),
    ],
    "lc_2869": [
        ({"nums": [1], "k": 1}, 1),
        ({"nums": [3, 1, 5, 4, 2], "k": 2}, 4),
        ({"nums": [3, 1, 5, 4, 2], "k": 5}, 5),
        ({"nums": [3, 2, 5, 3, 1], "k": 3}, 4),
        ({"nums": [1, 2, 2], "k": 2}, 3),
        ({"nums": [1, 3, 3], "k": 3}, -1),
        ({"nums": [2, 3, 2], "k": 1}, -1),
    ],
}
