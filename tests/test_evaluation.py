"""The evaluation on real processes and files: a tiny random model with a real tokenizer."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time

import forked
import made_up_run
import pytest
from evaluated_run import TASK, begin, describe, random_model, values

from metarfft_core import corpus, evaluation, models, params, tasks, training
from metarfft_core.models import chat_template
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system import files
from metarfft_core.system.places import ROOT


@pytest.mark.parametrize(("answer", "gold", "same"), [
    ("7", "7", True), (" 7\n", "7", True), ("7.", "7", False), ("'7'", "7", False),
    ("7.0", "7", False), ("True", "1", False), ("07", "7", False),
    ("[1,2]", "[1, 2]", True), ("(1, 2)", "[1, 2]", False), ('"ab"', "'ab'", True),
    ("ab", "'ab'", False), ("", "''", False), ("None", "None", True), ("7 because", "7", False),
    ("__import__('os').getcwd()", "7", False), ("{[]: 1}", "{}", False), ("(" * 500, "7", False),
    ("-" * 5000 + "1", "1", False), ("9" * 5000, "7", False), ("\x00", "7", False),
    (r"'\d'", r"'\\d'", True)])
def test_same_answer_follows_one_rule(answer, gold, same):
    """Equal text, or Python literals of the same repr; whatever a model writes raises nothing."""
    assert evaluation.same_answer(answer, gold) is same


@pytest.mark.parametrize(("text", "reason", "expected"), [
    ("n = 3\nSo the answer is 3", "stop", ("3", "right")),
    ("So the answer is 3\nSo the answer is 4", "stop", ("4", "wrong")),
    ("n = 3", "stop", (None, "no_answer")),
    ("So the answer is 3", "length", ("3", "cut")),
    ("n = 3", "length", (None, "cut"))])
def test_every_output_has_one_of_four_outcomes(text, reason, expected):
    """An output that met its limit is cut, neither right nor wrong, whatever it says so far."""
    assert evaluation.score(text, reason, "3") == expected


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A folder of outputs that the kit and its processes use."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(autouse=True)
def _forks(monkeypatch):
    """What a test launches is forked; `finished` comes before this and starts an interpreter."""
    forked.fork_stages(monkeypatch)


VALUES = values(["direct"], [1, 4, 9], 10, 1.5, 20)


def _job(run):
    return training.Job(run, "adapt", Cell("direct", TASK, run.seed))


@pytest.fixture(scope="module")
def prepare(outputs):
    """A function that gives a run of its own, its corpus and model the same as every other's."""
    def prepare(name):
        run = params.check(VALUES | {"name": name})
        if not (outputs / "original").exists():
            original = params.check(VALUES | {"name": "original"})
            corpus.build(original)
            random_model(_job(original).folder / "model", 0, ending=2.5)
            describe(_job(original))
        if name != "original":
            shutil.copytree(outputs / "original", run.folder)
            shutil.rmtree(run.folder / "evaluation", ignore_errors=True)
            (run.folder / "params.yaml").unlink()
            made_up_run.adopt_corpus(run)
            describe(_job(run))
            params.open_folder(run)
        return run
    return prepare


@pytest.fixture(scope="module")
def finished(prepare):
    """A run that was evaluated without an interruption."""
    run = prepare("original")
    evaluation.launch(run)
    return run


def _lines(run):
    results = evaluation.path(run, Cell("direct", TASK, run.seed))
    return results.read_bytes().splitlines(keepends=True)


def _rows(run):
    return sorted(map(json.loads, _lines(run)), key=lambda row: (row["length"], row["index"]))


def test_the_grid_is_the_evaluation_split(finished):
    """There is one row for each sample of the split, and every row holds what its sample says."""
    samples = {(one["length"], one["index"]): one
               for one in corpus.read(finished, "evaluation", "direct", TASK)}
    tokenizer = models.load_tokenizer(finished.model.name)
    rows = _rows(finished)
    assert [(row["length"], row["index"]) for row in rows] == sorted(samples)
    for row in rows:
        sample = samples[row["length"], row["index"]]
        gold = len(models.encode_completion(tokenizer, sample["completion"]))
        assert row["prompt"] == sample["prompt"]
        assert row["prompt_tokens"] == len(models.encode_prompt(tokenizer, sample["prompt"]))
        assert row["gold_answer"] == sample["answer"]
        assert row["gold_tokens"] == gold
        assert row["limit"] == math.ceil(1.5 * gold) + 20
        assert row["completion_tokens"] <= row["limit"]
        assert (row["outcome"] == "cut") == (row["finish_reason"] == "length")
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}


def test_a_task_is_evaluated_by_its_name(finished):
    """The name of a task leads to the file and the samples of its id."""
    name = tasks.get(TASK).name
    named, cell = (Cell("direct", key, finished.seed) for key in (name, TASK))
    assert evaluation.path(finished, named) == evaluation.path(finished, cell)
    assert evaluation.plan(finished, named) == evaluation.plan(finished, cell)
    assert evaluation.is_finished(finished, named)


def test_outcomes_can_be_recomputed_from_the_stored_texts(finished):
    """Text, finish reason and stored answer give every stored outcome and count again."""
    frame = evaluation.read(finished)
    assert len(frame) == 30
    assert evaluation.recompute(frame.to_dict("records")) == list(frame["outcome"])
    stored = files.read_json(finished.folder / "evaluation" / "manifest.json")["direct"][TASK]
    counts = frame["outcome"].value_counts().to_dict()
    assert {key: value for key, value in stored["outcomes"].items() if value} == counts


def test_recompute_notices_a_changed_text(finished):
    """A stored text that was changed into the right answer is another outcome."""
    [row] = [row | {"text": f"So the answer is {row['gold_answer']}", "finish_reason": "stop"}
             for row in _rows(finished)[:1]]
    assert row["outcome"] != "right"
    assert evaluation.recompute([row]) == ["right"]


def _kill_after(arguments, path, lines):
    """Start an evaluation and SIGKILL it, and it alone, once `path` has so many lines more."""
    before = path.read_bytes().count(b"\n") if path.exists() else 0
    process = forked.start(evaluation.main, arguments)
    deadline = time.monotonic() + 300
    while not path.exists() or path.read_bytes().count(b"\n") < before + lines:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.join()


def test_a_killed_evaluation_goes_on(finished, prepare, capfd):
    """Killed in its own process and again through its launcher, it ends with the same rows."""
    run = prepare("killed")
    path = evaluation.path(run, Cell("direct", TASK, run.seed))
    arguments = ["--params", str(run.folder / "params.yaml")]
    _kill_after([*arguments, "--method", "direct", "--task", TASK], path, 4)
    survived = path.read_bytes()
    assert 4 <= survived.count(b"\n") < 30
    _kill_after(arguments, path, 4)
    evaluation.launch(run)
    assert path.read_bytes().startswith(survived[:survived.rfind(b"\n") + 1])
    assert _rows(run) == _rows(finished)
    assert "30 of 30 samples to generate" not in capfd.readouterr().out


def test_the_seconds_and_the_data_type_of_a_whole_evaluation_are_kept(finished):
    """What made a cell says how long that took, if one process made all of it, and in which data
    type the engine computed."""
    path = evaluation.path(finished, Cell("direct", TASK, finished.seed)).with_suffix(".json")
    assert 0 < files.read_json(path)["seconds"] < 600
    assert files.read_json(path)["compute"] == models.compute()


def test_a_last_line_that_was_cut_off_is_repaired(finished, prepare, capsys):
    """Half a row at the end, cut within a character, is reported and generated again."""
    run = prepare("cut")
    lines = _lines(finished)
    path = begin(run, Cell("direct", TASK, run.seed),
                 b"".join(lines[:20]) + '{"method": "direct", "prompt": "é'.encode()[:-1])
    evaluation.evaluate(run, Cell("direct", TASK, run.seed))
    printed = capsys.readouterr().out
    assert "the last line was cut off; removed its 33 bytes" in printed
    assert "10 of 30 samples to generate" in printed
    assert path.read_bytes().startswith(b"".join(lines[:20]))
    assert _rows(run) == _rows(finished)
    assert files.read_json(path.with_suffix(".json"))["seconds"] is None


def test_a_damaged_line_stops_the_evaluation(prepare):
    """A whole line that is not JSON does not come from a kill: the error names file and line."""
    run = prepare("damaged")
    begin(run, Cell("direct", TASK, run.seed), b'{"length": 1\n')
    with pytest.raises(RuntimeError, match=rf"{TASK}\.jsonl: line 1 is not JSON"):
        evaluation.evaluate(run, Cell("direct", TASK, run.seed))


def test_a_changed_text_of_an_unfinished_file_is_refused(finished, prepare, capsys):
    """A text that was changed within its outcome is named by file and line. Without that line and
    another one, the evaluation generates both again; the rows are the same, no hashes are left."""
    run = prepare("changed")
    cell = Cell("direct", TASK, run.seed)
    lines = _lines(finished)[:20]
    path = begin(run, cell, b"".join(lines))
    row = json.loads(lines[3])
    lines[3] = json.dumps(row | {"text": "x" + row["text"]}, ensure_ascii=False).encode() + b"\n"
    assert evaluation.recompute([json.loads(lines[3])]) == [row["outcome"]]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ParamsError, match=f"{path}: line 4 was changed after it was written: "):
        evaluation.evaluate(run, cell)
    assert path.read_bytes() == b"".join(lines)
    del lines[3], lines[7]
    path.write_bytes(b"".join(lines))
    evaluation.evaluate(run, cell)
    assert "12 of 30 samples to generate" in capsys.readouterr().out
    assert _rows(run) == _rows(finished)
    assert sorted(one.name for one in path.parent.iterdir() if one.is_file()) == [
        f"{TASK}.json", f"{TASK}.jsonl"]


def test_an_unfinished_file_without_hashes_is_generated_again(finished, prepare, capsys):
    """Nothing says whether its texts are what a model wrote, as in a file of an earlier version."""
    run = prepare("unhashed")
    path = begin(run, Cell("direct", TASK, run.seed), b"".join(_lines(finished)[:20]))
    path.with_suffix(".hashes").unlink()
    evaluation.evaluate(run, Cell("direct", TASK, run.seed))
    printed = capsys.readouterr().out
    assert f"{path}: there is no record of what made it" in printed
    assert "30 of 30 samples to generate" in printed


def test_what_is_finished_is_skipped_without_torch(finished):
    """A second launch starts no process and changes nothing; neither imports torch nor vLLM."""
    path = evaluation.path(finished, Cell("direct", TASK, finished.seed))
    before = path.stat().st_mtime_ns
    program = ("import sys\nfrom metarfft_core import evaluation, params\n"
               f"run = params.load({str(finished.folder / 'params.yaml')!r})\n"
               "evaluation.launch(run)\n"
               f"evaluation.evaluate(run, params.Cell('direct', {TASK!r}, run.seed))\n"
               "print([name for name in ('torch', 'vllm') if name in sys.modules])\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    assert done.stdout.splitlines() == [f"direct on {TASK}: finished before, skipped", "[]"]
    assert path.stat().st_mtime_ns == before


def test_results_made_with_other_parameters_are_refused(finished, outputs):
    """The same name with another decoding limit is one clear line and exit code 2."""
    changed = params.check(VALUES | {"name": "original",
                                     "evaluation": VALUES["evaluation"] | {"limit_extra": 21}})
    file = outputs / "changed.yaml"
    file.write_text(json.dumps(changed.model_dump()))  # JSON is YAML
    done = forked.run(evaluation.main, ["--params", str(file)])
    assert done.returncode == 2
    assert "evaluation.limit_extra" in done.output
    assert done.output.count("\n") == 1
    with pytest.raises(ParamsError, match="was made with other params"):
        evaluation.read(changed)


def test_results_of_another_training_are_refused(finished, prepare):
    """Results of a model that was trained anew since are not taken for its own."""
    run = prepare("retrained")
    shutil.copytree(finished.folder / "evaluation", run.folder / "evaluation")
    path = evaluation.path(run, Cell("direct", TASK, run.seed))
    files.write_json(path.with_suffix(".json"), files.read_json(path.with_suffix(".json"))
                     | evaluation.header(run, Cell("direct", TASK, run.seed)))
    assert evaluation.is_finished(run, Cell("direct", TASK, run.seed))
    manifest = _job(run).manifest
    files.write_json(manifest, files.read_json(manifest) | {"seconds": 3})
    # It was trained again, to the same weights.
    assert evaluation.is_finished(run, Cell("direct", TASK, run.seed))
    weights = manifest.parent / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    describe(_job(run))
    with pytest.raises(ParamsError, match="was made with other training"):
        evaluation.launch(run)


@pytest.fixture
def evaluated(finished, prepare, request):
    """A run of its own with the results of the finished one."""
    run = prepare(f"copy-{abs(hash(request.node.name))}")
    source, target = (evaluation.path(one, Cell("direct", TASK, one.seed))
                      for one in (finished, run))
    target.parent.mkdir(parents=True)
    shutil.copyfile(source, target)
    about = files.read_json(source.with_suffix(".json"))
    files.write_json(target.with_suffix(".json"),
                     about | evaluation.header(run, Cell("direct", TASK, run.seed)))
    evaluation.launch(run)
    return run


@pytest.mark.parametrize("name", ["direct/{}.jsonl", "direct/{}.json", "manifest.json", "direct"])
def test_whatever_is_deleted_of_an_evaluation_is_made_again(evaluated, name):
    """Rows are generated again, their description comes out of the manifest, both with the bytes
    that they had but for the seconds they took; the manifest comes out of the descriptions."""
    def stored():
        return {path: re.sub(rb'seconds": [\d.]+', b"", path.read_bytes())
                for path in folder.rglob("*.json*")}

    folder = evaluated.folder / "evaluation"
    before = stored()
    lost = folder / name.format(TASK)
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    evaluation.launch(evaluated)
    assert stored() == before


def test_rows_that_nothing_describes_are_not_taken_over(evaluated, capsys):
    """Without a description and a manifest nobody knows what made the rows: they are generated."""
    path = evaluation.path(evaluated, Cell("direct", TASK, evaluated.seed))
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"text": "', b'"text": "x'))
    path.with_suffix(".json").unlink()
    (evaluated.folder / "evaluation" / "manifest.json").unlink()
    evaluation.evaluate(evaluated, Cell("direct", TASK, evaluated.seed))
    assert "there is no record of what made it" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_changed_rows_are_named_with_the_remedy(evaluated):
    """Neither a launch nor a figure takes rows with another hash; the remedy works."""
    path = evaluation.path(evaluated, Cell("direct", TASK, evaluated.seed))
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"outcome": "', b'"outcome": "not_', 1))
    assert path.read_bytes() != before
    for use in (evaluation.launch, evaluation.read):
        with pytest.raises(ParamsError, match=f"{path} is missing or changed .* delete it and"):
            use(evaluated)
    path.unlink()
    path.with_suffix(".json").unlink()
    evaluation.launch(evaluated)
    # Another process may round otherwise: the samples are the same, an answer may not be.
    keys = ("length", "index", "prompt", "gold_answer", "limit")
    asked, again = ([{key: row[key] for key in keys}
                     for row in sorted(map(json.loads, content.decode().split("\n")[:-1]),
                                       key=lambda row: (row["length"], row["index"]))]
                    for content in (before, path.read_bytes()))
    assert asked == again
    assert len(evaluation.read(evaluated)) == len(asked)


def test_a_model_that_lost_its_weights_is_not_evaluated(prepare):
    """One line names the file and the command that makes it again, before an engine starts."""
    run = prepare("weightless")
    job = _job(run)
    weights = job.folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ParamsError, match=f"{weights} is missing or changed; `metarfft train"):
        evaluation.launch(run)


def test_another_chat_template_than_in_training_is_refused(prepare):
    """A prompt is never asked in another template than the model has learnt."""
    run = prepare("template")
    manifest = _job(run).manifest
    own = chat_template.about(models.load_tokenizer(run.model.name).get_chat_template())
    files.write_json(manifest, files.read_json(manifest) | {
        "chat_template": own | {"sha256": "another"}})
    with pytest.raises(ParamsError, match=f"{manifest.parent} was trained with another chat temp"):
        evaluation.evaluate(run, Cell("direct", TASK, run.seed))
    files.write_json(manifest, files.read_json(manifest) | {"chat_template": own})
    evaluation.evaluate(run, Cell("direct", TASK, run.seed))


def test_a_full_disk_ends_in_one_line_and_the_evaluation_goes_on(finished, prepare):
    """No file may be longer than some bytes, as on a full disk: one line names the results; what
    was written before stays, and the same command ends with all rows."""
    run = prepare("full")
    path = evaluation.path(run, Cell("direct", TASK, run.seed))
    arguments = ["--params", str(run.folder / "params.yaml"), "--method", "direct", "--task", TASK]
    full = forked.run(evaluation.main, arguments, largest=6000)
    assert full.returncode == 1
    assert full.output.splitlines()[-1] == f"error: {path}: File too large"
    assert "Traceback" not in full.output
    kept = path.read_bytes()[:path.read_bytes().rfind(b"\n") + 1]
    assert kept
    done = forked.run(evaluation.main, arguments)
    assert done.returncode == 0, done.output
    assert path.read_bytes().startswith(kept)
    assert _rows(run) == _rows(finished)


def test_an_unfinished_evaluation_is_not_read(prepare):
    """Figures are never drawn from half a grid."""
    with pytest.raises(ParamsError, match=f"direct on {TASK} is not finished"):
        evaluation.read(prepare("unread"))


def test_a_missing_training_is_refused_at_once(prepare):
    """Without a trained model there is one line that names what is missing."""
    run = prepare("untrained")
    shutil.rmtree(run.folder / "adapt")
    with pytest.raises(ParamsError, match="needs a finished training"):
        evaluation.launch(run)


def _with_context(run, context):
    return run.model_copy(update={"model": run.model.model_copy(update={"context": context})})


def test_a_limit_ends_where_the_context_does(prepare, finished):
    """A gold completion that just fits is planned with what the context leaves for it."""
    longest = max(row["prompt_tokens"] + row["gold_tokens"] for row in _rows(finished))
    cell = Cell("direct", TASK, finished.seed)
    run = prepare("context")
    fits, exceeds = _with_context(run, longest), _with_context(run, longest - 1)
    made_up_run.adopt_corpus(fits)
    rows = evaluation.plan(fits, cell)
    assert max(row["prompt_tokens"] + row["limit"] for row in rows) == longest
    made_up_run.adopt_corpus(exceeds)
    with pytest.raises(ParamsError, match=f"model.context allows {longest - 1} together"):
        evaluation.plan(exceeds, cell)
