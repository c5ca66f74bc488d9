"""The stages of Figure 8: the airline task trained and evaluated with a real model."""

import ast
import csv

import pytest
from PIL import Image
from test_airline import oracle

from metarfft_core import corpus, evaluation, figures, params, training
from metarfft_core.figures import SMOKE_MARK
from metarfft_core.figures.picture import ALT
from metarfft_core.params import LABELS
from metarfft_core.planning import measured
from metarfft_core.system.files import read_json
from metarfft_core.system.places import ROOT

METHODS = ["direct", "scratchpad", "vanilla_rfft", "meta_rfft"]


def test_the_small_run_asks_what_the_large_one_asks():
    """Both adapt the four methods to the airline task alone, and evaluate more bags than the
    small one trains on."""
    small, large = (params.load(ROOT / "params" / f"{name}.yaml")
                    for name in ("airline_smoke", "7b_airline"))
    assert small.smoke
    assert small.corpus.adaptation.tasks == large.corpus.adaptation.tasks == ["airline_baggage"]
    assert small.adaptation.methods == large.adaptation.methods == METHODS
    for one in (small, large):
        assert max(one.corpus.evaluation.lengths) > max(one.corpus.adaptation.lengths)


@pytest.mark.slow
def test_figure_8_is_walked_to_its_end(tmp_path, monkeypatch):
    """Corpus, trainings and answers of the small run are made by the stages themselves; the figure
    has a point for each method and number of bags, and is marked as of a smoke run."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = params.load(ROOT / "params" / "airline_smoke.yaml")
    corpus.build(run)
    training.launch_all(run)
    evaluation.launch(run)
    drawn = figures.paper([run], tmp_path / "paper")["figure_8"]
    with open(drawn["csv"], encoding="utf-8", newline="") as file:
        points = list(csv.DictReader(file))
    assert {(point["line"], float(point["length"])) for point in points} == {
        (LABELS[method], length) for method in METHODS for length in (1, 2, 3)}
    assert {point["run"] for point in points} == {"airline_smoke"}
    assert SMOKE_MARK in Image.open(drawn["png"]).text[ALT]
    rows = evaluation.read(run)
    assert len(rows) == len(METHODS) * 3 * 2
    for row in rows.itertuples():
        assert ast.literal_eval(row.gold_answer) == oracle(**ast.literal_eval(row.inputs))
    hours = measured.compare(run.folder)
    assert not hours.least.any()
    assert (hours.whole_hours > hours.took_hours).all()  # the launch counts, too
    for job in training.jobs(run):
        assert read_json(job.manifest)["relative_change"] > 0
