"""Results that are kept without weights and with few texts: shown as they are, never made anew."""

import hashlib
import re
import shutil
from csv import DictReader, DictWriter

import nbformat
import pandas as pd
import papermill
import pytest
from pdf_files import without_fonts

from metarfft_core import corpus, errors, evaluation, params, runner, scoring, training
from metarfft_core.analysis import archive, diagnoses, report, traces
from metarfft_core.analysis.compare import compare
from metarfft_core.cli import main
from metarfft_core.params import ParamsError
from metarfft_core.system.places import ROOT

PRESET = ROOT / "params" / "laptop.yaml"
KEPT = "324 of 1,944 texts are kept"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The parameters of a copy of outputs/reference/laptop, in kept/laptop."""
    shutil.copytree(ROOT / "outputs" / "reference" / "laptop", tmp_path / "kept" / "laptop")
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "kept"))
    return params.load(PRESET)


def content(folder):
    """The hash of every file in a folder, hidden ones too."""
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file()}


def change_diagnosis(config, **values):
    """Change the first diagnosis of Meta-RFFT, whose text is kept."""
    path = config.folder / "figures" / "diagnoses-meta_rfft.csv"
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(DictReader(file))
    lines[0] |= values
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def test_the_command_figures_draws_them_elsewhere(kept, capsys):
    """The figures go beside the folder, which stays as it is; the output says what is not kept."""
    before = content(kept.folder.parent)
    with without_fonts():
        assert main(["figures", "--params", str(PRESET)]) == 0
    said = capsys.readouterr().out
    assert KEPT in said
    assert "judges all of them the same" in said
    assert content(kept.folder.parent) == before
    made = kept.folder.parent.parent / "from_kept" / "paper"
    assert {"figure_4.png", "table_2.csv", "claims.md"} <= {path.name for path in made.iterdir()}


@pytest.mark.parametrize("number", [
    7, *(pytest.param(number, marks=pytest.mark.slow) for number in (4, 5, 6, 8))])
def test_a_notebook_runs_on_them(number, kept, tmp_path, monkeypatch):
    """Every cell runs, the checks hold, it says what is not kept, and the folder stays as it is."""
    monkeypatch.setenv("METARFFT_PARAMS", str(PRESET))
    before, output = content(kept.folder.parent), tmp_path / "executed.ipynb"
    [source] = runner.NOTEBOOKS.glob(f"0{number}_*.ipynb")
    papermill.execute_notebook(source, output, kernel_name="python3", progress_bar=False,
                               kernel_manager_class=runner.ThisPython, cwd=source.parent)
    notebook = nbformat.read(output, as_version=4)
    assert not runner.unfinished(notebook)
    said = "".join(out.text for cell in notebook.cells for out in cell.get("outputs", [])
                   if out.output_type == "stream")
    assert KEPT in said
    *_, check = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert all(line.endswith(": True") for out in check.outputs for line in out.text.splitlines())
    assert content(kept.folder.parent) == before


def test_no_stage_is_run(kept, capsys, tmp_path):
    """Corpus, training and evaluation are taken as they are; a run and an export are refused."""
    before = content(kept.folder.parent)
    assert corpus.build(kept) == kept.folder / "corpus"
    training.launch_all(kept)
    assert evaluation.launch(kept) == kept.folder / "evaluation"
    assert KEPT in capsys.readouterr().out
    with pytest.raises(ParamsError, match="holds stored results without weights"):
        runner.run(kept)
    with pytest.raises(ParamsError, match="copy it instead"):
        archive.write(kept, tmp_path / "again")
    assert content(kept.folder.parent) == before


def test_other_parameters_are_still_refused(kept):
    """That nothing is made anew does not let another run's parameters pass."""
    other = params.check(kept.model_dump() | {"seed": 7})
    for stage in (corpus.build, training.launch_all, evaluation.launch):
        with pytest.raises(ParamsError, match="other parameters"):
            stage(other)


def test_every_prompt_is_made_again(kept):
    """Each prompt has the hash that was stored for it, whether its text was kept or not."""
    rows = evaluation.read(kept)
    assert rows.text.notna().sum() == 324
    assert [hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in rows.prompt] == \
        rows.prompt_sha256.to_list()


def test_outcomes_without_a_text_are_recomputed_from_the_answer(kept):
    """Each outcome follows from what is kept of its row, and a changed answer changes it."""
    rows = evaluation.read(kept)
    assert scoring.recompute(rows.to_dict("records")) == rows.outcome.to_list()
    [row] = rows[rows.text.isna() & (rows.outcome == "right")].head(1).to_dict("records")
    assert scoring.recompute([row | {"answer": "another"}]) == ["wrong"]
    assert scoring.recompute([row | {"answer": None}]) == ["no_answer"]


def test_diagnoses_of_an_earlier_version_are_named(kept, capsys):
    """Where today's code judges a kept text otherwise, the table is used, and this is said."""
    change_diagnosis(kept, kind="wrong_branch", step="2.0", line="3.0")
    assert (diagnoses.read(kept, ["meta_rfft"]).kind == "wrong_branch").sum() == 45
    said = capsys.readouterr().out
    assert "judges 1 of them otherwise, so they were made with an earlier version" in said
    assert "judges 1 of them otherwise" in diagnoses.note(kept)
    diagnoses.read(kept, ["vanilla_rfft"])
    assert capsys.readouterr().out == ""


def test_diagnoses_of_other_rows_or_none_are_refused(kept):
    """A table that is missing or was exchanged is named, because it cannot be made again."""
    change_diagnosis(kept, index="99")
    with pytest.raises(ParamsError, match="does not have the rows of the evaluation"):
        diagnoses.read(kept)
    (kept.folder / "figures" / "diagnoses-meta_rfft.csv").unlink()
    with pytest.raises(ParamsError, match=r"diagnoses-meta_rfft\.csv is missing"):
        diagnoses.read(kept)


def test_a_report_is_written_elsewhere(kept):
    """A comparison with another run does not change the folder either."""
    before = content(kept.folder)
    written = report.write(compare(kept.folder, ROOT / "outputs" / "reference" / "laptop_seed100"))
    assert written == kept.folder.parent.parent / "from_kept" / "laptop" / "reports" / \
        "laptop_seed100"
    assert (written / "report.md").exists()
    assert content(kept.folder) == before


def test_a_summary_says_how_many_texts_are_kept(kept):
    """The line is there for stored results, named by their folder or by their parameters."""
    for run in (kept, kept.folder):
        assert re.search(r"\| texts +\| 324 of 1,944 kept", report.summary(run))


def test_where_files_are_written(kept, tmp_path):
    """Only a folder that holds stored results, and what is in it, is written elsewhere."""
    assert params.is_archive(kept.folder)
    assert params.written(kept.folder / "figures") == tmp_path / "from_kept" / "laptop" / "figures"
    assert params.written(kept.folder.parent) == kept.folder.parent
    own = tmp_path / "own" / "laptop"
    own.mkdir(parents=True)
    (own / "params.yaml").write_text("name: laptop\n")
    assert not params.is_archive(own)
    assert params.written(own / "figures") == own / "figures"


def frames(*lines):
    """Rows and diagnoses as `traces.example` takes them, from (kind, step, length, text)."""
    frame = pd.DataFrame(
        [{"method": "meta_rfft", "task": "lc_461", "seed": 0, "index": index, "length": length,
          "kind": kind, "step": step, "text": text}
         for index, (kind, step, length, text) in enumerate(lines)])
    return frame.drop(columns=["kind", "step"]), frame.drop(columns=["text"])


def test_the_example_is_a_trace_that_leaves_its_rule():
    """No text without a trace, no cut one, no lost one; of the others the shortest."""
    row = traces.example(*frames(
        ("format", 1, 3, "no trace"), ("wrong_copy", 1, 3, "wrong from the start"),
        ("cut", 5, 3, "cut"), ("wrong_copy", 4, 4, None), ("wrong_branch", 7, 8, "longer"),
        ("line_skipped", 2, 5, "the one"), ("right", None, 3, "right")))
    assert row.text == "the one"
    assert traces.example(*frames(("format", 1, 3, "no trace"), ("right", None, 3, ""))) is None


def test_the_example_of_the_stored_run(kept):
    """It recites its rule rightly up to the step that the diagnosis names."""
    row = traces.example(evaluation.read(kept), diagnoses.read(kept))
    found = diagnoses.diagnose(kept, row)
    assert found.kind in errors.KINDS
    assert found.step > 1
    head, = row.text.split("\n")[:1]
    assert head.startswith("def ")
    assert row.text.split("\n")[found.at - 1] == found.got != found.expected
