"""The paper's figures and tables out of several made-up runs, and where nothing was run."""

import json
import time

import made_up_run
import pandas
import pytest
from made_up_run import preset
from pdf_files import without_fonts
from test_figures import check_texts

from metarfft_core import evaluation, figures, params, tasks
from metarfft_core.analysis import stored
from metarfft_core.evaluation import metrics
from metarfft_core.figures import several, style
from metarfft_core.params import ParamsError

NAMES = {f"figure_{number}" for number in (*range(3, 12), 13, 14, 16, 17, 18)} | {
    f"table_{number}" for number in (2, 3, 4, 5, 10, 11, 12)}
FEW = {"lengths": [1, 5, 10, 30], "samples_per_length": 5}
SMOL = {"name": "SmolLM2-135M-Instruct", "context": 8192}
SHIFT = {"direct": 0, "scratchpad": 2, "vanilla_rfft": 4, "meta_rfft": 20, "vanilla_rfft_nl": 4,
         "meta_rfft_nl": 12, "base_1shot": 1, "meta_1shot": 9}


def _share(method, task, length, seed):
    return min(1.0, max(0.0, (SHIFT.get(method, 6) + 10 - length) / 10))


def _seven(name, **changes):
    """The 7B run as its file has it, but for fewer samples and the four methods alone."""
    values = preset("7b", name=name, corpus__evaluation=FEW, corpus__workers=1,
                    adaptation__further=[], evaluation={
                        "bootstrap_samples": 50, "in_context": [], "counterfactual": [], "api": []})
    return made_up_run.change(values, **changes)


def _runs():
    """A run of each kind that a figure asks for, but for 32B's own and the airline's."""
    leetcode = [task.id for task in tasks.select(split="pretrain", source="leetcode")]
    further = [{"methods": ["vanilla_rfft_nl", "meta_rfft_nl"], "tasks": ["lc_258"]}]
    servers = [{"name": name, "model": "m", "base_url": "http://localhost"}
               for name in ("DeepSeek-R1-671B", "QwQ-32B", "RL")]
    yield _seven("main", evaluation__in_context=["base_1shot", "meta_1shot"],
                 adaptation__further=further, evaluation__api=servers)
    yield _seven("steps-400", pretraining__steps=400)
    yield _seven("adapted-50", adaptation__steps=50)
    one = {"tasks": leetcode[:1], "leave_out": True}
    yield _seven("one-task", corpus__pretrain=one, corpus__in_context=one)
    only = {"tasks": leetcode, "leave_out": True}
    yield _seven("leetcode", corpus__pretrain=only, corpus__in_context=only)
    yield _seven("gsm8k", pretraining__mix={"file": "data/GSM8K-right.jsonl", "share": 0.05})
    yield _seven("small", model=SMOL, corpus__adaptation={"tasks": ["lc_258", "nupa_add"]},
                 evaluation__in_context=["base_1shot", "meta_1shot"])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The folder of the runs."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def runs(outputs):
    """The made-up runs by name."""
    return {values["name"]: made_up_run.make(values, _share, traces=True) for values in _runs()}


@pytest.fixture(scope="module")
def smoke(outputs):
    """A made-up smoke run of one task."""
    return made_up_run.make(preset("smoke"), _share, traces=True)


@pytest.fixture(scope="module")
def known(runs):
    return [stored.Stored(run) for run in runs.values()]


def _frame(name, known):
    """The numbers of a figure as its CSV holds them."""
    return several.draw(name, known)[1]


def test_every_figure_and_table_is_written_where_nothing_was_run(tmp_path):
    """All of them come as PDF, PNG and CSV without any run, and there is none to name."""
    with without_fonts():
        paths = figures.paper([], tmp_path)
    assert set(paths) == NAMES
    assert sorted(tmp_path.iterdir()) == sorted(
        path for one in paths.values() for path in one.values())
    for one in paths.values():
        assert pandas.read_csv(one["csv"])["run"].isna().all()


def test_without_a_run_every_model_says_so():
    """Each model has one line with the words instead of its panels; each table's cells too."""
    for name in NAMES:
        figure, frame = several.draw(name, [])
        for axes in figure.axes if name.startswith("figure") else ():
            assert not axes.get_lines()
            [text] = axes.texts
            assert ": not run (" in text.get_text()
        if name.startswith("table"):
            assert [text.get_text() for text in figure.axes[0].texts].count("not run") == len(frame)


def test_neither_a_run_nor_a_folder_is_an_error():
    """There would be no place to write to."""
    with pytest.raises(ParamsError, match="expected a run or a folder"):
        figures.paper([])


@pytest.mark.parametrize("which", ["none", "smoke", "all"])
def test_no_text_is_cut_or_covers_another(which, known, smoke):
    """In every figure all texts lie inside the picture and apart, whatever was run."""
    found = {"none": [], "smoke": [stored.Stored(smoke)], "all": known}[which]
    with style.style():
        for name in several.names():
            check_texts(several.draw(name, found)[0], (which, name))


def test_a_panel_a_task_for_the_papers_model_and_ours_apart(known):
    """7B has its twelve panels; SmolLM2 is below with the two tasks that it was run on."""
    frame = _frame("figure_3", known)
    assert list(frame["run"].unique()) == ["main", "small"]
    assert list(frame["group"].unique()) == ["Qwen2.5-7B-Instruct", "ours, SmolLM2-135M-Instruct"]
    assert frame.groupby("group")["task"].nunique().tolist() == [12, 2]
    figure, _ = several.draw("figure_3", known)
    ids = [*(task.id for task in tasks.select(split="downstream")), "lc_258", "nupa_add"]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ids
    assert figure.axes[-1].get_title() == "Add integer"
    for axes, task in zip(figure.axes, ids, strict=True):
        part = frame[(frame["task"] == task) & (frame["run"] == (
            "small" if axes in figure.axes[12:] else "main"))]
        for line in axes.get_lines():
            accuracies = part[part["line"] == line.get_label()]["accuracy"]
            assert list(line.get_ydata()) == list(accuracies)


def test_another_model_never_stands_in_the_papers_place(known):
    """Without a 7B run a line below what was run says so, whatever another model has."""
    small = [one for one in known if one.config.name == "small"]
    for name in ("figure_3", "figure_5", "figure_13"):
        figure, frame = several.draw(name, small)
        assert list(frame["group"].unique()) == ["ours, SmolLM2-135M-Instruct"]
        words = [[text.get_text() for text in axes.texts] for axes in figure.axes]
        assert words == [["lc_258"], ["nupa_add"],
                         ["Qwen2.5-7B-Instruct: not run (12 panels)"]]
    for name in ("figure_9", "figure_10", "figure_14"):
        assert _frame(name, known).empty


def test_the_runs_that_take_part(known):
    """Each figure takes the runs whose parameters make them what it shows."""
    expected = {
        "figure_5": {"main", "small"}, "figure_6": {"main"}, "figure_7": {"main"},
        "figure_8": set(), "figure_11": {"main"}, "figure_13": {"main", "small"},
        "figure_16": {"main", "steps-400"}, "figure_17": {"main", "adapted-50"},
        "figure_18": {"main", "one-task", "small"}, "table_2": {"main", "small"},
        "table_3": {"small"}, "table_4": {"main", "gsm8k", "small"}, "table_5": set(),
        "table_10": {"main", "leetcode", "small"}, "table_11": set(),
        "table_12": {"main", "small"}}
    for name, shown in expected.items():
        assert set(_frame(name, known)["run"].dropna()) == shown, name


def test_api_models_are_found_by_their_name(known):
    """The long chain-of-thought models have their lines, also beside the trained ones."""
    assert set(_frame("figure_11", known)["line"]) == {"DeepSeek-R1-671B", "QwQ-32B"}
    assert list(_frame("figure_7", known)["line"].unique()) == ["RL", "Meta-RFFT"]
    table = _frame("table_2", known).set_index(["line", "metric"])
    assert table.loc[("QwQ-32B", "ACC_Len30"), "value"] == 0.0
    assert table.loc[("QwQ-32B", "ACC_Len30"), "paper"] == 0.79


def test_a_table_holds_the_papers_numbers_and_ours(known):
    """Each number of the paper has that of the stored rows beside it."""
    table = _frame("table_4", known)
    rows = evaluation.read(params.load(known[0].config.folder / "params.yaml"))
    for line in table[table["run"] == "main"].to_dict("records"):
        method = {label: name for name, label in figures.LABELS.items()}[line["line"]]
        ids = [task.id for task in tasks.select(split="downstream", source="leetcode")]
        cells = metrics.accuracy_by_length(rows[(rows["method"] == method)
                                                & rows["task"].isin(ids)].to_dict("records"))
        statistic = {"ACC_Len30": metrics.acc_longest, "Max_Len_90%": metrics.mean_max_len_90}
        assert line["value"] == statistic[line["metric"]](list(cells.values()))
        assert line["low"] <= line["value"] <= line["high"]
        assert (line["tasks"], line["longest"]) == (8, 30)
    paper = table[table["group"] == "Qwen2.5-7B-Instruct"]["paper"].tolist()
    assert paper == [0.34, 7.00, 0.82, 22.75, 0.79, 21.25]


def test_steps_need_two_runs_that_differ_in_them_alone(known):
    """The steps are those of the runs; with one run there is nothing to compare."""
    frame = _frame("figure_16", known)
    assert frame[["run", "steps"]].values.tolist() == [["steps-400", 400], ["main", 800]]
    assert _frame("figure_16", known[:1]).empty


def test_the_shown_runs_stand_in_the_files(runs, smoke, tmp_path, monkeypatch):
    """The CSV and the pictures name the runs that take part, with digest and commit."""
    from PIL import Image

    monkeypatch.setattr(several, "names", lambda: ["figure_5", "table_2"])
    paths = figures.paper([runs["small"], runs["leetcode"], smoke], tmp_path)
    made = {name: f"run {name}, parameters {runs[name].digest}, commit made-{name}"
            for name in ("small", "leetcode")}
    assert Image.open(paths["figure_5"]["png"]).text["Description"] == made["small"]
    assert Image.open(paths["table_2"]["png"]).text["Description"] == "; ".join(made.values())
    frame = pandas.read_csv(paths["table_2"]["csv"]).dropna(subset="run")
    assert set(zip(frame["run"], frame["params_digest"], frame["commit"], strict=True)) == {
        (name, runs[name].digest, f"made-{name}") for name in made}


def test_a_smoke_run_is_marked_and_gives_way_to_a_real_one(smoke, known):
    """Alone it is drawn and says so; where another run of its model speaks, it is not drawn."""
    from matplotlib.text import Text

    def marked(figure):
        return style.SMOKE_MARK in [text.get_text() for text in figure.findobj(Text)]

    small = next(one for one in known if one.config.name == "small")
    for name in ("figure_3", "figure_4", "figure_13", "table_2"):
        figure, frame = several.draw(name, [stored.Stored(smoke)])
        assert set(frame["run"].dropna()) == {"smoke"}
        assert marked(figure)
        figure, frame = several.draw(name, [stored.Stored(smoke), small])
        assert set(frame["run"].dropna()) == {"small"}
        assert not marked(figure)


def test_an_unfinished_part_is_left_out_and_said(runs, tmp_path, monkeypatch):
    """A method whose evaluation is not finished is not drawn, and the heading names it."""
    from matplotlib.text import Text

    run = runs["steps-400"]
    headers = list((run.folder / "evaluation" / "direct").glob("*.json"))
    stored_before = [path.read_text() for path in headers]
    for path in headers:
        path.write_text(json.dumps({"params": run.digest, "finished": False}))
    figure, frame = several.draw("figure_3", [stored.Stored(run)])
    for path, text in zip(headers, stored_before, strict=True):
        path.write_text(text)
    assert set(frame["method"]) == {"scratchpad", "vanilla_rfft", "meta_rfft"}
    assert any("not run: Direct answer" in text.get_text() for text in figure.findobj(Text))


@pytest.mark.slow
def test_the_figures_of_a_full_grid_take_no_longer_than_in_proportion(tmp_path, monkeypatch):
    """12 tasks, four methods, 30 lengths, 100 samples with their traces, not diagnosed before: at
    most four times as long as with 25 samples."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    seconds = []
    for samples in (25, 100):
        run = made_up_run.make(preset(
            "7b", name=f"grid-{samples}", corpus__workers=2,
            corpus__evaluation={"samples_per_length": samples}), _share, traces=True)
        start = time.monotonic()
        figures.paper([run])
        seconds.append(time.monotonic() - start)
    assert seconds[1] < 4 * seconds[0]
