"""Oracles of the LeetCode tasks on games and records."""

import re
from collections import deque

BOARD = (((0, 0), (0, 1), (0, 2)), ((1, 0), (1, 1), (1, 2)), ((2, 0), (2, 1), (2, 2)),
         ((0, 0), (1, 0), (2, 0)), ((0, 1), (1, 1), (2, 1)), ((0, 2), (1, 2), (2, 2)),
         ((0, 0), (1, 1), (2, 2)), ((0, 2), (1, 1), (2, 0)))


def pillow(n, time):
    """The holders of one way up and down the line, again and again."""
    way = [*range(1, n + 1), *range(n - 1, 1, -1)]
    return way[time % len(way)]


def full_rods(rings):
    pairs = set(re.findall("..", rings))
    return sum({f"R{rod}", f"G{rod}", f"B{rod}"} <= pairs for rod in range(10))


def losers(n, k):
    """The i-th holder is k times a triangular number onward from the first."""
    holders = [k * i * (i + 1) // 2 % n for i in range(n + 1)]
    first_again = next(i for i in range(n + 1) if holders[i] in holders[:i])
    return sorted(set(range(1, n + 1)) - {place + 1 for place in holders[:first_again]})


def josephus(n, k):
    """The game itself, with a queue."""
    circle = deque(range(1, n + 1))
    while len(circle) > 1:
        circle.rotate(1 - k)
        circle.popleft()
    return circle[0]


def tic_tac_toe(moves):
    for name, cells in (("A", moves[::2]), ("B", moves[1::2])):
        if any(set(line) <= {tuple(cell) for cell in cells} for line in BOARD):
            return name
    return "Draw" if len(moves) == 9 else "Pending"


def longest_path(input):
    """Every file's path in full, its folders found by walking back up."""
    lines = input.split("\n")
    best = 0
    for number, line in enumerate(lines):
        if "." not in line:
            continue
        path, tabs = [line.strip()], line.count("\t")
        for above in reversed(lines[:number]):
            if above.count("\t") == tabs - 1:
                path.append(above.strip())
                tabs -= 1
        best = max(best, len("/".join(path)))
    return best


def baseball(operations):
    """First strike what a later C takes off, from the end; then score what stays."""
    kept, strikes = [], 0
    for operation in reversed(operations):
        if operation == "C":
            strikes += 1
        elif strikes:
            strikes -= 1
        else:
            kept.insert(0, operation)
    scores = {-1: 0, -2: 0}
    for place, operation in enumerate(kept):
        scores[place] = {"D": scores[place - 1] * 2,
                         "+": scores[place - 1] + scores[place - 2]}.get(operation)
        if scores[place] is None:
            scores[place] = int(operation)
    return sum(scores.values())


def hashset(operations):
    """Each question is answered by the last change to its key before it."""
    answers = []
    for number, (name, key) in enumerate(operations):
        changes = [one for one, other in operations[:number] if other == key and one != "contains"]
        answers.append(changes[-1:] == ["add"] if name == "contains" else None)
    return answers


ORACLES = {
    "lc_2582": pillow,
    "lc_2103": full_rods,
    "lc_2682": losers,
    "lc_1823": josephus,
    "lc_1275": tic_tac_toe,
    "lc_2678": lambda details: len(re.findall(r"[A-Z](?:6[1-9]|[7-9]\d)\d\d\b", " ".join(details))),
    "lc_388": longest_path,
    "lc_682": baseball,
    "lc_705": hashset,
}

EDGES = {
    "lc_2582": [
        ({"n": 1, "time": 7}, 1),
        ({"n": 4, "time": 5}, 2),
        ({"n": 3, "time": 2}, 3),
        ({"n": 2, "time": 1}, 2),
        ({"n": 2, "time": 4}, 1),
        ({"n": 5, "time": 9}, 2),
    ],
    "lc_2103": [
        ({"rings": "B0B6G0R6R0R6G9"}, 1),
        ({"rings": "B0R0G0R9R0B0G0"}, 1),
        ({"rings": "G4"}, 0),
        ({"rings": "R9G9B9R0G0B0"}, 2),
        ({"rings": "R1R1R1"}, 0),
        ({"rings": "R1G1B2"}, 0),
        ({"rings": "B3G3R3R3"}, 1),
    ],
    "lc_2682": [
        ({"n": 1, "k": 1}, []),
        ({"n": 5, "k": 2}, [4, 5]),
        ({"n": 4, "k": 4}, [2, 3, 4]),
        ({"n": 2, "k": 1}, []),
        ({"n": 3, "k": 1}, [3]),
        ({"n": 4, "k": 1}, []),
    ],
    "lc_1823": [
        ({"n": 1, "k": 1}, 1),
        ({"n": 5, "k": 2}, 3),
        ({"n": 6, "k": 5}, 1),
        ({"n": 4, "k": 1}, 4),
        ({"n": 2, "k": 50}, 1),
        ({"n": 3, "k": 3}, 2),
    ],
    "lc_1275": [
        ({"moves": [[0, 0], [2, 0], [1, 1], [2, 1], [2, 2]]}, "A"),
        ({"moves": [[0, 0], [1, 1], [0, 1], [0, 2], [1, 0], [2, 0]]}, "B"),
        ({"moves": [[0, 0], [1, 1], [2, 0], [1, 0], [1, 2], [2, 1], [0, 1], [0, 2], [2, 2]]},
         "Draw"),
        ({"moves": [[0, 0], [1, 1]]}, "Pending"),
        ({"moves": [[1, 0], [0, 0], [1, 1], [2, 2], [1, 2]]}, "A"),
        ({"moves": [[2, 2], [0, 1], [2, 0], [1, 1], [0, 0], [2, 1]]}, "B"),
        ({"moves": [[0, 0], [0, 1], [0, 2], [1, 1], [1, 0], [1, 2], [2, 1], [2, 2], [2, 0]]}, "A"),
        ({"moves": [[1, 1]]}, "Pending"),
    ],
    "lc_2678": [
        ({"details": ["7868190130M7522", "5303914400F9211", "9273338290F4010"]}, 2),
        ({"details": ["1313579440F2036", "2921522980M5644"]}, 0),
        ({"details": ["0000000000O6099"]}, 0),
        ({"details": ["9999999999O6100"]}, 1),
        ({"details": ["6161616161M0161"]}, 0),
        ({"details": ["1111111111F9911", "1111111111F9911"]}, 2),
    ],
    "lc_388": [
        ({"input": "dir\n\tsubdir1\n\tsubdir2\n\t\tfile.ext"}, 20),
        ({"input": "dir\n\tsubdir1\n\t\tfile1.ext\n\t\tsubsubdir1\n\tsubdir2\n\t\tsubsubdir2\n"
                   "\t\t\tfile2.ext"}, 32),
        ({"input": "a"}, 0),
        ({"input": "a.b"}, 3),
        ({"input": "long.text\na\n\tb.c"}, 9),
        ({"input": "abc\n\tx.c\na\n\ty.c"}, 7),
        ({"input": "a\n\tb\n\t\tc"}, 0),
        ({"input": "qq\n\tq.c"}, 6),
    ],
    "lc_682": [
        ({"operations": ["5", "2", "C", "D", "+"]}, 30),
        ({"operations": ["5", "-2", "4", "C", "D", "9", "+", "+"]}, 27),
        ({"operations": ["1", "C"]}, 0),
        ({"operations": ["0"]}, 0),
        ({"operations": ["-3", "D", "D"]}, -21),
        ({"operations": ["1", "2", "+", "C", "+"]}, 6),
    ],
    "lc_705": [
        ({"operations": [["add", 1], ["add", 2], ["contains", 1], ["contains", 3], ["add", 2],
                         ["contains", 2], ["remove", 2], ["contains", 2]]},
         [None, None, True, False, None, True, None, False]),
        ({"operations": [["contains", 0]]}, [False]),
        ({"operations": [["remove", 5]]}, [None]),
        ({"operations": [["add", 5], ["add", 5], ["remove", 5], ["contains", 5]]},
         [None, None, None, False]),
        ({"operations": [["remove", 4], ["add", 4], ["contains", 4]]}, [None, None, True]),
    ],
}
