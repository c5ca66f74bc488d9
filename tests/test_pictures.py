"""Figures for everyone: words for what they show, looks without colour, contrast."""

import base64
import html.parser
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys

import made_up_run
import nbformat
import numpy
import pandas
import pytest
from matplotlib.colors import to_rgb
from pdf_files import without_fonts
from PIL import Image

from metarfft_core import evaluation, figures, params
from metarfft_core.figures import loops, picture, several, single, style
from metarfft_core.figures.tokens import RANGE, draw_tokens
from metarfft_core.system.places import ROOT

TASKS = ["nupa_length", "lc_3324"]


def _share(method, task, length, seed):
    return max(0.0, 1 - (length - 1) / (4 + 2 * list(params.METHODS).index(method)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of all kinds of methods on two tasks."""
    values = made_up_run.preset(
        corpus__adaptation={"tasks": TASKS, "lengths": [1, 2, 3]},
        corpus__adaptation_validation={"lengths": [1]},
        corpus__evaluation={"lengths": [1, 3, 6], "samples_per_length": 4},
        adaptation__further=[{"methods": ["vanilla_rfft_nl", "meta_rfft_nl"], "tasks": TASKS}],
        evaluation__in_context=["base_1shot", "meta_1shot"], evaluation__counterfactual=[])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        yield made_up_run.make(values, _share, traces=True)


COST = pandas.DataFrame({"task": TASKS * 2, "length": [1, 1, 6, 6], "mean": [70, 80, 900, 3000],
                         "max": [70, 80, 900, 3000]})


@pytest.fixture(scope="module")
def drawn(run):
    """Everything that the notebooks show of a run, by name."""
    with without_fonts():
        return {"accuracy": figures.accuracy_figure(run), "loss": figures.loss_figure(run),
                "table_2 of a run": figures.table_2(run), "errors": figures.error_figure(run),
                "loops": figures.loop_figure(run), "tokens": figures.token_figure(run, COST),
                "in_context": figures.accuracy_figure(
                    run, ["base_1shot", "meta_1shot"], name="in_context"),
                **figures.paper([run])}


class Parsed(html.parser.HTMLParser):
    """The elements of an HTML text with their attributes, and the text of each cell."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


def test_every_picture_says_what_it_shows(drawn):
    """At least 30 characters, with a number or the words "not run"; a smoke run says that it is
    one."""
    for name, one in drawn.items():
        assert len(one.alt) >= 30, (name, one.alt)
        assert re.search(r"\d|was run", one.alt), (name, one.alt)
        shown = pandas.read_csv(one["csv"])["run"].notna().any()
        assert one.alt.startswith("SMOKE RUN") == bool(shown), (name, one.alt)


def test_the_words_give_the_stored_numbers(run, drawn):
    """Where each method starts and ends, counted from the stored rows by other means."""
    rows = evaluation.read(run)
    for method in run.adaptation.methods:
        part = rows[(rows["method"] == method) & rows["task"].isin(TASKS)]
        first, last = (f"{(part[part['length'] == at]['outcome'] == 'right').mean():.0%}"
                       for at in (1, 6))
        assert (f"{figures.LABELS[method]}: falls from {first} at length 1 to {last} at length 6"
                in drawn["accuracy"].alt)
    assert "from 900 (Integer length) to 3,000 (Find the sequence" in drawn["tokens"].alt
    assert "1 task has samples that do not fit" in drawn["tokens"].alt


def test_a_figure_is_shown_as_an_image_with_its_alternative_text(drawn):
    """In HTML, in the image's metadata, in the PNG itself, and as the plain text."""
    one = drawn["accuracy"]
    data, metadata = one._repr_mimebundle_()
    [(tag, attributes)] = Parsed(data["text/html"]).elements
    assert tag == "img"
    assert attributes["alt"] == data["text/plain"] == metadata["image/png"]["alt"] == one.alt
    assert attributes["src"] == f"data:image/png;base64,{data['image/png']}"
    shown = base64.b64decode(data["image/png"])
    assert shown == one["png"].read_bytes()
    assert Image.open(io.BytesIO(shown)).text[picture.ALT] == one.alt


def test_a_table_is_shown_as_a_table(run, drawn):
    """With a caption and header cells, and the numbers that the CSV holds, to two decimals."""
    for name in ("table_2 of a run", "table_2", "table_4"):
        data, _ = drawn[name]._repr_mimebundle_()
        assert "image/png" not in data
        parsed = Parsed(data["text/html"])
        tags = [tag for tag, _ in parsed.elements]
        assert tags[:2] == ["table", "caption"]
        scopes = [attributes["scope"] for tag, attributes in parsed.elements if tag == "th"]
        assert {"col", "colgroup", "row"} <= set(scopes)
    parsed = Parsed(drawn["table_2 of a run"]._repr_mimebundle_()[0]["text/html"])
    for line in pandas.read_csv(drawn["table_2 of a run"]["csv"]).to_dict("records"):
        place = parsed.texts.index(figures.LABELS[line["method"]])
        assert parsed.texts[place + 1].startswith(f"{line['ACC_Len6']:.2f} [")
        assert parsed.texts[place + 3] == f"{line['paper_7b_ACC_Len30']:.2f}"


def test_every_row_of_a_table_is_as_wide_as_its_head(drawn):
    """The cells with what they span add up to the same in each row."""
    for name in ("table_2 of a run", "table_2", "table_4", "table_5"):
        rows = re.findall("<tr>(.*?)</tr>", drawn[name]._repr_mimebundle_()[0]["text/html"])
        widths = {sum(int(attributes.get("colspan", 1)) for _, attributes in Parsed(row).elements)
                  for row in rows}
        assert len(widths) == 1, name


def test_nbconvert_keeps_the_alternative_text(drawn):
    """Each image of an exported notebook has it."""
    from nbconvert import HTMLExporter

    data, metadata = drawn["accuracy"]._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    images = [attributes for tag, attributes in Parsed(page).elements if tag == "img"]
    assert [image["alt"] for image in images] == [drawn["accuracy"].alt]


def test_the_documentation_site_keeps_the_alternative_text(drawn, tmp_path):
    """MyST-NB, set up as for the site, puts it into the page, and a table stays a table."""
    outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)
               for data, metadata in (drawn[name]._repr_mimebundle_()
                                      for name in ("accuracy", "table_2"))]
    cells = [nbformat.v4.new_markdown_cell("# A notebook"),
             nbformat.v4.new_code_cell("1", outputs=outputs)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "index.ipynb")
    (tmp_path / "conf.py").write_text('extensions = ["myst_nb"]\nnb_execution_mode = "off"\n')
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-b", "html", str(tmp_path),
                    str(tmp_path / "site")], check=True)
    page = Parsed((tmp_path / "site" / "index.html").read_text())
    assert drawn["accuracy"].alt in [attributes.get("alt") for tag, attributes in page.elements
                                     if tag == "img"]
    assert [tag for tag, _ in page.elements if tag in ("table", "caption")] == ["table", "caption"]


def test_ipython_shows_what_is_returned(drawn):
    """The last line of a cell is enough: IPython takes the picture rather than the paths."""
    from IPython.core.formatters import DisplayFormatter

    data, metadata = DisplayFormatter().format(drawn["accuracy"])
    assert set(data) == {"text/html", "image/png", "text/plain"}
    assert data["text/plain"] == drawn["accuracy"].alt
    assert metadata["image/png"] == {"alt": drawn["accuracy"].alt}


def test_a_picture_is_small_and_looks_the_same(run, drawn):
    """A palette takes less than half of the bytes, and no pixel is off by more than a little."""
    with style.style():
        figure = figures.draw_accuracy(run, figures.accuracy_table(run, evaluation.read(run)))
        style.lay_out(figure)
        full = io.BytesIO()
        figure.savefig(full, format="png", dpi=200)
    kept = drawn["accuracy"]["png"]
    assert kept.stat().st_size < len(full.getvalue()) / 2
    one, other = (numpy.asarray(Image.open(file).convert("RGB"), int) for file in (kept, full))
    assert abs(one - other).max() < 40


def test_models_that_were_not_adapted_have_no_lengths_trained_on(run):
    """The accuracies of 1-shot prompts are not shaded, and the notes do not speak of a shade."""
    frame = figures.accuracy_table(run, evaluation.read(run))
    for methods, shaded in ((["base_1shot", "meta_1shot"], 0), (["meta_rfft", "meta_1shot"], 1)):
        figure = figures.draw_accuracy(run, frame, methods)
        assert [len(axes.patches) for axes in figure.axes] == [shaded] * 2
        assert ("shaded" in figure.legends[0].get_title().get_text()) == bool(shaded)


def _figures(run):
    """The matplotlib figures of a run, with every method in one of them."""
    frame = figures.accuracy_table(run, evaluation.read(run))
    yield figures.draw_accuracy(run, frame, list(params.METHODS))
    yield figures.draw_loss(run, figures.loss_table(run))
    yield draw_tokens(run, COST)


def test_no_two_series_look_the_same_without_colour(run):
    """In each panel, no two lines share marker and dashes, no two groups of bars their hatch."""
    for figure in _figures(run):
        for axes in figure.axes:
            lines = [line for line in axes.get_lines() if len(line.get_xdata())]
            looks = [(line.get_marker(), str(line._unscaled_dash_pattern), line.get_linewidth(),
                      line.get_markerfacecolor() == "white") for line in lines]
            assert len(set(looks)) == len(looks), axes.get_title()


def test_no_two_methods_or_classes_share_a_look():
    """Markers, dashes and hatches of all methods differ, and so do the hatches of the classes."""
    looks = [style.look(name) for name in params.METHODS]
    spare = [style.look("other", place) for place in range(4)]
    for several_looks in (looks, spare):
        for field in ("marker", "linestyle", "color"):
            assert len({getattr(one, field) for one in several_looks}) == len(several_looks), field
    assert len({style.fill(name)["hatch"] for name in params.METHODS}) == len(looks)
    assert len({hatch for _, hatch in loops.FILLS.values()}) == len(loops.FILLS)


def contrast(one, other):
    """The contrast of two colours, as WCAG 2.1 defines it."""
    def luminance(color):
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
                  for part in to_rgb(color)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_is_that_of_wcag_aa():
    """Texts have 4.5 to 1 on the paper, lines and edges 3 to 1 on whatever lies below them."""
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)
    for color in style.TEXTS.values():
        assert contrast(color, style.PAPER) >= 4.5, color
    for color in style.COLORS.values():
        assert contrast(color, style.PAPER) >= 3, color
        assert contrast(color, style.SHADE["facecolor"]) >= 3, color
    for name in params.METHODS:
        filled = style.fill(name)
        assert contrast(filled["edgecolor"], filled["facecolor"]) >= 3, name
    assert contrast(style.SHADE["edgecolor"], style.PAPER) >= 3
    assert contrast(RANGE, style.PAPER) >= 3
    for color, _ in loops.FILLS.values():
        assert contrast(loops.EDGE, color) >= 3, color


def test_a_picture_has_its_own_paper(drawn):
    """No pixel is transparent, so a dark theme leaves the contrast as it is."""
    for name, one in drawn.items():
        image = Image.open(one["png"])
        assert "transparency" not in image.info, name
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255), name


def test_the_two_tables_have_the_same_intervals(tmp_path, monkeypatch):
    """Max_Len_90% of a run is the same in its own table and in the paper's. The kept run names its
    tasks in another order than the paper, and the draws of a bootstrap follow the order."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    shutil.copytree(ROOT / "outputs" / "reference" / "laptop", tmp_path / "laptop")
    run = params.load(tmp_path / "laptop" / "params.yaml")
    own = single.averages(run, evaluation.read(run)).set_index("method")
    frame = several.draw("table_2", [several.Stored(run)])[1]
    frame = frame[(frame["metric"] == "Max_Len_90%") & (frame["run"] == "laptop")]
    labels = {label: name for name, label in figures.LABELS.items()}
    assert len(frame) == 4
    for line in frame.to_dict("records"):
        mine = own.loc[labels[line["line"]]]
        assert (line["low"], line["high"]) == (mine["Max_Len_90%_low"], mine["Max_Len_90%_high"])


def test_the_command_that_stores_outputs_keeps_alternative_texts(tmp_path, monkeypatch):
    """And nothing else of an output's metadata."""
    code = nbformat.v4.new_code_cell("1", id="one")
    notebook = nbformat.v4.new_notebook(cells=[code])
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(notebook, folder / "01_one.ipynb")
    code.outputs = [nbformat.v4.new_output(
        "display_data", {"image/png": "aGVsbG8=", "text/plain": "x"},
        metadata={"image/png": {"alt": "Accuracy", "width": 3}, "needs_background": "light"})]
    (tmp_path / "run" / "notebooks").mkdir(parents=True)
    nbformat.write(notebook, tmp_path / "run" / "notebooks" / "01_one.ipynb")
    spec = importlib.util.spec_from_file_location(
        "store_outputs", ROOT / "notebooks" / "store_outputs.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    monkeypatch.setattr(command, "NOTEBOOKS", folder)
    command.store(tmp_path / "run")
    stored = json.loads((folder / "01_one.ipynb").read_text())
    assert stored["cells"][0]["outputs"][0]["metadata"] == {"image/png": {"alt": "Accuracy"}}
