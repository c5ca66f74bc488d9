"""The results that are kept in outputs/reference: whole, of the presets, and as they are told."""

import json
from collections import Counter

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
    assert f"Meta-RFFT is right on {ours:.0%}, vanilla RFFT on {others:.0%}" in readme
