"""Oracles of the LeetCode tasks on numbers (the downstream ones are in downstream.py)."""

ORACLES = {"lc_1556": lambda n: f"{n:,}".replace(",", ".")}

EDGES = {
    "lc_1556": [
        ({"n": 1000}, "1.000"),
        ({"n": 99999}, "99.999"),
        ({"n": 100000}, "100.000"),
        ({"n": 1000000}, "1.000.000"),
        ({"n": 1234567890}, "1.234.567.890"),
        ({"n": 987}, "987"),
    ],
}
