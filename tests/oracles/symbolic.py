"""Oracles of the symbolic tasks: parity, and a regular expression."""

import re

ORACLES = {
    "sr_coin_flip": lambda flips: flips.count(True) % 2 == 0,
    "sr_last_letter": lambda words: "".join(re.findall(r"\w\b", " ".join(words))),
}

EDGES = {
    "sr_coin_flip": [
        ({"flips": [False]}, True),
        ({"flips": [True]}, False),
        ({"flips": [True, True]}, True),
        ({"flips": [True, False, True, True]}, False),
        ({"flips": [True] * 60}, True),
    ],
    "sr_last_letter": [
        ({"words": ["zebra"]}, "a"),
        ({"words": ["a", "b"]}, "ab"),
        ({"words": ["fern", "fern", "wolf"]}, "nnf"),
        ({"words": ["maple", "comet", "ivory", "quill"]}, "etyl"),
    ],
}
