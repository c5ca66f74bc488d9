"""What made a result, and what differs between two results.

`compare` reads two run folders, never a model: parameters leaf by leaf, provenance out of the
manifests, the paper's figures of merit (its Section 4) for every method, and the samples that one
run answered rightly and the other did not. Parts that were not run, or not to the end, are named
and left out. `write` keeps it in <folder of the first run>/reports/<name of the other>.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from metarfft_core import archive, files, metrics, params
from metarfft_core.params import METHODS, Params, ParamsError

LISTED = 20
"""Flipped samples of each method that the report lists; flips.csv holds them all."""

WIDEST = 40
"""Characters of an answer that the report shows."""

FLIP_COLUMNS = ("method", "task", "seed", "length", "index", "flip", "gold_answer",
                "first_outcome", "first_answer", "other_outcome", "other_answer")

ABSENT = "-"

_FACTS = {"git_commit": "git commit", "engine": "engine", "device": "device", "gpu": "GPU",
          "processes": "processes", "compute": "compute"}  # keys of a manifest

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What stands in a run's folder."""

    folder: Path
    parameters: dict
    manifests: dict[str, dict]  # by "corpus", "pretrain", "adapt/<task>/<method>"
    cells: dict[str, dict]  # what was evaluated, by "<method>/<file's stem>"; some not finished

    @property
    def name(self) -> str:
        return self.parameters["name"]

    @property
    def seed(self) -> int:
        return self.parameters["seed"]

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The rows of the finished cells by method, without their texts.

        Raises ParamsError where a file is not the one that the evaluation finished.
        """
        methods: dict[str, list[Row]] = {}
        for name, about in self.cells.items():
            if about["finished"]:
                methods.setdefault(name.partition("/")[0], []).extend(self._cell(name, about))
        order = [*METHODS, *methods]
        return dict(sorted(methods.items(), key=lambda item: order.index(item[0])))

    def _cell(self, name: str, about: dict) -> list[Row]:
        path = self.folder / "evaluation" / f"{name}.jsonl"
        if not path.exists() or files.sha256(path) != about["sha256"]:
            raise ParamsError(f"{path} is not what the evaluation finished: its hash differs from "
                              f"that in {path.with_suffix('.json').name}")
        rows = []
        with open(path, encoding="utf-8", newline="\n") as file:
            for row in map(json.loads, file):
                rows.append({"seed": self.seed, "prompt": archive.prompt_hash(row), **{
                    key: row[key] for key in ("method", "task", "seed", "length", "index",
                                              "gold_answer", "answer", "outcome") if key in row}})
        return rows


class Figure(NamedTuple):
    """A figure of merit of one method in two runs, each value with its interval.

    Both are taken over what the runs have in common: the same samples where `basis` is "paired",
    the same tasks and lengths where it is "unpaired". Where a run lacks the method, or they have
    nothing in common, each stands for itself and there is no difference.
    """

    method: str
    figure: str
    first: tuple[float, float, float] | None  # value, low, high
    other: tuple[float, float, float] | None
    difference: tuple[float, float, float] | None  # first less other
    basis: str  # "paired", "unpaired" or "-"
    samples: tuple[int, int]  # answers that the first's value, and the other's, was taken over


@dataclass(frozen=True)
class Comparison:
    """Two runs held against each other; texts are ready to be shown."""

    first: Run
    other: Run
    parameters: list[tuple[str, str, str]]  # those that differ: key, first, other
    provenance: list[tuple[str, str, str]]  # all of it: what, first, other
    figures: list[Figure]
    pairs: list[tuple[str, metrics.Paired]]  # by method, over the samples that both answered
    cells: list[tuple[str, str, int, metrics.Paired]]  # method, task, seed, one of its lengths
    flips: list[Row]  # the samples that one run answered rightly and the other did not


def open_run(source: Params | str | os.PathLike) -> Run:
    """The run of some parameters, of a parameter file, or in a folder anywhere.

    Raises ParamsError where no run stands there, or one that was made with other parameters than
    those given.
    """
    if isinstance(source, Params):
        run, folder = source, source.folder
    elif Path(source).is_dir():
        run, folder = None, Path(source).resolve()
    else:
        run = params.load(source)
        folder = run.folder
    path = folder / "params.yaml"
    if not path.exists():
        raise ParamsError(f"{folder}: expected the folder of a run, but there is no params.yaml")
    if run and params.load(path).digest != run.digest:
        raise ParamsError(f"{folder} was made with other parameters than those given for it; to "
                          "report on what stands there, name the folder")
    names = ["corpus", "pretrain", *_names(folder, "adapt/*/*/manifest.json")]
    manifests = {name: files.read_json(folder / name / "manifest.json") for name in names
                 if (folder / name / "manifest.json").exists()}
    cells = {f"{one.parent.name}/{one.stem}": files.read_json(one)
             for one in sorted((folder / "evaluation").glob("*/*.json"))}
    return Run(folder, params.read(path), manifests, cells)


def _names(folder: Path, pattern: str) -> list[str]:
    return [str(path.parent.relative_to(folder)) for path in sorted(folder.glob(pattern))]


def compare(first: Params | str | os.PathLike, other: Params | str | os.PathLike) -> Comparison:
    """Compare two runs, each as `open_run` takes it.

    Samples are the same where task, length, index and prompt are, in runs of one seed. The
    confidence and the draws of the intervals, and which lengths are in distribution, are those of
    the first run's parameters. Raises ParamsError as `open_run` does, and where stored results
    were changed.
    """
    one, two = open_run(first), open_run(other)
    figures, pairs, cells, flips = [], [], [], []
    for method in dict.fromkeys([*one.rows, *two.rows]):
        rows = one.rows.get(method, []), two.rows.get(method, [])
        figures += _figures(one, method, *_common(rows, paired=one.seed == two.seed))
        if one.seed == two.seed:
            pairs += [(method, line) for line in _pairs(one, *rows)]
            cells += [(method, *cell) for cell in _cells(one, *rows)]
            flips += _flips(*rows)
    return Comparison(one, two, _differing(one.parameters, two.parameters),
                      _provenance(one, two), figures, pairs, cells, flips)


def _differing(first: dict, other: dict) -> list[tuple[str, str, str]]:
    one, two = _leaves(first), _leaves(other)
    return [(key, *(_brief(leaves[key], others.get(key)) if key in leaves else ABSENT
                    for leaves, others in ((one, two), (two, one))))
            for key in one | two if key not in one or key not in two or one[key] != two[key]]


def _leaves(values: dict, prefix: str = "") -> dict[str, Any]:
    """Nested mappings, and lists of mappings, as one, the keys joined by dots."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            flat |= _leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _brief(value: Any, other: Any) -> str:
    """A parameter's value; of a list, lengths as in a parameter file or what the other lacks."""
    if not isinstance(value, list):
        return str(value)
    if value and all(isinstance(one, int) for one in value):
        whole = len(value) > 2 and value == list(range(value[0], value[-1] + 1))
        return f"{value[0]}-{value[-1]}" if whole else ", ".join(map(str, value))
    shared = [one for one in value if isinstance(other, list) and one in other]
    if len(shared) < 4 or shared == value:
        return ", ".join(map(str, value)) or "none"
    own = ", ".join(str(one) for one in value if one not in shared)
    return f"{own}, and {len(shared)} that both have"


def _provenance(first: Run, other: Run) -> list[tuple[str, str, str]]:
    one, two = _facts(first), _facts(other)
    return [(name, one.get(name, ABSENT), two.get(name, ABSENT)) for name in one | two]


def _facts(run: Run) -> dict[str, str]:
    """What made the results; where the stages disagree, each value with its stages."""
    found: dict[str, dict[str, list[str]]] = {}

    def add(name: str, value: Any, stage: str) -> None:
        found.setdefault(name, {}).setdefault(str(value), []).append(stage)

    parts = [*run.manifests.items(), *((f"evaluation/{name}", cell)
                                       for name, cell in run.cells.items())]
    for name, manifest in parts:
        stage = name.partition("/")[0]
        # The digest is "params_digest" in a manifest, where "params" are the parameters themselves,
        # and "params" in what was evaluated.
        add("parameters", manifest.get("params_digest") or manifest["params"], stage)
        for key, fact in _FACTS.items():
            if manifest.get(key) is not None:
                add(fact, manifest[key], stage)
        for library, version in manifest.get("versions", {}).items():
            add(f"version of {library}", version, stage)
        if "base_model" in manifest:
            base = manifest["base_model"]
            add("starting model", f"{base['name']} {base['sha256'][:12]}", stage)
    if "corpus" in run.manifests:
        shards = run.manifests["corpus"]["shards"]
        add("corpus (SHA-256 of its files)",
            _digest((path, shard["sha256"]) for path, shard in shards.items()), "corpus")
    for name, weights in _weights(run).items():
        add(f"weights of {name}", weights, name)
    order = ["git commit", "parameters", "corpus (SHA-256 of its files)", "starting model"]
    return {name: _by_stage(found[name]) for name in [*order, *found] if name in found}


def _by_stage(values: dict[str, list[str]]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({', '.join(dict.fromkeys(stages))})"
                     for value, stages in values.items())


def _weights(run: Run) -> dict[str, str]:
    """A hash over the weights of RF-pretraining, and over all adapted models of each method."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, manifest in run.manifests.items():
        if "weights" not in manifest:
            continue
        group = "RF-pretraining" if name == "pretrain" else manifest["method"]
        groups.setdefault(group, []).extend((f"{name}/{file}", sha256)
                                            for file, sha256 in manifest["weights"].items())
    return {group: _digest(hashes) for group, hashes in groups.items()}


def _digest(hashes: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(hashes))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


_Rows = tuple[list[Row], list[Row]]


def _common(rows: _Rows, paired: bool) -> tuple[_Rows, str]:
    """The rows of both runs that can be held against each other, and the basis of that."""
    for basis, key in (("paired", _sample), ("unpaired", lambda row: (row["task"], row["length"]))):
        if basis == "paired" and not paired:
            continue
        shared = set(map(key, rows[0])) & set(map(key, rows[1]))
        if shared:
            return tuple([row for row in side if key(row) in shared] for side in rows), basis
    return rows, ABSENT


def _sample(row: Row) -> tuple:
    return row["task"], row["length"], row["index"], row["prompt"]


def _figures(run: Run, method: str, rows: _Rows, basis: str) -> list[Figure]:
    draws = (run.parameters["evaluation"]["bootstrap_samples"],
             run.parameters["evaluation"]["confidence"], run.seed)
    sides = [[found for _, found in sorted(metrics.answers(side).items())] for side in rows]
    samples, lines = tuple(map(len, rows)), []
    for name, statistic in _statistics(rows, basis):
        values = [(statistic(list(metrics.accuracy_by_length(side).values())),
                   *metrics.bootstrap_seeds(found, statistic, *draws)) if found else None
                  for side, found in zip(rows, sides, strict=True)]
        difference = None
        if basis != ABSENT:
            difference = (values[0][0] - values[1][0], *metrics.bootstrap_difference(
                *sides, statistic, *draws, paired=basis == "paired"))
        lines.append(Figure(method, name, *values, difference, basis, samples))
    return lines


def _statistics(rows: _Rows, basis: str) -> list[tuple[str, metrics.Statistic]]:
    longest = [max((row["length"] for row in side), default=0) for side in rows]
    name = f"ACC_Len{max(longest)}"
    if basis == ABSENT and 0 not in longest and longest[0] != longest[1]:
        name = f"ACC_Len{longest[0]} and {longest[1]}"
    return [(name, metrics.acc_longest), ("Max_Len_90%", metrics.mean_max_len_90),
            ("accuracy, all lengths", metrics.accuracy)]


def _pairs(run: Run, first: list[Row], other: list[Row]) -> list[metrics.Paired]:
    """All samples that both answered, those in distribution and those out of it."""
    return [line for line in _lines(run, first, other) if not line.group.startswith("length")]


def _cells(run: Run, first: list[Row], other: list[Row]) -> list[tuple[str, int, metrics.Paired]]:
    """The samples that both answered of each task, seed and length."""
    cells = []
    for task, seed in dict.fromkeys((row["task"], row["seed"]) for row in first):
        sides = [[row for row in side if (row["task"], row["seed"]) == (task, seed)]
                 for side in (first, other)]
        cells += [(task, seed, line) for line in _lines(run, *sides)
                  if line.group.startswith("length")]
    return cells


def _lines(run: Run, first: list[Row], other: list[Row]) -> list[metrics.Paired]:
    shared = set(map(_key, first)) & set(map(_key, other))
    sides = [[row for row in side if _key(row) in shared] for side in (first, other)]
    if not sides[0]:
        return []
    settings = run.parameters["evaluation"]
    return metrics.compare(*sides, run.parameters["corpus"]["adaptation"]["lengths"],
                           settings["bootstrap_samples"], settings["confidence"], run.seed)


def _key(row: Row) -> tuple:
    return *_sample(row), row["seed"]


def _flips(first: list[Row], other: list[Row]) -> list[Row]:
    before, flips = {_key(row): row for row in first}, []
    for row in other:
        old = before.get(_key(row))
        if old is None or (old["outcome"] == "right") == (row["outcome"] == "right"):
            continue
        flips.append({
            **{key: row[key] for key in ("method", "task", "seed", "length", "index")},
            "flip": "right -> wrong" if old["outcome"] == "right" else "wrong -> right",
            "gold_answer": row["gold_answer"],
            "first_outcome": old["outcome"], "first_answer": old["answer"],
            "other_outcome": row["outcome"], "other_answer": row["answer"]})
    return sorted(flips, key=lambda one: [one[key] for key in ("task", "seed", "length", "index")])


def write(comparison: Comparison) -> Path:
    """Write report.md and flips.csv; returns their folder, reports/<the other's> in the first's.

    An earlier report on the same two is replaced.
    """
    folder = comparison.first.folder / "reports" / comparison.other.folder.name
    text = io.StringIO()
    writer = csv.DictWriter(text, FLIP_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(comparison.flips)
    files.write_whole(folder / "flips.csv", text.getvalue())
    files.write_whole(folder / "report.md", show(comparison))
    return folder


def summary(source: Params | str | os.PathLike) -> str:
    """What made the results of one run, and how far it is, as Markdown; see `open_run`."""
    run = open_run(source)
    lines = [("folder", str(run.folder)), *_parts(run).items(), *_facts(run).items()]
    return f"# {run.name}\n\n{_smoke(run)}{_table(['', 'this run'], lines)}"


def show(comparison: Comparison) -> str:
    """The whole comparison as Markdown that reads well in a terminal too."""
    first, other = comparison.first, comparison.other
    runs = [("run", first.name, other.name), ("folder", str(first.folder), str(other.folder)),
            *((part, state, _parts(other)[part]) for part, state in _parts(first).items())]
    made = [(what, one, "the same" if one == two else two)
            for what, one, two in comparison.provenance]
    sides = ["first", "other"]
    sections = [
        f"# {first.name} against {other.name}\n", _smoke(first, other) + _table(["", *sides], runs),
        "## Parameters that differ\n", _table(["parameter", *sides], comparison.parameters),
        "## What made them\n", _table(["", *sides], made),
        "## Figures of merit\n", _figures_text(comparison),
        "## Samples that both answered\n", _pairs_text(comparison),
        "## Cells\n", _cells_text(comparison),
        "## Flipped samples\n", _flips_text(comparison)]
    return "\n".join(sections)


def _parts(run: Run) -> dict[str, str]:
    """How much of each part of a run is finished."""
    trained = sum(name.startswith("adapt/") for name in run.manifests)
    evaluated = sum(cell["finished"] for cell in run.cells.values())
    try:
        expected = params.check(run.parameters)
        of = [f" of {len(expected.trainings)}", f" of {len(expected.cells)}"]
    except ParamsError:  # a run of a kit with other parameters
        of = ["", ""]
    return {"corpus": "finished" if "corpus" in run.manifests else "not run",
            "RF-pretraining": "finished" if "pretrain" in run.manifests else "not run",
            "adaptation": f"{trained}{of[0]} finished" if trained else "not run",
            "evaluation": f"{evaluated}{of[1]} finished" if evaluated else "not run"}


def _smoke(*runs: Run) -> str:
    smoke = dict.fromkeys(run.name for run in runs if run.parameters["smoke"])
    return f"SMOKE RUN ({', '.join(smoke)}): says nothing about the methods.\n\n" if smoke else ""


def _figures_text(comparison: Comparison) -> str:
    lines = []
    for one in comparison.figures:
        digits = 2 if one.figure.startswith("Max_Len") else 3
        over = {"paired": f"{one.samples[0]:,} answers of each, paired",
                "unpaired": "{:,} and {:,} answers, unpaired".format(*one.samples),
                ABSENT: "nothing in common"}[one.basis]
        values = (_interval(value, digits) for value in (one.first, one.other, one.difference))
        lines.append((one.method, one.figure, *values, over))
    settings = comparison.first.parameters["evaluation"]
    return (_table(["method", "figure", "first", "other", "first less other", "over"], lines)
            + f"\n{settings['confidence']:.0%} bootstrap intervals, "
            f"{settings['bootstrap_samples']:,} draws, over the samples and, where there are"
            " several,\nthe seeds; a cell where all or none are right has no spread in them. Both"
            " runs' figures\nare over what they have in common: the same samples (paired), else the"
            " same tasks and\nlengths (unpaired).\n")


def _interval(value: tuple[float, float, float] | None, digits: int) -> str:
    if value is None:
        return ABSENT
    middle, low, high = (f"{number:.{digits}f}" for number in value)
    return f"{middle} [{low}, {high}]"


def _pairs_text(comparison: Comparison) -> str:
    lines = [(method, one.group, f"{one.both + one.first + one.other + one.neither:,}",
              f"{one.first:,}", f"{one.other:,}",
              _interval((one.difference, one.low, one.high), 3),
              ABSENT if one.p is None else f"{one.p:.2g}")
             for method, one in comparison.pairs]
    return (_table(["method", "lengths", "samples", "right -> wrong", "wrong -> right",
                    "first less other", "p"], lines)
            + "\nThe same task, length, index, prompt and seed. right -> wrong: right in the first"
            " run, not\nin the other. Newcombe's interval of the difference of accuracy, or the"
            " bootstrap's over\nseveral seeds; p: exact McNemar test, one seed only.\n")


def _cells_text(comparison: Comparison) -> str:
    apart = [(method, task, seed, one.group.removeprefix("length "),
              _interval((one.difference, one.low, one.high), 3))
             for method, task, seed, one in comparison.cells if not one.low <= 0 <= one.high]
    total = len(comparison.cells)
    header = ["method", "task", "seed", "length", "first less other"]
    return (f"The interval of the difference holds 0 in {total - len(apart):,} of {total:,} cells"
            " (a method on a task at a\nlength, with a seed)."
            + (f" It does not in these:\n\n{_table(header, apart)}" if apart else "\n"))


def _flips_text(comparison: Comparison) -> str:
    listed = [flip for method in dict.fromkeys(flip["method"] for flip in comparison.flips)
              for flip in [one for one in comparison.flips if one["method"] == method][:LISTED]]
    lines = [(one["method"], one["task"], one["seed"], one["length"], one["index"], one["flip"],
              _short(one["gold_answer"]), _answer(one, "first"), _answer(one, "other"))
             for one in listed]
    more = len(comparison.flips) - len(lines)
    return (_table(["method", "task", "seed", "length", "index", "flip", "gold", "first", "other"],
                   lines)
            + (f"\n{more:,} more stand in flips.csv.\n" if more else ""))


def _answer(flip: Row, side: str) -> str:
    outcome, answer = flip[f"{side}_outcome"], flip[f"{side}_answer"]
    return _short(answer) if outcome in ("right", "wrong") else outcome


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[:WIDEST - 3]}..."


def _table(header: list[str], lines: Iterable[Iterable]) -> str:
    """A Markdown table with aligned columns; "None." where it has no line."""
    body = [[_text(cell) for cell in line] for line in lines]
    if not body:
        return "None.\n"
    widths = [max(3, *map(len, column)) for column in zip(header, *body, strict=True)]
    rows = [header, ["-" * width for width in widths], *body]
    return "".join("| " + " | ".join(cell.ljust(width)
                                     for cell, width in zip(row, widths, strict=True)) + " |\n"
                   for row in rows)


def _text(value: Any) -> str:
    """A cell's text on one line: a model may have written anything."""
    text = "".join(one if one.isprintable() else " " for one in str(value))
    return text.replace("|", "\\|")
