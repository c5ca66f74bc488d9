"""What is stored is read with its hash and its keys: rows, logs, figures and shards that were
changed are refused in one line that names the file."""

import json
import shutil

import made_up_run
import pytest
from tiny_model import tiny_run

from metarfft_core import corpus, evaluation, models, params, training
from metarfft_core.analysis import archive, run_folder
from metarfft_core.cli import main
from metarfft_core.corpus import builder
from metarfft_core.evaluation import cells
from metarfft_core.params import Cell, ParamsError
from metarfft_core.scoring import score
from metarfft_core.system import files
from metarfft_core.system.places import ROOT

TASK = "lc_2544"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished evaluation of a quarter of right answers."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    values = made_up_run.plain()
    values["corpus"]["adaptation"]["tasks"] = [TASK]
    values["corpus"]["evaluation"] = {"lengths": [1, 2], "samples_per_length": 4}
    return made_up_run.make(values, lambda *_: 0.25)


def _results(run):
    return evaluation.path(run, run.cells[0])


def _only_right(lines):
    return [line for line in lines if line["outcome"] == "right"]


def _edited(lines):
    return [line | {"outcome": "right"} for line in lines]


def _of_another_method(lines):
    return [line | {"method": "scratchpad"} for line in lines]


def _of_another_seed(lines):
    return [line | {"seed": 99} for line in lines]


def _twice(lines):
    return [lines[0], *lines[:-1]]


CHANGES = [_only_right, _edited, _of_another_method, _of_another_seed, _twice]


def _write(path, lines, signed):
    """Write rows; `signed` puts the new hash into the file beside them."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if signed:
        about = path.with_suffix(".json")
        files.write_json(about, files.read_json(about) | {"sha256": files.sha256(path)})


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_rows_are_refused_by_whatever_reads_them(run, tmp_path, capsys, change, signed):
    """Deleted, edited, doubled and foreign rows are found, even with a new hash; figures, report
    and export end with one line that names the file, and write nothing."""
    path = _results(run)
    _write(path, change([json.loads(line) for line in path.open()]), signed)
    for arguments in (["figures", "--params", str(run.folder / "params.yaml"), "--to",
                       str(tmp_path / "paper")],
                      ["export", "--params", str(run.folder / "params.yaml"), "--as", "results",
                       "--to", str(tmp_path / "kept")],
                      ["report", "--params", str(run.folder), "--against", str(run.folder)]):
        assert main(arguments) == 2, arguments
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{path} is missing or changed" in said
        assert "to generate it again" in said
    assert not (tmp_path / "kept").exists()
    with pytest.raises(ParamsError, match="is missing or changed"):
        evaluation.read(run)


@pytest.mark.parametrize("change", [
    lambda path: path.write_text("{\n"), lambda path: path.write_text("[]\n"),
    lambda path: path.write_text("[" * 50_000 + "\n"),
    lambda path: path.write_text('{"length": 1}\n'), lambda path: path.unlink()])
def test_rows_that_are_none_name_the_file(run, change):
    """A line that is no row, and a lost file, are a user's error."""
    path = _results(run)
    change(path)
    if path.exists():
        _write(path, [], False) if not path.read_text() else None
        about = path.with_suffix(".json")
        files.write_json(about, files.read_json(about) | {"sha256": files.sha256(path)})
    with pytest.raises(ParamsError, match=str(path)):
        evaluation.read(run)
    with pytest.raises(ParamsError, match=str(path)):
        _ = run_folder.open_run(run).rows


def test_results_without_a_hash_are_refused(run):
    """Nothing would say that they are what was finished."""
    about = _results(run).with_suffix(".json")
    files.write_json(about, {"params": run.digest, "finished": True})
    with pytest.raises(ParamsError, match="has no hash"):
        evaluation.read(run)


def test_the_kept_results_are_read(monkeypatch):
    """Every row of outputs/reference, which has no hashes of texts that are not kept, is read."""
    folder = ROOT / "outputs" / "reference" / "laptop"
    opened = run_folder.open_run(folder)
    assert sum(map(len, opened.rows.values())) == sum(
        about["rows"] for about in opened.cells.values())


def test_a_changed_log_is_refused(run, tmp_path):
    """The losses of a figure are those that the training logged, and so are those of an export."""
    job = training.Job(run, "adapt", run.trainings[0])
    log = job.folder / "log.jsonl"
    files.write_json(job.manifest, {"files": {"log.jsonl": files.sha256(log)}})
    assert training.stored_log(job) == training.read_log(job.folder)
    log.write_text(log.read_text().replace("2.", "1."))
    with pytest.raises(ParamsError, match=f"{log} is missing or changed"):
        training.stored_log(job)
    with pytest.raises(ParamsError, match=f"{log} is missing or changed"):
        archive.write(run, tmp_path / "kept")


def test_a_changed_figure_is_not_exported(run, tmp_path):
    """A table that is not the one that its notebook recorded stays out of the kept results."""
    table = run.folder / "figures" / "accuracy.csv"
    table.parent.mkdir()
    table.write_text("method,accuracy\nx,0.25\n")
    (run.folder / "notebooks").mkdir()
    files.write_json(run.folder / "notebooks" / "04_figures.json",
                     {"figures/accuracy.csv": {"sha256": files.sha256(table)}})
    arguments = ["export", "--params", str(run.folder / "params.yaml"), "--as", "results", "--to"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    table.write_text("method,accuracy\nx,1.00\n")
    assert main([*arguments, str(tmp_path / "two")]) == 2


# ----------------------------------------------------------------------- an unfinished evaluation


def _rows():
    planned = [{"method": "direct", "task": TASK, "seed": 0, "length": 1, "index": index,
                "prompt": f"p{index}", "inputs": "{}", "gold_answer": "1"} for index in range(3)]
    begun = []
    for row, text in zip(planned, ["So the answer is 1", "So the answer is 2"], strict=False):
        answer, outcome = score(text, "stop", "1")
        begun.append(row | {"text": text, "finish_reason": "stop", "answer": answer,
                            "outcome": outcome})
    return planned, begun


@pytest.mark.parametrize("change", [
    {"method": "scratchpad"}, {"task": "lc_1"}, {"seed": 1}, {"prompt": "x"}, {"gold_answer": "2"},
    {"outcome": "right"}, {"answer": "1"}, {"index": 7}, {"index": 0}])
def test_a_foreign_row_in_an_unfinished_file_is_refused(tmp_path, change):
    """A row of another method, an outcome that its text does not have, a row twice: the message
    names the file and the line."""
    planned, begun = _rows()
    path = tmp_path / "x.jsonl"
    cells.check_begun(path, begun, planned)
    begun[1] |= change
    with pytest.raises(ParamsError, match=f"{path}: line 2 is not an answer"):
        cells.check_begun(path, begun, planned)


@pytest.fixture
def begun(tmp_path):
    """Unfinished results of two lines with their hashes."""
    path = tmp_path / "x.jsonl"
    lines = [json.dumps(row).encode() for row in _rows()[1]]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    cells.hashes(path).write_text("".join(f"{cells.line_hash(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize("change", [
    {"text": "Well. So the answer is 2"}, {"method": "scratchpad"}, {"finish_reason": "length"},
    {"completion_tokens": 3}])
def test_an_edited_line_of_an_unfinished_file_is_refused(begun, change):
    """Whatever of a line was edited, the message names the file and the line."""
    first, second = begun.read_bytes().splitlines()
    begun.write_bytes(first + b"\n" + json.dumps(json.loads(second) | change).encode() + b"\n")
    with pytest.raises(ParamsError, match=f"{begun}: line 2 was changed after it was written"):
        cells.check_lines(begun)


def test_the_hash_of_a_removed_line_is_dropped(begun):
    """Its sample is asked again, so the line that was removed does not come back unnoticed."""
    first, second = begun.read_bytes().splitlines(keepends=True)
    begun.write_bytes(second)
    cells.check_lines(begun)
    begun.write_bytes(first + second)
    with pytest.raises(ParamsError, match="line 1 was changed after it was written"):
        cells.check_lines(begun)


def test_a_hash_that_was_cut_off_does_no_harm(begun):
    """A disk that is full within a hash leaves a part of it, and none of its row."""
    with open(cells.hashes(begun), "a") as file:
        file.write("0123")
    cells.check_lines(begun)
    assert cells.hashes(begun).read_text().count("\n") == 2
    assert "0123\n" not in cells.hashes(begun).read_text()
    cells.check_lines(begun)


def test_paid_answers_without_hashes_are_taken_as_they_are(begun, capsys):
    """Those of an earlier version are kept, which is said, and have hashes from then on."""
    expected = cells.hashes(begun).read_text()
    cells.hashes(begun).unlink()
    cells.check_lines(begun)
    assert f"{begun}: an earlier version wrote no hashes, so its 2 answers are taken as they are" \
        in capsys.readouterr().out
    assert cells.hashes(begun).read_text() == expected


# ----------------------------------------------------------------------- an unfinished corpus


@pytest.fixture
def unfinished(tmp_path, monkeypatch):
    """A corpus whose manifest is not written yet."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    config = tiny_run(models.EMBEDDED)
    corpus.build(config)
    before = {path: files.sha256(path) for path in config.folder.rglob("*.parquet")}
    (config.folder / "corpus" / "manifest.json").unlink()
    return config, before


def test_a_shard_of_another_seed_is_made_again(unfinished, tmp_path, monkeypatch):
    """An unfinished build keeps only the shards that it made itself."""
    config, before = unfinished
    folder = config.folder
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "other"))
    other = params.check(config.model_dump() | {"seed": 5})
    corpus.build(other)
    foreign = next(iter(before))
    shutil.copyfile(other.folder / foreign.relative_to(folder), foreign)
    assert files.sha256(foreign) != before[foreign]
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    corpus.build(config)
    assert {path: files.sha256(path) for path in before} == before


def test_a_sound_shard_of_an_interrupted_build_is_kept(unfinished):
    """What the interrupted build had made is not made again, and nothing hidden is left."""
    config, before = unfinished
    times = {path: path.stat().st_mtime_ns for path in before}
    for path in before:
        files.write_json(builder.record(path), {"params_digest": config.digest,
                                                "sha256": before[path]})
    corpus.build(config)
    assert {path: path.stat().st_mtime_ns for path in before} == times
    assert not list((config.folder / "corpus").glob("*/*/.*"))


def test_cells_name_their_files(run):
    """The name of a results file has the seed where that is not the run's own."""
    other = Cell("direct", TASK, run.seed + 1)
    assert evaluation.path(run, other).stem == f"{TASK}-seed{run.seed + 1}"


@pytest.mark.parametrize("change", [
    {"method": "scratchpad"}, {"task": "lc_1"}, {"seed": 7}, {"stage": "pretrain"}])
def test_the_adapter_of_another_training_is_refused(run, change):
    """A folder that was put in the place of another one is known by its manifest."""
    job = training.Job(run, "adapt", run.trainings[0])
    about = {"params_digest": run.digest, "stage": "adapt", "task": job.task,
             "method": job.method, "seed": job.order_seed}
    files.write_json(job.manifest, about | change)
    with pytest.raises(ParamsError, match=f"{job.folder} holds another training"):
        training.finished(job)


def test_the_corpus_of_another_run_is_refused(run):
    """A corpus that is whole, but of other parameters, is not read."""
    manifest = run.folder / "corpus" / "manifest.json"
    files.write_json(manifest, {"params_digest": "0" * 12, "shards": {}})
    with pytest.raises(ParamsError, match=f"{manifest.parent} was made with other parameters"):
        corpus.files(run, "evaluation", "direct")
