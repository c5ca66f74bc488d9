"""Describes in Markdown what made a run, or how two runs differ.

`write` stores a comparison in <folder of the first run>/reports/<name of the other>.
"""

import csv
import io
import os
from pathlib import Path

from metarfft_core import params, tasks
from metarfft_core.analysis.compare import ABSENT, Comparison
from metarfft_core.analysis.run_folder import Row, RunFolder, facts, open_run
from metarfft_core.params import Params, ParamsError
from metarfft_core.system import files
from metarfft_core.system.markdown import csv_cell, plain, table

LISTED = 20
"""How many flipped samples of each method the report lists; flips.csv has all of them."""

WIDEST = 40
"""How many characters of an answer the report shows."""

FLIP_COLUMNS = ("method", "task", "seed", "length", "index", "flip", "gold_answer",
                "first_outcome", "first_answer", "other_outcome", "other_answer")


def write(comparison: Comparison) -> Path:
    """Write report.md and flips.csv into reports/<name of the other> in the first run's folder.

    An earlier report on the same two runs is replaced. Returns the folder of the report; an archive
    has it elsewhere (see `params.written`).
    """
    folder = params.written(comparison.first.folder / "reports" / comparison.other.folder.name)
    text = io.StringIO()
    writer = csv.DictWriter(text, FLIP_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in flip.items()}
                     for flip in comparison.flips)
    files.write_whole(folder / "flips.csv", text.getvalue())
    files.write_whole(folder / "report.md", show(comparison))
    return folder


def summary(source: Params | str | os.PathLike) -> str:
    """Describe in Markdown what made the results of a run and how much is finished.

    `source` is what `open_run` accepts.
    """
    run = open_run(source)
    lines = [("folder", str(run.folder)), *_parts(run).items()]
    if params.is_archive(run.folder):
        lines.append(("texts", "{:,} of {:,} kept".format(*run.texts)))
    lines += facts(run).items()
    return f"# {plain(run.name)}\n\n{_smoke(run)}{table(['', 'this run'], lines)}"


def show(comparison: Comparison) -> str:
    """Format the whole comparison as Markdown that is also readable in a terminal."""
    first, other = comparison.first, comparison.other
    runs = [("run", first.name, other.name), ("folder", str(first.folder), str(other.folder)),
            *((part, state, _parts(other)[part]) for part, state in _parts(first).items())]
    made = [(what, one, "the same" if one == two else two)
            for what, one, two in comparison.provenance]
    sides = ["first", "other"]
    sections = [
        f"# {plain(first.name)} against {plain(other.name)}\n",
        _smoke(first, other) + table(["", *sides], runs),
        "## Parameters that differ\n", table(["parameter", *sides], comparison.parameters),
        "## What made them\n", table(["", *sides], made),
        "## Figures of merit\n", _figures_text(comparison),
        "## Samples that both answered\n", _pairs_text(comparison),
        "## Cells\n", _cells_text(comparison),
        "## Flipped samples\n", _flips_text(comparison)]
    return "\n".join(sections)


def _parts(run: RunFolder) -> dict[str, str]:
    """Return how much of each part of a run is finished."""
    trained = sum(name.startswith("adapt/") for name in run.manifests)
    evaluated = sum(cell["finished"] for cell in run.cells.values())
    try:
        expected = params.check(run.parameters)
        of = [f" of {len(expected.trainings)}", f" of {len(expected.cells)}"]
    except ParamsError:  # another version of the kit, with other parameters, made the run
        of = ["", ""]
    return {"corpus": "finished" if "corpus" in run.manifests else "not run",
            "RF-pretraining": "finished" if "pretrain" in run.manifests else "not run",
            "adaptation": f"{trained}{of[0]} finished" if trained else "not run",
            "evaluation": f"{evaluated}{of[1]} finished" if evaluated else "not run"}


def _smoke(*runs: RunFolder) -> str:
    smoke = dict.fromkeys(run.name for run in runs if run.parameters["smoke"])
    names = plain(", ".join(smoke))
    return f"SMOKE RUN ({names}): says nothing about the methods.\n\n" if smoke else ""


def _figures_text(comparison: Comparison) -> str:
    lines = []
    for merit in comparison.figures:
        digits = 2 if merit.figure.startswith("Max_Len") else 3
        over = {"paired": f"{merit.samples[0]:,} answers of each, paired",
                "unpaired": "{:,} and {:,} answers, unpaired".format(*merit.samples),
                ABSENT: "nothing in common"}[merit.basis]
        values = (_interval(value, digits)
                  for value in (merit.first, merit.other, merit.difference))
        lines.append((merit.method, merit.figure, *values, over))
    settings = comparison.first.parameters["evaluation"]
    return (table(["method", "figure", "first", "other", "first less other", "over"], lines)
            + f"\n{settings['confidence']:.0%} bootstrap intervals, "
            f"{settings['bootstrap_samples']:,} draws, over the samples and, if there"
            " are several, the seeds.\nA cell in which all or no answers are right adds no spread."
            " The figures of both runs cover\nwhat they have in common: the same samples (paired),"
            " or else the same tasks and lengths\n(unpaired).\n")


def _interval(value: tuple[float, float, float] | None, digits: int) -> str:
    if value is None:
        return ABSENT
    middle, low, high = (f"{number:.{digits}f}" for number in value)
    return f"{middle} [{low}, {high}]"


def _pairs_text(comparison: Comparison) -> str:
    lines = [(method, pair.group, f"{pair.both + pair.first + pair.other + pair.neither:,}",
              f"{pair.first:,}", f"{pair.other:,}",
              _interval((pair.difference, pair.low, pair.high), 3),
              ABSENT if pair.p is None else f"{pair.p:.2g}")
             for method, pair in comparison.pairs]
    return (table(["method", "lengths", "samples", "right -> wrong", "wrong -> right",
                    "first less other", "p"], lines)
            + "\nA sample is the same task, length, index, prompt and seed. right -> wrong: right"
            " in the first\nrun, but not in the other. The interval of the difference of accuracy"
            " is Newcombe's, or a\nbootstrap interval with several seeds. p is that of the exact"
            " McNemar test, with one seed only.\n")


def _cells_text(comparison: Comparison) -> str:
    apart = [(cell.method, tasks.label(cell.task), cell.seed, pair.group.removeprefix("length "),
              _interval((pair.difference, pair.low, pair.high), 3))
             for cell, pair in comparison.cells if not pair.low <= 0 <= pair.high]
    total = len(comparison.cells)
    header = ["method", "task", "seed", "length", "first less other"]
    return (f"The interval of the difference contains 0 in {total - len(apart):,} of {total:,}"
            " cells (a method on a task at\na length, with a seed)."
            + (f" It does not in these:\n\n{table(header, apart)}" if apart else "\n"))


def _flips_text(comparison: Comparison) -> str:
    listed = [flip for method in dict.fromkeys(flip["method"] for flip in comparison.flips)
              for flip in [row for row in comparison.flips if row["method"] == method][:LISTED]]
    lines = [(row["method"], tasks.label(row["task"]), row["seed"], row["length"], row["index"],
              row["flip"], _short(row["gold_answer"]), _answer(row, "first"),
              _answer(row, "other"))
             for row in listed]
    more = len(comparison.flips) - len(lines)
    return (table(["method", "task", "seed", "length", "index", "flip", "gold", "first", "other"],
                   lines)
            + (f"\n{more:,} more are in flips.csv.\n" if more else ""))


def _answer(flip: Row, side: str) -> str:
    outcome, answer = flip[f"{side}_outcome"], flip[f"{side}_answer"]
    return _short(answer) if outcome in ("right", "wrong") else outcome


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[:WIDEST - 3]}..."
