"""Oracles of the Big-Bench Hard tasks: deleting pairs, sorting, complex numbers."""

import re
from itertools import groupby

KINDS = ("lovely silly nice", "big tiny huge", "old new ancient", "round square flat",
         "red blue green", "French Thai Polish", "wooden steel paper", "sleeping cooking walking")
MEMBERS = {
    "fruit": {"apple", "plum", "peach"},
    "vegetable": {"onion", "carrot", "potato"},
    "animal": {"dog", "snake", "goat"},
    "instrument": {"flute", "drum", "violin"},
}
WAYS = {"forward": 1j, "backward": -1j, "right": 1, "left": -1}


def properly_nested(s):
    """Pairs without anything between them are deleted until none is left."""
    while (shorter := re.sub(r"\(\)|\[\]|\{\}|<>", "", s)) != s:
        s = shorter
    return s == ""


def in_order(adjectives):
    """Neighbours of one kind taken together, the kinds only go up."""
    kinds = [next(number for number, kind in enumerate(KINDS) if word in kind.split())
             for word in adjectives]
    groups = [kind for kind, _ in groupby(kinds)]
    return groups == sorted(set(kinds))


def count_members(objects, category):
    return sum(count for name, count in objects if name in MEMBERS[category])


ORACLES = {
    "bbh_dyck_languages": properly_nested,
    "bbh_hyperbaton": in_order,
    "bbh_navigate": lambda moves: sum(WAYS[way] * steps for way, steps in moves) == 0,
    "bbh_object_counting": count_members,
    "bbh_reverse_list": lambda items: items[::-1],
    "bbh_word_sorting": lambda words: sorted(words),
}

EDGES = {
    "bbh_dyck_languages": [
        ({"s": "()"}, True),
        ({"s": ")("}, False),
        ({"s": "(("}, False),
        ({"s": "(]"}, False),
        ({"s": "([)]"}, False),
        ({"s": "<{[()]}>()[]"}, True),
        ({"s": "()]"}, False),
        ({"s": "[" * 30 + "]" * 30}, True),
    ],
    "bbh_hyperbaton": [
        ({"adjectives": ["walking"]}, True),
        ({"adjectives": ["nice", "lovely"]}, True),
        ({"adjectives": ["big", "silly"]}, False),
        ({"adjectives": ["silly", "big", "old", "flat", "red", "Thai", "steel", "cooking"]}, True),
        ({"adjectives": ["red", "red", "paper", "wooden", "Polish"]}, False),
        ({"adjectives": ["new", "square", "new"]}, False),
    ],
    "bbh_navigate": [
        ({"moves": [("forward", 1)]}, False),
        ({"moves": [("forward", 9), ("backward", 9)]}, True),
        ({"moves": [("left", 3), ("forward", 3)]}, False),
        ({"moves": [("left", 2), ("right", 3), ("left", 1)]}, True),
        ({"moves": [("backward", 5), ("left", 5), ("forward", 5)]}, False),
        ({"moves": [("right", 4), ("backward", 2), ("left", 4), ("forward", 2)]}, True),
        ({"moves": [("right", 4), ("right", 4)]}, False),
    ],
    "bbh_object_counting": [
        ({"objects": [("plum", 3)], "category": "fruit"}, 3),
        ({"objects": [("plum", 3)], "category": "animal"}, 0),
        ({"objects": [("dog", 1), ("dog", 2)], "category": "animal"}, 3),
        ({"objects": [("drum", 5), ("flute", 5), ("violin", 5)], "category": "instrument"}, 15),
        ({"objects": [("onion", 1), ("peach", 2), ("carrot", 4), ("potato", 5)],
          "category": "vegetable"}, 10),
    ],
    "bbh_reverse_list": [
        ({"items": ["fern"]}, ["fern"]),
        ({"items": [0, 0]}, [0, 0]),
        ({"items": [1, 2, 3]}, [3, 2, 1]),
        ({"items": ["wolf", "apple", "apple"]}, ["apple", "apple", "wolf"]),
    ],
    "bbh_word_sorting": [
        ({"words": ["zinc"]}, ["zinc"]),
        ({"words": ["fern", "fern"]}, ["fern", "fern"]),
        ({"words": ["water", "wolf", "whale"]}, ["water", "whale", "wolf"]),
        ({"words": ["sand", "sandal", "sand"]}, ["sand", "sand", "sandal"]),
        ({"words": ["d", "c", "b", "a"]}, ["a", "b", "c", "d"]),
    ],
}
