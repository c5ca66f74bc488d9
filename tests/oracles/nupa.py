"""Oracles of the number tasks, by integer arithmetic and padding."""

from itertools import count


def get_digit(num, index):
    return str(int(num) // 10 ** (len(num) - 1 - index) % 10)


def digit_max(num1, num2):
    width = max(len(num1), len(num2))
    return "".join(map(max, num1.zfill(width), num2.zfill(width)))


def length(num):
    return next(digits for digits in count(1) if int(num) < 10**digits)


ORACLES = {
    "nupa_get_digit": get_digit,
    "nupa_add": lambda num1, num2: str(int(num1) + int(num2)),
    "nupa_digit_max": digit_max,
    "nupa_length": length,
}

EDGES = {
    "nupa_get_digit": [
        ({"num": "7", "index": 0}, "7"),
        ({"num": "0", "index": 0}, "0"),
        ({"num": "1002", "index": 3}, "2"),
        ({"num": "9080", "index": 1}, "0"),
        ({"num": "5" + "0" * 59, "index": 59}, "0"),
    ],
    "nupa_add": [
        ({"num1": "0", "num2": "0"}, "0"),
        ({"num1": "9", "num2": "1"}, "10"),
        ({"num1": "1", "num2": "9999"}, "10000"),
        ({"num1": "505", "num2": "505"}, "1010"),
        ({"num1": "9" * 60, "num2": "9" * 60}, "1" + "9" * 59 + "8"),
        ({"num1": "123456", "num2": "0"}, "123456"),
    ],
    "nupa_digit_max": [
        ({"num1": "0", "num2": "0"}, "0"),
        ({"num1": "5", "num2": "19"}, "19"),
        ({"num1": "100", "num2": "99"}, "199"),
        ({"num1": "4321", "num2": "1234"}, "4334"),
        ({"num1": "70", "num2": "70"}, "70"),
    ],
    "nupa_length": [
        ({"num": "0"}, 1),
        ({"num": "9"}, 1),
        ({"num": "10"}, 2),
        ({"num": "1" + "0" * 29}, 30),
        ({"num": "9" * 60}, 60),
    ],
}
