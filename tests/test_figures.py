"""Figures and tables of one run, against numbers counted by other means and what the files hold."""

import csv
import json
import os
import subprocess
import sys
from itertools import combinations

import made_up_run
import pytest

from metarfft_core import evaluation, figures, params, tasks
from metarfft_core.analysis import diagnoses
from metarfft_core.evaluation import metrics
from metarfft_core.figures import style
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system.places import ROOT

TASKS = ["nupa_length", "lc_3324"]
LENGTHS = [1, 3, 4, 6]
SAMPLES = 8


def _share(method, task, length, seed):
    """Higher for later methods, falling with the length, other for each seed."""
    place = list(params.METHODS).index(method)
    return max(0.0, 1 - (length - 1) / (4 + 2 * place) - 0.25 * seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four methods on two tasks, one of them with a second seed, and a 1-shot prompt."""
    values = made_up_run.preset(
        corpus__adaptation={"tasks": TASKS, "lengths": [1, 2, 3]},
        corpus__adaptation_validation={"lengths": [1]},
        corpus__evaluation={"lengths": LENGTHS, "samples_per_length": SAMPLES},
        adaptation__further=[{"methods": ["meta_rfft"], "tasks": TASKS[:1], "seeds": [1]}],
        evaluation__in_context=["meta_1shot"], evaluation__counterfactual=[])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        yield made_up_run.make(values, _share, traces=True)


def _stored(run):
    for path in run.folder.glob("evaluation/*/*.jsonl"):
        yield from map(json.loads, path.read_text().rstrip("\n").split("\n"))


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
    assert len(lines) == 5 * len(TASKS) * len(LENGTHS)
    rows = list(_stored(run))
    for line in lines:
        outcomes = [row["outcome"] for row in rows
                    if (row["method"], row["task"], row["length"])
                    == (line["method"], line["task"], int(line["length"]))]
        seeds = 2 if (line["method"], line["task"]) == ("meta_rfft", TASKS[0]) else 1
        assert int(line["total"]) == len(outcomes) == SAMPLES * seeds
        assert int(line["seeds"]) == seeds
        assert {name: int(line[name]) for name in evaluation.OUTCOMES} == {
            name: outcomes.count(name) for name in evaluation.OUTCOMES}
        assert float(line["accuracy"]) == outcomes.count("right") / len(outcomes)
        assert line["in_distribution"] == str(int(line["length"]) <= 3)


def test_the_bars_are_wilsons_or_over_the_seeds(run, accuracy):
    """One seed has Wilson's interval, two have the standard deviation of their accuracies."""
    for line in _read(accuracy["csv"]):
        low, high, share = (float(line[name]) for name in ("low", "high", "accuracy"))
        if line["seeds"] == "1":
            assert (low, high) == metrics.wilson(int(line["right"]), SAMPLES, 0.95)
        else:
            one, two = (round(SAMPLES * _share("meta_rfft", "", int(line["length"]), seed))
                        / SAMPLES for seed in (0, 1))
            assert share == pytest.approx((one + two) / 2)
            deviation = abs(one - two) / 2**0.5
            assert (low, high) == pytest.approx((max(0, share - deviation),
                                                 min(1, share + deviation)))


def test_the_table_averages_the_tasks(run, table):
    """ACC is at the longest length, Max_Len_90% at every length up to it, over both tasks."""
    for line in _read(table["csv"]):
        share, rows = {}, list(_stored(run))
        for task in TASKS:
            for length in LENGTHS:
                outcomes = [row["outcome"] for row in rows if (row["method"], row["task"],
                            row["length"]) == (line["method"], task, length)]
                share[task, length] = outcomes.count("right") / len(outcomes)
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
    """Every logged loss of every training is in the CSV, at its step."""
    lines = _read(loss["csv"])
    assert len(lines) == 12 * (1 + len(run.trainings))
    for method, seed, start in (("", "", 2.5), ("meta_rfft", "1.0", 2.0)):
        part = [line for line in lines if (line["method"], line["seed"]) == (method, seed)]
        assert [(line["step"], line["loss"], line["validation_loss"]) for line in part] == [
            ("0", "", str(start)), *((str(step), str(start / (1 + step / 4)), "")
                                     for step in range(1, 11)), ("10", "", str(start / 3))]


def test_every_csv_reads_without_options_and_names_its_run(run, accuracy, table, loss):
    """pandas reads it as it is, and each line tells run, digest and the commit of the results."""
    import pandas

    for one in (accuracy, table, loss):
        frame = pandas.read_csv(one["csv"])
        assert set(zip(frame["run"], frame["params_digest"], frame["commit"], strict=True)) == {
            (run.name, run.digest, "made-test")}


def test_pictures_hold_run_digest_and_commit(run, accuracy, table, loss):
    """They are in the PNG's text chunk and in the PDF's information."""
    from PIL import Image

    made = f"run {run.name}, parameters {run.digest}, commit made-test"
    for one in (accuracy, table, loss):
        assert Image.open(one["png"]).text["Description"] == made
        assert made.encode() in one["pdf"].read_bytes()


def test_every_figure_is_a_pdf_and_a_png(run, accuracy, table, loss):
    """The files lie in the run's figures folder and open, as wide as their print at 200 dpi."""
    from matplotlib.image import imread

    folder = run.folder / "figures"
    paths = [path for one in (accuracy, table, loss) for path in one.values()]
    assert {path.parent for path in paths} == {folder}
    for one in (accuracy, table, loss):
        assert imread(one["png"]).shape[1] == 1400
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


def check_texts(figure, name):
    """Fail where a text leaves the picture or covers another one."""
    style.lay_out(figure)
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [(text.get_text(), text.get_window_extent()) for text in _texts(figure)]
    for text, box in boxes:
        assert box.x0 >= 0 <= box.y0, (name, text)
        assert box.x1 <= width, (name, text)
        assert box.y1 <= height, (name, text)
    for (text, box), (other, covered) in combinations(boxes, 2):
        assert not box.overlaps(covered), (name, text, other)


def test_only_a_smoke_run_is_marked(run):
    """A smoke run says so on every figure and table, another run on none."""
    for smoke in (True, False):
        for figure in _draw(run, smoke).values():
            assert (figures.SMOKE_MARK in [text.get_text() for text in _texts(figure)]) == smoke


def test_the_figure_shows_each_task_method_and_trained_length(run):
    """A panel a task, its title above and its id in smaller letters, a labelled line a method
    through its accuracies, the trained part shaded."""
    frame = figures.accuracy_table(run, evaluation.read(run))
    figure = figures.draw_accuracy(run, frame)
    titles = [(axes.get_title(), axes.texts[0].get_text()) for axes in figure.axes]
    assert titles == [("Integer length", "nupa_length"),
                      ("Find the sequence of ...", "lc_3324")]
    for axes in figure.axes:
        assert axes.texts[0].get_fontsize() < axes.title.get_fontsize()
    for task, axes in zip(TASKS, figure.axes, strict=True):
        lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
        for method in run.adaptation.methods:
            part = frame[(frame["task"] == task) & (frame["method"] == method)]
            assert lines[figures.LABELS[method]] == list(part["accuracy"])
        assert figures.LABELS["meta_1shot"] not in lines
        [shaded] = axes.patches
        assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (0.5, 3.5)


def test_no_text_is_cut_or_covers_another(run):
    """In the drawn table and figures all texts lie inside the picture and apart from each other."""
    with style.style():
        for name, figure in _draw(run).items():
            check_texts(figure, name)


def test_other_methods_and_tasks_can_be_drawn(run):
    """The methods and tasks that are asked for, and they alone, under another name."""
    paths = figures.accuracy_figure(run, ["meta_1shot"], TASKS[1:], "in_context")
    assert paths["png"].name == "in_context.png"
    frame = figures.accuracy_table(run, evaluation.read(run))
    for task in (TASKS[1], tasks.get(TASKS[1]).name):
        [axes] = figures.draw_accuracy(run, frame, ["meta_1shot"], [task]).axes
        assert axes.texts[0].get_text() == TASKS[1]
        assert [line.get_label() for line in axes.get_lines()] == [figures.LABELS["meta_1shot"]]


def test_losses_show_titles(run):
    """A panel of losses has the task's title above the stage and the id in small letters."""
    above = [(axes.get_title(), *(text.get_text() for text in axes.texts))
             for axes in figures.draw_loss(run, figures.loss_table(run)).axes]
    assert above == [("RF-pretraining",), ("Integer length", "adaptation, nupa_length"),
                     ("Find the sequence of ...", "adaptation, lc_3324")]


def test_the_costs_are_grouped_by_kind_and_named(run):
    """A row a task, the cheapest of its kind first, under the kind's name, on a scale of plain
    numbers; a mark is hollow where a sample does not fit the context."""
    import pandas

    cost = pandas.DataFrame({"task": ["lc_3324", "lc_461", "nupa_length"], "length": 1,
                             "mean": [400, 90, 7000], "max": [400, 90, 9000]})
    with style.style():
        figure = figures.draw_tokens(run, cost)
        check_texts(figure, "tokens")
    rows = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert [sorted(names) for names in rows] == [
        sorted(["Hamming distance", "Find the sequence of strings ...", "Strings"]),
        sorted(["Integer length", "Numbers (NUPA)"])]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "100", "300", "1,000", "3,000"]
    marks = [line for axes in figure.axes for line in axes.get_lines()
             if line.get_marker() == "o" and len(line.get_xdata())]
    assert [(list(line.get_xdata()), line.get_markerfacecolor() == "white") for line in marks] == [
        ([400, 90], False), ([7000], True)]


def test_every_task_has_a_kind():
    """No task of the kit is drawn among the others."""
    from metarfft_core.figures import tokens as drawn_tokens

    kinds = {task.sampler.__module__.rpartition(".")[2] for task in tasks.select()}
    assert kinds == set(drawn_tokens.KINDS)


def test_the_loops_are_counted_by_what_the_traces_show(run):
    """Right answers, cut ones and those with passes left out are in their columns."""
    import pandas

    lines = pandas.read_csv(figures.loop_figure(run)["csv"]).set_index(["method", "length"])
    found = diagnoses.read(run)
    rows = [row for row in _stored(run) if row["method"] in ("vanilla_rfft", "meta_rfft",
                                                             "meta_1shot")]
    assert len(found) == len(rows)
    for (method, length), line in lines.iterrows():
        part = [row for row in rows if (row["method"], row["length"]) == (method, length)]
        right = sum(row["outcome"] == "right" for row in part)
        assert (line["rows"], line["right"]) == (len(part), right)
        assert line[["right", "loops_right", "too_few", "too_many"]].sum() == len(part)
        loops = [(_passes(row["text"]), _gold(row)) for row in part if row["outcome"] != "right"]
        assert line["too_few"] == sum(shown < gold for shown, gold in loops)
        assert line["too_many"] == sum(shown > gold for shown, gold in loops)
    assert lines["too_few"].sum() > 0


def _passes(text):
    """Passes through the loops of a trace of the tasks here: conditions of loops that held."""
    return sum(line.startswith(("while ", "for ")) and (
        line.endswith("-> True") or " -> " not in line) for line in text.split("\n"))


def _gold(row):
    from metarfft_core import formats, tasks

    task = tasks.get(row["task"])
    instance = task.sample(length=row["length"], seed=0, index=row["index"], stream="evaluation")
    assert repr(instance.inputs) == row["inputs"]
    return _passes(formats.render(task, instance, "rfft").completion)


def test_counterfactuals_are_not_among_the_loops(tmp_path, monkeypatch):
    """Where one method alone is asked them, its lines are over the same tasks as the others'."""
    import pandas

    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = made_up_run.make(made_up_run.preset(
        "test", name="changed", adaptation__further=[], evaluation__in_context=[],
        evaluation__counterfactual=["meta_rfft"]), lambda *_: 0.5, traces=True)
    assert any(tasks.get(cell.task).is_counterfactual for cell in run.cells)
    counted = pandas.read_csv(figures.loop_figure(run)["csv"]).groupby("method").rows.sum()
    shares = pandas.read_csv(figures.error_figure(run)["csv"]).groupby("method").rows.sum()
    assert counted["meta_rfft"] == counted["vanilla_rfft"] == shares["meta_rfft"]


def test_diagnoses_are_kept_until_the_rows_change(run):
    """The second time they are read from their file; other rows are diagnosed again."""
    kept = run.folder / "figures" / "diagnoses-vanilla_rfft.csv"
    first = diagnoses.read(run, ["vanilla_rfft"])
    first.assign(kind="format").to_csv(kept, index=False)
    assert (diagnoses.read(run, ["vanilla_rfft"])["kind"] == "format").all()
    path = evaluation.path(run, Cell("vanilla_rfft", TASKS[0], run.seed))
    path.write_text(path.read_text().replace("So the answer is", "So the Answer is"))
    again = diagnoses.read(run, ["vanilla_rfft"])
    other = again["task"] != TASKS[0]
    assert (again.loc[other, "kind"] == first.loc[other, "kind"]).all()
    assert (again.loc[~other, "kind"] != "right").all()
    path.write_text(path.read_text().replace("So the Answer is", "So the answer is"))


def test_the_error_figure_shares_out_the_kinds(run):
    """For each method the shares of all kinds add up to one."""
    import pandas

    lines = pandas.read_csv(figures.error_figure(run)["csv"])
    assert lines.groupby("method")["share"].sum().tolist() == pytest.approx([1] * 3)


def test_the_same_results_give_the_same_files(run, accuracy, table, loss):
    """Drawing again writes the same bytes: no time of day, no random name."""
    paths = [path for one in (accuracy, table, loss) for path in one.values()]
    before = [path.read_bytes() for path in paths]
    for draw in (figures.accuracy_figure, figures.table_2, figures.loss_figure):
        draw(run)
    assert [path.read_bytes() for path in paths] == before


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
                   env=environment | {"PYTHONPATH": str(ROOT)})


def test_no_log_is_an_error_that_names_the_folder(run, monkeypatch, tmp_path):
    """Without any training there is nothing to draw."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    with pytest.raises(ParamsError, match="has no training log"):
        figures.loss_figure(run)
