"""Oracles of the eight downstream LeetCode tasks."""

import re
from itertools import accumulate


def crawler_depth(logs):
    """The last height of a walk above the lowest point it has reached, the start included."""
    heights = [{"../": -1, "./": 0}.get(log, 1) for log in logs]
    walk = list(accumulate(heights, initial=0))
    return walk[-1] - min(walk)


def palindrome(s):
    kept = re.sub(r"[^a-z0-9]", "", s.lower())
    return kept == kept[::-1]


def alternating(n):
    digits = [int(digit) for digit in str(n)]
    return sum(digits[::2]) - sum(digits[1::2])


def screens(target):
    return [target[:place] + chr(code) for place, last in enumerate(target)
            for code in range(ord("a"), ord(last) + 1)]


ORACLES = {
    "lc_258": lambda num: 1 + (num - 1) % 9 if num else 0,
    "lc_283": lambda nums: sorted(nums, key=lambda num: num == 0),
    "lc_125": palindrome,
    "lc_2544": alternating,
    "lc_1598": crawler_depth,
    "lc_3324": screens,
    "lc_2677": lambda arr, size: [arr[at:at + size] for at in range(0, len(arr), size)],
    "lc_461": lambda x, y: (int(x, 2) ^ int(y, 2)).bit_count(),
}

EDGES = {
    "lc_258": [
        ({"num": 0}, 0),
        ({"num": 9}, 9),
        ({"num": 10}, 1),
        ({"num": 99}, 9),
        ({"num": 199}, 1),
        ({"num": int("9" * 60)}, 9),
    ],
    "lc_283": [
        ({"nums": [0]}, [0]),
        ({"nums": [7]}, [7]),
        ({"nums": [0, 0, 0]}, [0, 0, 0]),
        ({"nums": [0, 1, 0, 3, 12]}, [1, 3, 12, 0, 0]),
        ({"nums": [2, 1, 2, 0]}, [2, 1, 2, 0]),
    ],
    "lc_125": [
        ({"s": "aa"}, True),
        ({"s": "ab"}, False),
        ({"s": ".,"}, True),
        ({"s": "0P"}, False),
        ({"s": "A man, a plan, a canal: Panama"}, True),
        ({"s": "race a car"}, False),
        ({"s": "aA ,bB:Aa"}, True),
        ({"s": "1a.2"}, False),
    ],
    "lc_2544": [
        ({"n": 0}, 0),
        ({"n": 5}, 5),
        ({"n": 10}, 1),
        ({"n": 19}, -8),
        ({"n": 521}, 4),
        ({"n": 886996}, 0),
    ],
    "lc_1598": [
        ({"logs": ["../"]}, 0),
        ({"logs": ["./"]}, 0),
        ({"logs": ["a1/"]}, 1),
        ({"logs": ["d1/", "d2/", "../", "d2/", "./"]}, 2),
        ({"logs": ["d1/", "../", "../", "../"]}, 0),
        ({"logs": ["../", "a0/", "./", "b7/"]}, 2),
    ],
    "lc_3324": [
        ({"target": "a"}, ["a"]),
        ({"target": "b"}, ["a", "b"]),
        ({"target": "aa"}, ["a", "aa"]),
        ({"target": "abc"}, ["a", "aa", "ab", "aba", "abb", "abc"]),
        ({"target": "z"}, [chr(code) for code in range(97, 123)]),
    ],
    "lc_2677": [
        ({"arr": [4], "size": 1}, [[4]]),
        ({"arr": [4], "size": 2}, [[4]]),
        ({"arr": [1, 2, 3, 4], "size": 2}, [[1, 2], [3, 4]]),
        ({"arr": [1, 9, 6, 3, 2], "size": 3}, [[1, 9, 6], [3, 2]]),
        ({"arr": [8, 5, 3, 2, 6], "size": 6}, [[8, 5, 3, 2, 6]]),
        ({"arr": [7, 7, 7], "size": 1}, [[7], [7], [7]]),
    ],
    "lc_461": [
        ({"x": "0", "y": "0"}, 0),
        ({"x": "0", "y": "1"}, 1),
        ({"x": "0001", "y": "0100"}, 2),
        ({"x": "1010", "y": "0101"}, 4),
        ({"x": "1" * 60, "y": "1" * 60}, 0),
    ],
}
