"""The airline task of the paper's Figure 8: against RuleArena's totals, an oracle, and the kit."""

import json
import subprocess
import sys
from itertools import permutations

import numpy
import pytest
from samples import DATA, draw, pins

from metarfft_core import formats, params, tasks
from metarfft_core.authoring import checks
from metarfft_core.bridges import rulearena
from metarfft_core.params import ParamsError
from metarfft_core.tasks.library import airline
from metarfft_core.tracing.judge import replay

TASK = tasks.get("airline_baggage")
PROBLEMS = [dict(zip(("level", "base_price", "customer_class", "route", "direction", "bags",
                      "total_cost"), json.loads(line), strict=True))
            for line in (DATA / "rulearena_airline.jsonl").read_text().splitlines()]
for _problem in PROBLEMS:
    _problem["bags"] = [{"name": "bag", "size": bag[:3], "weight": bag[3]}
                        for bag in _problem["bags"]]

PAID = {  # (Basic Economy, Main Cabin, Main Plus, others) of the first and of the second bag
    "U.S.": ("40 40 0 0", "45 45 45 0"), "Puerto Rico": ("40 40 0 0", "45 45 45 0"),
    "Canada": ("35 35 0 0", "45 45 45 0"), "Mexico": ("35 35 0 0", "45 45 45 0"),
    "Cuba": ("35 0 0 0", "150 150 0 0"), "Haiti": ("35 0 0 0", "65 65 0 0"),
    "South America": ("60 0 0 0", "100 100 0 0"),
    **dict.fromkeys(("Panama", "Colombia", "Ecuador", "Peru"), ("45 0 0 0", "100 100 0 0"))}
CABINS = ["Basic Economy", "Main Cabin", "Main Plus", "Premium Economy", "Business", "First"]


def base(place, cabin, route, direction):
    """The base fee of the bag at a place, from 0."""
    if route == "Cuba" and direction:
        return 0
    if place < 2:
        fees = PAID.get(route, ("75 0 0 0", "100 100 0 0"))[place].split()
        return int(fees[min(CABINS.index(cabin), 3)])
    near = route in ("U.S.", "Puerto Rico", "Canada")
    if place == 2 and (near or cabin == "First"):
        return 150 if near else 0
    return 200


def extra(bag, cabin, route, free):
    """The larger of the fees for size and weight."""
    inches, pounds = sum(bag[:3]), bag[3]
    cheap = ("Panama", "South America", "Peru", "Colombia", "Ecuador", "Europe", "Israel", "Qatar")
    size = (inches > 62) * 30 + (inches > 65) * (120 if route in cheap else 170)
    weight = (pounds > 50) * 30 + (pounds > 53) * (170 if route == "Cuba" else 70)
    if free and (cabin in CABINS[4:] or route in ("Australia", "New Zealand")):
        weight = 0
    if pounds > 70:
        far = ("India", "China", "Japan", "South Korea", "Hong Kong")
        weight = 450 if route in far else 200
    return max(size, weight)


def oracle(price, cabin, route, direction, bags):
    """The total by another road: all bags paid for, less the largest savings of the free places."""
    fees = [base(place, cabin, route, direction) for place in range(len(bags))]
    savings = sorted((extra(bag, cabin, route, False) - extra(bag, cabin, route, True)
                      for bag in bags), reverse=True)
    return (price + sum(fees) + sum(extra(bag, cabin, route, False) for bag in bags)
            - sum(savings[:fees.count(0)]))


@pytest.mark.parametrize("number", range(0, 200, 50))
def test_the_rule_gives_the_totals_of_the_benchmark(number):
    """All 200 problems of RuleArena have the total that its own program computed."""
    assert len(PROBLEMS) == 200
    for problem in PROBLEMS[number:number + 50]:
        inputs = airline.from_rulearena(problem)
        assert oracle(**inputs) == problem["total_cost"]
        assert TASK.rule.execute(inputs) == problem["total_cost"]


def test_the_oracle_agrees_on_every_length():
    """Instances of all lengths have the oracle's answer, on all routes and in all cabins."""
    seen = set()
    for instance in draw(TASK, 40):
        assert instance.answer == oracle(**instance.inputs)
        assert len(instance.inputs["bags"]) == instance.length
        seen |= {instance.inputs["cabin"], (instance.inputs["route"], instance.inputs["direction"])}
    assert seen >= {(route, way) for route in TASK.tables["AREA"] for way in (0, 1)} | set(CABINS)


def test_no_order_of_the_bags_is_cheaper_than_the_rule():
    """The free allowance goes where it saves most: no order of up to five bags costs less."""
    for instance in (one for one in draw(TASK, 15) if one.length <= 5):
        inputs = instance.inputs
        cabin, route, way = inputs["cabin"], inputs["route"], inputs["direction"]
        fees = [base(place, cabin, route, way) for place in range(instance.length)]
        assert instance.answer == min(
            inputs["price"] + sum(fee + extra(bag, cabin, route, fee == 0)
                                  for fee, bag in zip(fees, order, strict=True))
            for order in permutations(inputs["bags"]))


@pytest.mark.parametrize(("cabin", "route", "direction", "bags", "total"), [
    ("Main Cabin", "U.S.", 0, [[30, 20, 12, 50]], 140),  # both limits met, neither passed
    ("Main Cabin", "U.S.", 0, [[31, 20, 12, 50]], 170),
    ("Main Cabin", "U.S.", 0, [[33, 20, 12, 51]], 170),
    ("First", "U.S.", 0, [[30, 20, 12, 70]], 100), ("First", "U.S.", 0, [[30, 20, 12, 71]], 300),
    ("First", "China", 1, [[30, 20, 12, 71]], 550),
    ("Basic Economy", "Cuba", 0, [[9, 9, 9, 9]] * 2, 285),
    ("Basic Economy", "Cuba", 1, [[9, 9, 9, 60]] * 2, 500),
    ("Main Cabin", "Australia", 0, [[9, 9, 9, 70]], 100),
    ("Main Cabin", "Australia", 0, [[9, 9, 9, 9], [9, 9, 9, 70]], 200),
    ("First", "Peru", 0, [[40, 20, 6, 9]] * 4, 900)])
def test_edges(cabin, route, direction, bags, total):
    """Cases worked out by hand at the limits of size and weight, for a ticket of 100 dollars."""
    inputs = {"price": 100, "cabin": cabin, "route": route, "direction": direction, "bags": bags}
    assert oracle(**inputs) == TASK.rule.execute(inputs) == total


def test_it_is_not_among_the_papers_tasks():
    """The registry finds the task; the 86 of Table 1, their splits and presets do not hold it."""
    assert tasks.OTHERS == ("airline_baggage",)
    assert len(tasks.select()) == 86
    assert TASK not in tasks.select()
    assert TASK.lengths == tuple(range(1, 17))
    preset = params.load(params.DEFAULT_FILE)
    assert TASK.id not in [*preset.corpus.pretrain.tasks, *preset.corpus.adaptation.tasks]


@pytest.mark.parametrize("format", formats.FORMATS)
def test_every_format_renders_and_its_trace_is_true(format):
    """All formats end with the answer at the ends of the trained and tested lengths, and the judge,
    which never imports the compiler, finds no false line in the traces."""
    for length in (1, 2, 8, 16):
        instance = TASK.sample(length=length, seed=3, index=0)
        example = formats.render(TASK, instance, format)
        assert example.completion.endswith(f"So the answer is {instance.answer}")
        if format == "scratchpad":
            false = replay.judge_scratchpad(TASK.rule_source, instance.inputs, example.completion)
        elif format == "rfft_nl":
            false = replay.judge_in_words(TASK.rule_source, example.prompt, example.completion,
                                          TASK.question)
        elif format == "rfft":
            false = replay.judge(example.prompt, example.completion, TASK.question)
        else:
            false = []
        assert false == []


def test_its_samples_are_pinned():
    """Samples that were drawn once are drawn again, on any machine."""
    assert pins(TASK) == {"1": "47525a6a5fdcf796", "5": "896a74f38b25ae81",
                          "15": "ed94d0618f2a434e"}


def test_it_passes_the_checks_of_a_task():
    """The checks that every task of the kit passes hold for it too."""
    [report] = checks.check_all([TASK], [1, 2, 8, 16], 3)
    assert (report.samples, [row.length for row in report.rows]) == (3, [1, 2, 8, 16])
    assert report.note == ""


def test_the_command_samples_it():
    """`metarfft sample airline_baggage` prints a prompt with the rule and its answer."""
    from metarfft_core.cli import main

    assert main(["sample", "airline_baggage", "--length", "2"]) == 0


@pytest.mark.parametrize(("changes", "message"), [
    ({"route": "Atlantis"}, "route: allowed are U.S., .*; got 'Atlantis'"),
    ({"customer_class": "Economy"}, "cabin: allowed are Basic Economy"),
    ({"direction": 2}, "direction: allowed are 0, 1; got 2"),
    ({"direction": "east"}, "direction: expected a whole number from 0; got 'east'"),
    ({"route": "Cuba"}, "at most two bags are checked to or from Cuba; got 4"),
    ({"route": ["U.S."]}, r"route: allowed are U.S., .*; got \['U.S.'\]"),
    ({"base_price": "-5"}, "base_price: expected a whole number from 0; got '-5'"),
    ({"base_price": 10.5}, "base_price: expected a whole number from 0; got 10.5"),
    ({"base_price": True}, "base_price: expected a whole number from 0; got True"),
    ({"base_price": float("nan")}, "base_price: expected a whole number from 0; got nan"),
    ({"base_price": "1,2"}, "base_price: expected a whole number from 0; got '1,2'"),
    ({"bags": "four"}, "bags: expected a list; got 'four'"),
    ({"bags": [{}, {"size": [9, 9, 9]}]}, "expected weight; got the keys size"),
    ({"bags": [{}, {"weight": 9}]}, "expected size; got the keys weight"),
    ({"bags": [{}, {"size": [9, 9], "weight": 9}]}, "a bag: expected three sides as size"),
    ({"bags": [{}, {"size": "9x9x9", "weight": 9}]}, "a bag: expected three sides as size"),
    ({"bags": [{}, {"size": [9, 9, -9], "weight": 9}]}, "a bag's size or weight: expected .*-9"),
    ({"bags": [{}, 7]}, "a bag: expected three sides as size, and a weight; got 7"),
    ({"bags": None}, "expected bags or bag_list; got the keys level, base_price")])
def test_a_problem_that_is_none_is_refused(changes, message):
    """Unknown routes, cabins and directions, and a missing key, are named in one sentence."""
    problem = {key: value for key, value in ({**PROBLEMS[0], **changes}).items()
               if value is not None}
    with pytest.raises(ValueError, match=message):
        airline.from_rulearena(problem)


def test_what_is_no_mapping_is_refused():
    """A problem that is a list or a text is refused in a sentence."""
    for problem in ([], "U.S.", None):
        with pytest.raises(ValueError, match="expected a mapping; got"):
            airline.from_rulearena(problem)


@pytest.mark.parametrize("changes", [
    {"base_price": "180"}, {"base_price": 180.0}, {"base_price": numpy.int64(180)},
    {"base_price": "$180.00"}, {"direction": "0"},
    {"customer_class": "main cabin"}, {"customer_class": " MAIN  CABIN "}, {"route": "us"},
    {"route": None, "routine": "U.S."}, {"level": None}, {"note": "none", "passenger": "Jim"},
    {"info": "a sentence"}, {"bags": None, "bag_list": PROBLEMS[0]["bags"]},
    {"bags": tuple([*bag["size"], bag["weight"]] for bag in PROBLEMS[0]["bags"])},
    {"bags": [{"size": tuple(map(str, bag["size"])), "weight": float(bag["weight"])}
              for bag in PROBLEMS[0]["bags"]]}], ids=str)
def test_another_writing_of_a_problem_is_the_same_problem(changes):
    """Numbers as text, other capitals, other names of keys, further keys and missing optional ones
    give the inputs of the plain problem, of the same types."""
    plain = airline.from_rulearena(PROBLEMS[0])
    problem = {key: value for key, value in ({**PROBLEMS[0], **changes}).items()
               if value is not None}
    assert repr(airline.from_rulearena(problem)) == repr(plain)
    assert plain["price"] == 180


def test_a_traveller_without_checked_bags_pays_the_ticket():
    """No bag at all, or the carry-on alone, costs nothing."""
    for bags in ([], PROBLEMS[0]["bags"][:1]):
        inputs = airline.from_rulearena({**PROBLEMS[0], "bags": bags})
        assert TASK.rule.execute(inputs) == oracle(**inputs) == 180


def _own_form(problem):
    """A problem as RuleArena's files have it, with its total added."""
    return {"prompt": "...", "info": {
        "base_price": problem["base_price"], "customer_class": problem["customer_class"],
        "routine": problem["route"], "direction": problem["direction"],
        "bag_list": problem["bags"]}, "total_cost": problem["total_cost"]}


def test_a_copy_of_the_benchmark_is_checked(tmp_path, capsys):
    """The check takes problems in both forms and counts those that agree; a wrong total is named
    with its line, and a file without totals is an error in one line."""
    path = tmp_path / "comp_0.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for problem in PROBLEMS[:5]
                            for one in (problem, _own_form(problem))))
    assert rulearena.check(path) == (10, [])
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), "total_cost": str(PROBLEMS[1]["total_cost"])})
    lines[3] = json.dumps({**json.loads(lines[3]), "total_cost": 1})
    path.write_text("\n".join([*lines, "", ""]))
    assert rulearena.main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "line 4: the benchmark says 1, the rule" in out
    assert out.endswith("9 of 10 problems agree\n")
    path.write_text(json.dumps({"info": {}}))
    with pytest.raises(ParamsError, match=r"line 1: .*expected total_cost, got none"):
        rulearena.check(path)
    done = subprocess.run([sys.executable, "-m", "metarfft_core.bridges.rulearena", str(path)],
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [
    b"[" * 50_000, b'{"info":' * 50_000, bytes(range(128, 256)), b"null", b"\0", b"5",
    b'{"total_cost": "%s"}' % (b"x" * 10**6), b'{"total_cost": 1%s}' % (b"0" * 10**4)],
    ids=lambda content: str(content[:9]))
def test_a_file_of_anything_is_refused_in_one_short_line(tmp_path, capsys, content):
    """Whatever a line of the file holds, the message names file and line, and does not repeat it
    at length."""
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    assert rulearena.main([str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}, line 1: ")
    assert said.count("\n") == 1
    assert len(said) < 700
