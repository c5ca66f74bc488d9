"""The airline's baggage fees, of RuleArena (arXiv 2412.08972; the paper's Figure 8).

The task is not among the 86 of the paper's Table 1: no preset trains on it unless it is named.
"""

import re
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from metarfft_core.tasks.registry import task


@task("airline_baggage", source="rulearena", split="downstream", length="number of checked bags",
      lengths=tuple(range(1, 17)), title="Airline baggage")
class AirlineBaggage:
    """What a ticket and its checked bags cost (RuleArena, airline; arXiv 2412.08972).

    A bag is its three sides in inches and its weight in pounds. Each bag costs a base fee by its
    place, and the larger of its fees for size and weight. The bags that save most when they are
    free take the first places.
    """

    question = ("A ticket costs {price} dollars, in the cabin {cabin}, for a flight between the "
                "U.S. and {route} (direction {direction}: 0 departs from the U.S., 1 arrives "
                "there). The checked bags are {bags}: three sides in inches, then the weight in "
                "pounds. How many dollars do the ticket and the bags cost together?")

    CABINS = ['Basic Economy', 'Main Cabin', 'Main Plus', 'Premium Economy', 'Business', 'First']
    AREA = {'U.S.': 'U.S.', 'Puerto Rico': 'U.S.', 'Canada': 'Canada', 'Mexico': 'Mexico',
            'Cuba': 'Cuba', 'Haiti': 'Haiti', 'Panama': 'Panama', 'Colombia': 'Panama',
            'Ecuador': 'Panama', 'Peru': 'Panama', 'South America': 'South America',
            'Israel': 'overseas', 'Qatar': 'overseas', 'Europe': 'overseas', 'India': 'overseas',
            'China': 'overseas', 'Japan': 'overseas', 'South Korea': 'overseas',
            'Hong Kong': 'overseas', 'Australia': 'overseas', 'New Zealand': 'overseas'}
    FIRST = {'U.S.': [40, 40, 0, 0, 0, 0], 'Canada': [35, 35, 0, 0, 0, 0],
             'Mexico': [35, 35, 0, 0, 0, 0], 'Cuba': [35, 0, 0, 0, 0, 0],
             'from Cuba': [0, 0, 0, 0, 0, 0], 'Haiti': [35, 0, 0, 0, 0, 0],
             'Panama': [45, 0, 0, 0, 0, 0], 'South America': [60, 0, 0, 0, 0, 0],
             'overseas': [75, 0, 0, 0, 0, 0]}
    SECOND = {'U.S.': [45, 45, 45, 0, 0, 0], 'Canada': [45, 45, 45, 0, 0, 0],
              'Mexico': [45, 45, 45, 0, 0, 0], 'Cuba': [150, 150, 0, 0, 0, 0],
              'from Cuba': [0, 0, 0, 0, 0, 0], 'Haiti': [65, 65, 0, 0, 0, 0],
              'Panama': [100, 100, 0, 0, 0, 0], 'South America': [100, 100, 0, 0, 0, 0],
              'overseas': [100, 100, 0, 0, 0, 0]}
    THIRD = {'U.S.': [150, 150, 150, 150, 150, 150], 'Canada': [150, 150, 150, 150, 150, 150],
             'Mexico': [200, 200, 200, 200, 200, 0], 'Haiti': [200, 200, 200, 200, 200, 0],
             'Panama': [200, 200, 200, 200, 200, 0], 'South America': [200, 200, 200, 200, 200, 0],
             'overseas': [200, 200, 200, 200, 200, 0]}
    LARGE = {'Panama': 150, 'South America': 150, 'Peru': 150, 'Colombia': 150, 'Ecuador': 150,
             'Europe': 150, 'Israel': 150, 'Qatar': 150}
    HEAVY = {'India': 450, 'China': 450, 'Japan': 450, 'South Korea': 450, 'Hong Kong': 450}

    def rule(price, cabin, route, direction, bags):
        area = AREA[route]
        if route == 'Cuba' and direction == 1:
            area = 'from Cuba'
        column = CABINS.index(cabin)
        allowance = 50
        if cabin in ('Business', 'First') or route in ('Australia', 'New Zealand'):
            allowance = 70
        fees = []
        while bags:
            bag = bags.pop(0)
            size = bag[0] + bag[1] + bag[2]
            weight = bag[3]
            over = 0
            if size > 65:
                over = LARGE.get(route, 200)
            elif size > 62:
                over = 30
            extra = 0
            if weight > 70:
                extra = HEAVY.get(route, 200)
            elif weight > 53 and route == 'Cuba':
                extra = 200
            elif weight > 53:
                extra = 100
            elif weight > 50:
                extra = 30
            paid = max(over, extra)
            free = paid if weight > allowance else over
            fees.append([free - paid, free, paid])
        fees.sort()
        total = price
        place = 1
        while fees:
            fee = fees.pop(0)
            base = 200
            if place == 1:
                base = FIRST[area][column]
            elif place == 2:
                base = SECOND[area][column]
            elif place == 3:
                base = THIRD[area][column]
            if base == 0:
                total += fee[1]
            else:
                total += base + fee[2]
            place += 1
        return total

    def sample(rng, length):
        routes = [route for route in AirlineBaggage.tables["AREA"]
                  if route != 'Cuba' or length <= 2]  # no third bag may go to Cuba
        return {"price": rng.randint(30, 1500),
                "cabin": rng.choice(AirlineBaggage.tables["CABINS"]),
                "route": rng.choice(routes), "direction": rng.randrange(2),
                "bags": [_bag(rng) for _ in range(length)]}


def _bag(rng) -> list[int]:
    """Three sides and a weight, as often within as above each limit."""
    size = rng.randint(*rng.choice(((35, 62), (63, 65), (66, 115))))
    shortest = rng.randint(5, size // 4)
    middle = rng.randint(shortest, (size - shortest) // 2)
    weight = rng.randint(*rng.choice(((5, 50), (51, 53), (54, 70), (71, 100))))
    return [size - shortest - middle, middle, shortest, weight]


def from_rulearena(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of the task for a problem of RuleArena's airline part.

    Numbers may be written as text, and names in other capitals: "1,180", "main cabin", "US".

    Args:
        problem: With base_price, customer_class, direction, the route as `route` or `routine`, and
            `bags` or `bag_list`: the bags with size and weight. The first bag is the carry-on,
            which is free. The keys may also stand under `info`, as in RuleArena's own files.
            Other keys do not matter.

    Raises:
        ValueError: A key is missing, a number is not a whole one from 0, a cabin or route is
            unknown, or more than two bags are checked on a flight to or from Cuba, for which the
            benchmark has no fee.
    """
    if not isinstance(problem, Mapping):
        raise _wrong("expected a mapping", problem)
    info = problem.get("info")
    facts = info if isinstance(info, Mapping) else problem
    bags = _value(facts, "bags", "bag_list")
    if not isinstance(bags, list | tuple):
        raise _wrong("bags: expected a list", bags)
    direction = whole_number("direction", _value(facts, "direction"))
    if direction not in (0, 1):
        raise _wrong("direction: allowed are 0, 1", direction)
    inputs = {"price": whole_number("base_price", _value(facts, "base_price")),
              "cabin": _name("cabin", _value(facts, "customer_class"),
                             AirlineBaggage.tables["CABINS"]),
              "route": _name("route", _value(facts, "route", "routine"),
                             list(AirlineBaggage.tables["AREA"])),
              "direction": direction, "bags": [_sides_and_weight(bag) for bag in bags[1:]]}
    if inputs["route"] == "Cuba" and len(inputs["bags"]) > 2:
        raise _wrong("at most two bags are checked to or from Cuba", len(inputs["bags"]))
    return inputs


def whole_number(name: str, value: Any) -> int:
    """A whole number from 0, also one written as text; raises ValueError for anything else."""
    number = value
    if isinstance(value, str) and re.fullmatch(r"\$?(\d+|\d{1,3}(,\d{3})+)(\.0+)?", value.strip(),
                                               re.ASCII):
        number = float(value.strip().lstrip("$").replace(",", ""))
    if isinstance(number, bool) or not isinstance(number, Real) or not (
            0 <= number < 10**9) or number != int(number):
        raise _wrong(f"{name}: expected a whole number from 0", value)
    return int(number)


def _name(name: str, value: Any, allowed: list[str]) -> str:
    """The one of `allowed` that `value` is, whatever its capitals, dots and spaces."""
    names = {_plain(one): one for one in allowed}
    if not isinstance(value, str) or _plain(value) not in names:
        raise _wrong(f"{name}: allowed are {', '.join(allowed)}", value)
    return names[_plain(value)]


def _plain(name: str) -> str:
    return re.sub(r"[\s._-]", "", name).casefold()


def _sides_and_weight(bag: Any) -> list[int]:
    """The three sides and the weight of a bag, which may also be a list of these four."""
    if isinstance(bag, Mapping):
        size = _value(bag, "size")
        numbers = [*(size if isinstance(size, list | tuple) else [size]), _value(bag, "weight")]
    else:
        numbers = bag
    if not isinstance(numbers, list | tuple) or len(numbers) != 4:
        raise _wrong("a bag: expected three sides as size, and a weight", bag)
    return [whole_number("a bag's size or weight", number) for number in numbers]


def _value(facts: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if facts.get(key) is not None:
            return facts[key]
    raise _wrong(f"expected {' or '.join(keys)}", f"the keys {', '.join(map(str, facts))}", str)


def _wrong(expected: str, got: Any, show: Callable[[Any], str] = repr) -> ValueError:
    return ValueError(f"a problem of RuleArena: {expected}; got {show(got)[:200]}")
