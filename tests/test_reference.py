"""The results that are kept in outputs/reference: whole, of the presets, and as they are told."""

import json
from collections import Counter

import numpy
import pandas
import pytest

from metarfft_core import params, scoring
from metarfft_core.analysis import run_folder
from metarfft_core.system.places import ROOT

PAGE = ROOT / "docs" / "results.md"
FOLDERS = sorted((ROOT / "outputs" / "reference").glob("*/"))
every_result = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@every_result
def test_the_kept_results_are_those_of_the_preset(folder):
    """Their parameters are those of the file that has their name, and every cell is finished."""
    run = params.load(ROOT / "params" / f"{folder.name}.yaml")
    kept = run_folder.open_run(folder)
    assert params.load(folder / "params.yaml").digest == run.digest
    assert len(kept.cells) == len(run.cells)
    assert all(cell["finished"] for cell in kept.cells.values())
    rows = [row for method in kept.rows.values() for row in method]  # refuses files that changed
    assert len(rows) == len(run.cells) * len(run.corpus.evaluation.lengths) \
        * run.corpus.evaluation.samples_per_length


@every_result
def test_the_kept_figures_are_those_of_the_rows(folder):
    """The numbers beside the figure of accuracies, counted again from the kept rows."""
    counted = Counter((row["method"], row["task"], row["length"], row["outcome"] == "right")
                      for rows in run_folder.open_run(folder).rows.values() for row in rows)
    table = pandas.read_csv(folder / "figures" / "accuracy_by_length.csv")
    assert len(table) > 0
    for line in table.itertuples():
        cell = line.method, line.task, line.length
        assert (counted[*cell, True], counted[*cell, False]) == (
            line.right, line.total - line.right)


@every_result
def test_the_kept_averages_are_those_of_the_rows(folder):
    """The numbers of Table 2, computed again with pandas and numpy alone. The ends of the intervals
    are those of other draws, up to four standard deviations of the share of draws below them."""
    draws, kept = 8000, run_folder.open_run(folder)
    config = params.load(folder / "params.yaml")
    noise = 4 * (0.025 * 0.975 * (1 / draws + 1 / config.evaluation.bootstrap_samples)) ** 0.5
    table = pandas.read_csv(folder / "figures" / "table_2.csv").set_index("method")
    longest = f"ACC_Len{max(config.corpus.evaluation.lengths)}"
    for method, line in table.iterrows():
        rows = pandas.DataFrame(kept.rows[method])
        rows = rows[rows.task.isin(config.corpus.adaptation.tasks)]
        found = zip([longest, "Max_Len_90%", "Max_Len_90%_any"],
                    averages(rows), averages(rows, draws), strict=True)
        for name, [value], drawn in found:
            assert line[name] == pytest.approx(value, abs=1e-12)
            for level, end in ((0.025, line[f"{name}_low"]), (0.975, line[f"{name}_high"])):
                least, most = numpy.quantile(drawn, [level - noise, level + noise])
                assert least - 1e-12 <= end <= most + 1e-12


def averages(rows, draws=None):
    """ACC at the longest length and both readings of Max_Len_90%, averaged over tasks: as the rows
    are, or in so many draws of the seeds of each task and of the samples that they share."""
    generator, parts = numpy.random.default_rng(1), []
    lengths = numpy.array(sorted(rows.length.unique()))
    for _, asked in rows.sort_values(["seed", "length", "index"]).groupby("task"):
        seeds = asked.seed.nunique()
        right = (asked.outcome == "right").to_numpy().reshape(seeds, len(lengths), -1)
        if draws:
            seed = generator.integers(seeds, size=(draws, seeds, 1, 1))
            sample = generator.integers(right.shape[2], size=(draws, 1, *right.shape[1:]))
            right = right[seed, numpy.arange(len(lengths))[:, None], sample]
        share = right.mean(axis=(-3, -1)).reshape(-1, len(lengths))
        reached = share >= 0.9
        parts.append([share[:, -1],
                      (lengths * numpy.logical_and.accumulate(reached, axis=1)).max(axis=1),
                      (lengths * reached).max(axis=1)])
    return numpy.mean(parts, axis=0)


@every_result
def test_the_strict_score_of_every_kept_text_is_the_stored_one(folder):
    """Texts that are scored again give the stored answer and outcome, and the lenient score differs
    from it only where it accepts an answer that is wrong or missing by the strict one."""
    again = 0
    for path in folder.glob("evaluation/*/*.jsonl"):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if "text" in row:
                again += 1
                assert scoring.score(row["text"], row["finish_reason"], row["gold_answer"]) == (
                    row["answer"], row["outcome"])
            lenient = scoring.lenient_outcome(row)
            assert lenient in (row["outcome"], "right", None)
            assert lenient == row["outcome"] or row["outcome"] in ("wrong", "no_answer")
    assert again > 100


@every_result
def test_what_is_kept_is_small(folder):
    """No weights, no file above a megabyte, no more than 10 MB in all."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in paths if path.suffix == ".safetensors"]
    assert max(path.stat().st_size for path in paths) < 1_000_000
    assert sum(path.stat().st_size for path in paths) < 10_000_000


def test_there_are_results():
    """The laptop's are among them: without any the tests above would say nothing."""
    assert "laptop" in {folder.name for folder in FOLDERS}


def test_the_page_of_results_tells_the_kept_results():
    """Its table of right answers, counted again: the run's own seed, all tasks together."""
    folder = ROOT / "outputs" / "reference" / "laptop"
    run = params.load(folder / "params.yaml")
    kept = run_folder.open_run(folder).rows
    told = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        method, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if method in run.adaptation.methods and len(cells) == 6:
            told[method] = list(map(int, cells))
    assert told == {method: [sum(
        row["outcome"] == "right" for row in kept[method]
        if (row["length"], row["seed"]) == (length, run.seed)
        and row["task"] in run.corpus.adaptation.tasks)
        for length in run.corpus.evaluation.lengths] for method in run.adaptation.methods}


@every_result
def test_the_page_of_results_tells_the_share_beyond_the_trained_lengths(folder):
    """Right answers of Meta-RFFT and vanilla RFFT, seeds averaged and tasks counted once, as the
    page of results says them of each kept run."""
    shares = share_beyond(folder, "meta_rfft"), share_beyond(folder, "vanilla_rfft")
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "{:.0%} against {:.0%}".format(*shares) in text


def share_beyond(folder, method):
    """Right answers of a method beyond the trained lengths, as that page counts them."""
    run = params.load(folder / "params.yaml")
    asked = pandas.DataFrame(run_folder.open_run(folder).rows[method])
    asked = asked[asked.task.isin(run.corpus.adaptation.tasks)
                  & (asked.length > run.corpus.adaptation.lengths[-1])]
    return (asked.outcome == "right").groupby(asked.task).mean().mean()


def test_the_readme_says_the_result_that_counts():
    """The caveat under its figure gives the shares of the run with the other seed."""
    folder = ROOT / "outputs" / "reference" / "laptop_seed100"
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    ours, others = share_beyond(folder, "meta_rfft"), share_beyond(folder, "vanilla_rfft")
    assert f"Meta-RFFT is right on {ours:.0%} and vanilla RFFT on {others:.0%}" in readme
