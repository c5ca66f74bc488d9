"""Figures and tables, against numbers counted by other means and what stands in the files."""

import csv
import json
import os
import random
import subprocess
import sys
from itertools import combinations

import pytest

from metarfft_core import corpus, evaluation, figures, files, metrics, params, training
from metarfft_core.params import ParamsError

TASKS = ["nupa_length", "lc_3324"]
LENGTHS = [1, 3, 4, 6]
SAMPLES = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four methods on two tasks, with stored results and logs as its stages write them."""
    values = params.read(params.ROOT / "params" / "test.yaml")
    values["corpus"]["adaptation"] |= {"tasks": TASKS, "lengths": [1, 2, 3]}
    values["corpus"]["adaptation_validation"]["lengths"] = [1]
    values["corpus"]["evaluation"] = {"lengths": LENGTHS, "samples_per_length": SAMPLES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        run = params.check(values)
        corpus.build(run)
        draw = random.Random(0)
        for method in run.adaptation.methods:
            for task in TASKS:
                _store_training(training.stage_folder(run, "adapt", task, method), run)
                _store_results(run, method, task, draw)
        _store_training(training.stage_folder(run, "pretrain"), run)
        yield run


def _store_training(folder, run):
    folder.mkdir(parents=True)
    lines = [{"step": 0, "validation_loss": 2.5}, {"step": 1, "loss": 2.25},
             {"step": 2, "loss": 1.5}, {"step": 2, "validation_loss": 1.75}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files.write_json(folder / "manifest.json", {"params_digest": run.digest})


def _store_results(run, method, task, draw):
    path = evaluation.path(run, method, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for length in LENGTHS:
        chance = 1.0 if length == 1 else 0.6
        for index in range(SAMPLES):
            outcome = "right" if draw.random() < chance else draw.choice(evaluation.OUTCOMES[1:])
            rows.append({"method": method, "task": task, "length": length, "index": index,
                         "outcome": outcome})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files.write_json(path.with_suffix(".json"),
                     evaluation.header(run, method, task) | {"finished": True})


def _stored(run):
    for path in run.folder.glob("evaluation/*/*.jsonl"):
        yield from map(json.loads, path.read_text().splitlines())


def _read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def accuracy(run):
    return figures.accuracy_figure(run)


@pytest.fixture(scope="module")
def table(run):
    return figures.table_2(run)


@pytest.fixture(scope="module")
def loss(run):
    return figures.loss_figure(run)


def test_the_accuracy_csv_counts_the_stored_rows(run, accuracy):
    """Every method, task and length has a line, whose counts are those of the stored rows."""
    lines = _read(accuracy["csv"])
    assert len(lines) == len(run.adaptation.methods) * len(TASKS) * len(LENGTHS)
    rows = list(_stored(run))
    for line in lines:
        outcomes = [row["outcome"] for row in rows
                    if (row["method"], row["task"], row["length"])
                    == (line["method"], line["task"], int(line["length"]))]
        right = outcomes.count("right")
        assert int(line["total"]) == len(outcomes) == SAMPLES
        assert {name: int(line[name]) for name in evaluation.OUTCOMES} == {
            name: outcomes.count(name) for name in evaluation.OUTCOMES}
        assert float(line["accuracy"]) == right / SAMPLES
        assert (float(line["low"]), float(line["high"])) == metrics.wilson(right, SAMPLES, 0.95)
        assert line["in_distribution"] == str(int(line["length"]) <= 3)


def test_the_table_averages_the_tasks(run, table):
    """ACC is at the longest length, Max_Len_90% at every length up to it, over both tasks."""
    for line in _read(table["csv"]):
        share = {(task, length): 0.0 for task in TASKS for length in LENGTHS}
        for row in _stored(run):
            if row["method"] == line["method"] and row["outcome"] == "right":
                share[row["task"], row["length"]] += 1 / SAMPLES
        longest = [max((length for length in LENGTHS
                        if all(share[task, one] >= 0.9 for one in LENGTHS if one <= length)),
                       default=0) for task in TASKS]
        assert float(line["ACC_Len6"]) == sum(share[task, 6] for task in TASKS) / 2
        assert float(line["Max_Len_90%"]) == sum(longest) / 2
        for name in ("ACC_Len6", "Max_Len_90%", "Max_Len_90%_any"):
            value, low, high = (float(line[name + end]) for end in ("", "_low", "_high"))
            assert low <= value <= high
        assert float(line["Max_Len_90%_any"]) >= float(line["Max_Len_90%"])


def test_the_table_holds_the_papers_own_figures(table):
    """The columns beside ours are the paper's Table 2."""
    lines = {line["method"]: [float(line[f"paper_{size}_{name}"]) for size in ("7b", "32b")
                              for name in ("ACC_Len30", "Max_Len_90%")]
             for line in _read(table["csv"])}
    assert lines == {"direct": [0.16, 6.00, 0.30, 12.67], "scratchpad": [0.30, 7.50, 0.41, 11.17],
                     "vanilla_rfft": [0.40, 9.33, 0.67, 18.17],
                     "meta_rfft": [0.77, 21.17, 0.98, 30.00]}


def test_the_loss_csv_is_the_logs(run, loss):
    """Every logged loss of every training stands in the CSV, at its step."""
    lines = _read(loss["csv"])
    assert len(lines) == 4 * (1 + len(TASKS) * len(run.adaptation.methods))
    pretraining = [line for line in lines if line["stage"] == "pretrain"]
    assert [(line["step"], line["loss"], line["validation_loss"]) for line in pretraining] == [
        ("0", "", "2.5"), ("1", "2.25", ""), ("2", "1.5", ""), ("2", "", "1.75")]


def test_every_figure_is_a_pdf_and_a_png(run, accuracy, table, loss):
    """The files lie in the run's figures folder and open; nothing else lies there."""
    from matplotlib.image import imread

    folder = run.folder / "figures"
    paths = [path for one in (accuracy, table, loss) for path in one.values()]
    assert sorted(folder.iterdir()) == sorted(paths)
    for one in (accuracy, table, loss):
        height, width, _ = imread(one["png"]).shape
        assert min(height, width) >= 300
        assert one["pdf"].read_bytes().startswith(b"%PDF")


def _draw(run, smoke=True):
    rows = evaluation.read(run)
    run = run.model_copy(update={"smoke": smoke})
    return {"accuracy": figures.draw_accuracy(run, figures.accuracy_table(run, rows)),
            "table": figures.draw_table_2(run, figures.averages(run, rows)),
            "loss": figures.draw_loss(run, figures.loss_table(run))}


def _texts(figure):
    """The texts that are drawn: a tick label beyond the ends of its axis is not."""
    from matplotlib.text import Text

    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            hidden |= {label for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(),
                                                     strict=True)
                       if not axes.axison or not low <= place <= high}
    return [text for text in figure.findobj(Text)
            if text.get_visible() and text.get_text() and text not in hidden]


def test_only_a_smoke_run_is_marked(run):
    """A smoke run says so on every figure and table, another run on none."""
    for smoke in (True, False):
        for figure in _draw(run, smoke).values():
            assert (figures.SMOKE_MARK in [text.get_text() for text in _texts(figure)]) == smoke


def test_the_figure_shows_each_task_method_and_trained_length(run):
    """A panel a task, a labelled line a method through its accuracies, the trained part shaded."""
    frame = figures.accuracy_table(run, evaluation.read(run))
    figure = figures.draw_accuracy(run, frame)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == TASKS
    for task, axes in zip(TASKS, figure.axes, strict=True):
        lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
        for method in run.adaptation.methods:
            part = frame[(frame["task"] == task) & (frame["method"] == method)]
            assert lines[figures.LABELS[method]] == list(part["accuracy"])
        [shaded] = axes.patches
        assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (0.5, 3.5)


def test_no_text_is_cut_or_covers_another(run):
    """In the drawn table and figures all texts lie inside the picture and apart from each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with figures._style():
        for name, figure in _draw(run).items():
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            width, height = canvas.get_width_height()
            boxes = [(text.get_text(), text.get_window_extent()) for text in _texts(figure)]
            for text, box in boxes:
                assert box.x0 >= 0 <= box.y0, (name, text)
                assert box.x1 <= width, (name, text)
                assert box.y1 <= height, (name, text)
            for (text, box), (other, covered) in combinations(boxes, 2):
                assert not box.overlaps(covered), (name, text, other)


def test_the_same_results_give_the_same_files(run, accuracy, table, loss):
    """Drawing again writes the same bytes: no time of day, no random name."""
    before = {path: path.read_bytes() for path in (run.folder / "figures").iterdir()}
    for draw in (figures.accuracy_figure, figures.table_2, figures.loss_figure):
        draw(run)
    assert {path: path.read_bytes() for path in (run.folder / "figures").iterdir()} == before


def test_drawing_leaves_the_settings_of_a_notebook_alone(run):
    """No setting of matplotlib is changed, the backend among them, and no screen is needed."""
    program = ("import matplotlib\n"
               "matplotlib.use('svg')\n"
               "before = dict(matplotlib.rcParams)\n"
               "from metarfft_core import figures, params\n"
               f"figures.table_2(params.load({str(run.folder / 'params.yaml')!r}))\n"
               "assert dict(matplotlib.rcParams) == before\n"
               "assert matplotlib.get_backend() == 'svg'\n")
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    subprocess.run([sys.executable, "-c", program], check=True,
                   env=environment | {"PYTHONPATH": str(params.ROOT)})


def test_no_log_is_an_error_that_names_the_folder(run, monkeypatch, tmp_path):
    """Without any training there is nothing to draw."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    with pytest.raises(ParamsError, match="holds no log of a training"):
        figures.loss_figure(run)
