"""Oracles of the LeetCode tasks on words and sentences (lc_1598 is in downstream.py)."""

import re


def goat_latin(sentence):
    words = [re.sub(r"^([^aeiou])(.*)$", r"\2\1", word, flags=re.IGNORECASE)
             for word in sentence.split()]
    return " ".join(f"{word}ma{'a' * place}" for place, word in enumerate(words, start=1))


def alien_order(words, order):
    """In order is what sorting leaves as it is."""
    earthly = str.maketrans(order, "abcdefghijklmnopqrstuvwxyz"[:len(order)])
    return words == sorted(words, key=lambda word: word.translate(earthly))


def one_to_one(left, right):
    """Are the two of equal length, and is each item of one paired with one item of the other?"""
    return len(left) == len(right) and (
        len(set(left)) == len(set(right)) == len(set(zip(left, right, strict=True))))


def by_height(names, heights):
    people = sorted(zip(heights, names, strict=True), reverse=True)
    return [name for _, name in people]


def keyboard_row(words):
    row = re.compile("[qwertyuiop]+|[asdfghjkl]+|[zxcvbnm]+", re.IGNORECASE)
    return list(filter(row.fullmatch, words))


ORACLES = {
    "lc_824": goat_latin,
    "lc_953": alien_order,
    "lc_890": lambda words, pattern: [word for word in words if one_to_one(word, pattern)],
    "lc_2418": by_height,
    "lc_2185": lambda words, pref: [word for word in words if re.match(pref, word)],
    "lc_2496": lambda strs: max(int(text) if re.fullmatch("[0-9]+", text) else len(text)
                                for text in strs),
    "lc_2047": lambda sentence: len(re.findall(r"(?<!\S)(?:[a-z]+(?:-[a-z]+)?[!.,]?|[!.,])(?!\S)",
                                               sentence)),
    "lc_2828": lambda words, s: "".join(next(zip(*words, strict=False))) == s,
    "lc_290": lambda pattern, s: one_to_one(list(pattern), s.split()),
    "lc_434": lambda s: len(re.findall("[^ ]+", s)),
    "lc_557": lambda s: " ".join(word[::-1] for word in s.split(" ")),
    "lc_500": keyboard_row,
}

EDGES = {
    "lc_824": [
        ({"sentence": "I speak Goat Latin"}, "Imaa peaksmaaa oatGmaaaa atinLmaaaaa"),
        ({"sentence": "a"}, "amaa"),
        ({"sentence": "b"}, "bmaa"),
        ({"sentence": "Each Up Ode"}, "Eachmaa Upmaaa Odemaaaa"),
        ({"sentence": "yes Quick"}, "esymaa uickQmaaa"),
        ({"sentence": "queen"}, "ueenqmaa"),
    ],
    "lc_953": [
        ({"words": ["hello", "leetcode"], "order": "hlabcdefgijkmnopqrstuvwxyz"}, True),
        ({"words": ["word", "world", "row"], "order": "worldabcefghijkmnpqstuvxyz"}, False),
        ({"words": ["apple", "app"], "order": "abcdefghijklmnopqrstuvwxyz"}, False),
        ({"words": ["app", "apple"], "order": "abcdefghijklmnopqrstuvwxyz"}, True),
        ({"words": ["b"], "order": "ab"}, True),
        ({"words": ["ab", "ab"], "order": "ba"}, True),
        ({"words": ["b", "b", "a"], "order": "ab"}, False),
        ({"words": ["ab", "aa"], "order": "ba"}, True),
    ],
    "lc_890": [
        ({"words": ["abc", "deq", "mee", "aqq", "dkd", "ccc"], "pattern": "abb"}, ["mee", "aqq"]),
        ({"words": ["a", "b", "c"], "pattern": "a"}, ["a", "b", "c"]),
        ({"words": ["aab"], "pattern": "abc"}, []),
        ({"words": ["abc"], "pattern": "aab"}, []),
        ({"words": ["zzz", "zzy"], "pattern": "qqq"}, ["zzz"]),
        ({"words": ["abba", "abab"], "pattern": "xyyx"}, ["abba"]),
    ],
    "lc_2418": [
        ({"names": ["Mary", "John", "Emma"], "heights": [180, 165, 170]},
         ["Mary", "Emma", "John"]),
        ({"names": ["Alice", "Bob", "Bob"], "heights": [155, 185, 150]}, ["Bob", "Alice", "Bob"]),
        ({"names": ["Ann"], "heights": [10]}, ["Ann"]),
        ({"names": ["Ann", "Bob", "Zoe"], "heights": [10, 50, 99]}, ["Zoe", "Bob", "Ann"]),
        ({"names": ["Zoe", "Bob"], "heights": [99, 10]}, ["Zoe", "Bob"]),
    ],
    "lc_2185": [
        ({"words": ["pay", "attention", "practice", "attend"], "pref": "at"},
         ["attention", "attend"]),
        ({"words": ["a"], "pref": "a"}, ["a"]),
        ({"words": ["bat", "tab"], "pref": "ta"}, ["tab"]),
        ({"words": ["co"], "pref": "coral"}, []),
        ({"words": ["coral", "coral"], "pref": "co"}, ["coral", "coral"]),
        ({"words": ["scoop", "ocean"], "pref": "co"}, []),
    ],
    "lc_2496": [
        ({"strs": ["alic3", "bob", "3", "4", "00000"]}, 5),
        ({"strs": ["1", "01", "001", "0001"]}, 1),
        ({"strs": ["0"]}, 0),
        ({"strs": ["000", "a"]}, 1),
        ({"strs": ["5", "abcde"]}, 5),
        ({"strs": ["12", "ab"]}, 12),
    ],
    "lc_2047": [
        ({"sentence": "cat and  dog"}, 3),
        ({"sentence": "!this  1-s b8d!"}, 0),
        ({"sentence": "alice and  bob are playing stone-game10"}, 5),
        ({"sentence": "!"}, 1),
        ({"sentence": "-"}, 0),
        ({"sentence": "a-b. a-b-c a-. -a! a--b"}, 1),
        ({"sentence": "a!! a,b a!"}, 1),
        ({"sentence": "a-1 1-a a-"}, 0),
        ({"sentence": "a-q"}, 1),
    ],
    "lc_2828": [
        ({"words": ["alice", "bob", "charlie"], "s": "abc"}, True),
        ({"words": ["an", "apple"], "s": "a"}, False),
        ({"words": ["never", "gonna"], "s": "ngu"}, False),
        ({"words": ["a"], "s": "a"}, True),
        ({"words": ["ab"], "s": "b"}, False),
        ({"words": ["ab", "cd"], "s": "ca"}, False),
    ],
    "lc_290": [
        ({"pattern": "abba", "s": "dog cat cat dog"}, True),
        ({"pattern": "abba", "s": "dog cat cat fish"}, False),
        ({"pattern": "aaaa", "s": "dog cat cat dog"}, False),
        ({"pattern": "ab", "s": "dog dog"}, False),
        ({"pattern": "aaa", "s": "dog dog"}, False),
        ({"pattern": "a", "s": "dog dog"}, False),
        ({"pattern": "a", "s": "dog"}, True),
    ],
    "lc_434": [
        ({"s": "Hello, my name is John"}, 5),
        ({"s": "Hello"}, 1),
        ({"s": ""}, 0),
        ({"s": "    "}, 0),
        ({"s": "  a   b "}, 2),
        ({"s": ", . ,"}, 3),
    ],
    "lc_557": [
        ({"s": "Mr Ding"}, "rM gniD"),
        ({"s": "a"}, "a"),
        ({"s": "ab  cd"}, "ba  dc"),
        ({"s": " ab "}, " ba "),
        ({"s": "noon abc"}, "noon cba"),
    ],
    "lc_500": [
        ({"words": ["Hello", "Alaska", "Dad", "Peace"]}, ["Alaska", "Dad"]),
        ({"words": ["omk"]}, []),
        ({"words": ["adsdf", "sfd"]}, ["adsdf", "sfd"]),
        ({"words": ["Zx", "q", "qa", "aq"]}, ["Zx", "q"]),
        ({"words": ["qwertyuiop", "asdfghjkl", "zxcvbnm"]},
         ["qwertyuiop", "asdfghjkl", "zxcvbnm"]),
        ({"words": ["POP", "pOm"]}, ["POP"]),
    ],
}
