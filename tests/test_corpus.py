"""The corpus: the same bytes however it is built, true rows, counted overlaps, nothing too long."""

import ast
import dataclasses
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import made_up_run
import pytest

from metarfft_core import corpus, formats, models, params, tasks
from metarfft_core.corpus import builder
from metarfft_core.params import commit
from metarfft_core.system.files import sha256
from metarfft_core.system.places import ROOT
from metarfft_core.tasks import registry
from metarfft_core.tracing.judge import replay

BUILD = """
import sys
from metarfft_core import corpus
from metarfft_core import params
corpus.build(params.load(sys.argv[1]))
"""


def values(**changes):
    """Parameters of a small corpus; `changes` replace parts of its section `corpus`."""
    values = made_up_run.plain()
    values["model"]["context"] = 8192
    values["corpus"] = {
        "workers": 1,
        "pretrain": {"tasks": ["bbh_navigate", "bbh_object_counting", "sr_last_letter"],
                     "lengths": "1-3", "samples_per_length": 6},
        "validation": {"lengths": [5], "samples_per_length": 4},
        "adaptation": {"tasks": ["lc_2544", "nupa_add"], "lengths": "1-3",
                       "samples_per_length": 30},
        "adaptation_validation": {"lengths": "1-3", "samples_per_length": 4},
        "evaluation": {"lengths": [1, 2, 3, 5], "samples_per_length": 8},
        "in_context": {"tasks": ["sr_last_letter"], "lengths": "1-2", "samples_per_length": 3,
                       "synthetic_samples": 1010},
    }
    for key, part in changes.items():
        section = values["corpus"].get(key)
        values["corpus"][key] = section | part if isinstance(section, dict) else part
    return values


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The small corpus, built once: its parameters, with its outputs in place."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder))
        run = params.check(values())
        corpus.build(run)
        yield run


def shards(folder):
    """Path in the corpus to hash, of every file but manifest and lock, hidden ones included."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in ("manifest.json", ".lock")}


def manifest(run):
    """The corpus's manifest."""
    return json.loads((run.folder / "corpus" / "manifest.json").read_text())


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_does_not_change_a_byte(built, tmp_path, monkeypatch, capsys,
                                                      workers):
    """With 2 and 4 processes the corpus is the one of a single process, its manifest too."""
    expected, said = shards(built.folder / "corpus"), manifest(built)
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = params.check(values(workers=workers))
    assert shards(corpus.build(run)) == expected
    assert "corpus: 27 of 27 shards, 1,886 samples, " in capsys.readouterr().out
    assert said["params"]["corpus"].pop("workers") == 1
    got = manifest(run)
    assert got["params"]["corpus"].pop("workers") == workers
    assert got == said


def test_a_killed_build_ends_with_the_same_bytes(tmp_path):
    """SIGKILL in the middle leaves no worker behind; the same command then completes the corpus."""
    long = values(workers=2, pretrain={"lengths": "1-10", "samples_per_length": 20},
                  adaptation={"tasks": ["lc_2544", "nupa_add", "lc_258"]})
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(long))  # JSON is YAML

    def start(outputs):
        environment = os.environ | {"METARFFT_OUTPUTS": str(tmp_path / outputs)}
        return subprocess.Popen([sys.executable, "-c", BUILD, str(file)], env=environment,
                                cwd=ROOT)

    whole, killed = (tmp_path / name / "test" / "corpus" for name in ("whole", "killed"))
    assert start("whole").wait() == 0
    process = start("killed")
    while not list(killed.rglob("*.parquet")):
        assert process.poll() is None
        time.sleep(0.001)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(list(killed.rglob("*.parquet"))) < len(list(whole.rglob("*.parquet")))
    deadline = time.monotonic() + 60
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived the build"
        time.sleep(0.05)
    assert start("killed").wait() == 0
    assert shards(killed) == shards(whole)
    assert (killed / "manifest.json").read_text() == (whole / "manifest.json").read_text()


def is_running(pid):
    """Whether a process of that id runs (an ended one that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_rows_hold_what_they_say(built):
    """Every row holds its instance with exact types, and the rule gives the stored answer."""
    for split, format in (("pretrain", "rfft"), ("validation", "rfft"), ("adaptation", "direct"),
                          ("adaptation_validation", "scratchpad"), ("evaluation", "rfft")):
        data = corpus.read(built, split, format)
        assert {name: kind.dtype for name, kind in data.features.items()} == {
            "task": "string", "length": "int64", "index": "int64", "stream": "string",
            "format": "string", "prompt": "string", "completion": "string", "inputs": "string",
            "answer": "string"}
        for row in data:
            task = tasks.get(row["task"])
            instance = task.sample(length=row["length"], seed=built.seed, index=row["index"],
                                   stream=split)
            inputs = ast.literal_eval(row["inputs"])
            assert inputs == instance.inputs
            assert repr(inputs) == repr(instance.inputs) == row["inputs"]
            assert (row["stream"], row["format"]) == (split, format)
            assert formats.render(task, instance, format) == (row["prompt"], row["completion"])
            assert row["completion"].endswith(f"So the answer is {row['answer']}")
            assert run_rule(task.rule_source, inputs) == ast.literal_eval(row["answer"])


def run_rule(source, inputs):
    """What the text of a rule returns, run as plain Python."""
    names = {}
    exec(source, names)
    return list(names.values())[-1](*inputs.values())


def rule_and_questions(prompt):
    """The text of the rule in a prompt, and the questions after it."""
    rule, *questions = prompt.partition("\nrule:\n")[2].split("\nQ: ")
    return rule, questions


def test_in_context_rows_show_an_exemplar_of_the_same_rule(built):
    """A prompt holds the rule and a solved question before its own; the rule as it is there
    gives the stored answer, and the replay finds nothing false."""
    data = corpus.read(built, "in_context", "rfft")
    assert len(data) == 6 + 1010
    for row in data:
        rule, (worked, question) = rule_and_questions(row["prompt"])
        inputs = ast.literal_eval(row["inputs"])
        assert run_rule(rule, inputs) == ast.literal_eval(row["answer"])
        assert all(repr(value) in question for value in ast.literal_eval(row["inputs"]).values())
        shown, *lines, answer = worked.strip().split("\n")
        assert shown != question
        assert lines[0].startswith(rule.split("\n")[0])
        assert answer.startswith("So the answer is ")
        assert row["completion"].endswith(f"So the answer is {row['answer']}")
        assert replay.judge(row["prompt"], row["completion"]) == []
        assert (row["stream"], row["format"]) == ("in_context", "rfft")


def test_synthetic_samples_are_as_many_as_asked_for(built):
    """1,010 samples are four each of 252 rules and two of another, spread over lengths 1 to 8."""
    parts = [corpus.read(built, "in_context", "rfft", name)
             for name in ("synthetic-000", "synthetic-001")]
    assert [len(part) for part in parts] == [1000, 10]
    rows = [row for part in parts for row in part]
    by_rule = {}
    for row in rows:
        by_rule.setdefault(row["task"], set()).add(row["length"])
    assert sorted(map(len, by_rule.values())) == [2, *[4] * 252]
    assert set(by_rule) == {f"synthetic_{number}" for number in range(253)}
    assert {length: sum(row["length"] == length for row in rows) for length in range(1, 9)} == {
        1: 127, 2: 126, 3: 127, **dict.fromkeys(range(4, 9), 126)}
    assert len({rule_and_questions(row["prompt"])[0] for row in rows}) == 253


def test_synthetic_samples_that_do_not_fit_are_left_out_and_counted(tmp_path, monkeypatch):
    """A context of 1,500 tokens keeps exactly the synthetic samples that fit, and counts the
    others by length."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    counts = models.token_counter("SmolLM2-135M-Instruct")
    found = {}
    for context in (8192, 1500):
        changed = values(in_context={"synthetic_samples": 120})
        changed["model"]["context"], changed["name"] = context, f"context{context}"
        run = params.check(changed)
        corpus.build(run)
        found[context] = corpus.read(run, "in_context", "rfft", "synthetic-000")
    fitting = [row for row in found[8192] if counts(row["prompt"], row["completion"]) <= 1500]
    assert list(found[1500]) == fitting
    assert 0 < len(fitting) < 120
    left_out = manifest(run)["left_out"]
    assert sum(int(reason.split(" of ")[0]) for reason in left_out.values()) == 120 - len(fitting)
    assert left_out["in_context/synthetic-000/8"].endswith(" samples take more than 1500 tokens")


def test_a_task_without_exemplars_is_refused(monkeypatch):
    """A task that cannot draw a length below 5 is named before anything is built."""
    late = dataclasses.replace(tasks.get("nupa_length"), id="late", lengths=(5, 6))
    monkeypatch.setitem(registry._TASKS, "late", late)
    run = params.check(values(in_context={"tasks": ["late"], "lengths": [5]}))
    with pytest.raises(params.ParamsError, match=r"corpus\.in_context: task late has no exemplar"):
        corpus.check_context(run)


def test_the_papers_wording_is_that_of_every_rfft_sample(tmp_path, monkeypatch, built):
    """`wording: paper` changes the rfft completions of every split, and nothing else."""
    shards = [("pretrain", "rfft"), ("validation", "rfft"), ("adaptation", "direct"),
              ("adaptation", "rfft"), ("evaluation", "scratchpad"), ("in_context", "rfft")]
    kit = [corpus.read(built, *shard) for shard in shards]
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = params.check(values(wording="paper"))
    corpus.build(run)
    for shard, expected in zip(shards, kit, strict=True):
        data = corpus.read(run, *shard)
        assert data["inputs"][:] == expected["inputs"][:]
        if shard[1] != "rfft":
            assert list(data) == list(expected)
            continue
        for row, other in zip(data, expected, strict=True):
            assert len(row["completion"]) > len(other["completion"])
            assert replay.judge_at_length(row["prompt"], row["completion"]) == []


def test_without_its_section_there_is_no_in_context_split(tmp_path, monkeypatch):
    """A file without `in_context` gives a corpus without it, and asking for it says so."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = params.load(ROOT / "params" / "test.yaml")
    assert not (corpus.build(run) / "in_context").exists()
    with pytest.raises(params.ParamsError, match="split: this corpus holds pretrain, "):
        corpus.read(run, "in_context", "rfft")


def test_types_survive_storage(built):
    """A list of tuples comes back as a list of tuples."""
    row = corpus.read(built, "pretrain", "rfft", "bbh_navigate")[0]
    assert [type(move) for move in ast.literal_eval(row["inputs"])["moves"]] == [tuple]


def test_rows_are_in_order_and_as_many_as_asked_for(built):
    """A dataset holds its tasks one after the other, each sorted by length and index."""
    data = corpus.read(built, "evaluation", "scratchpad")
    keys = [(["lc_2544", "nupa_add"].index(row["task"]), row["length"], row["index"])
            for row in data]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) == 2 * 4 * 8
    training = corpus.read(built, "pretrain", "rfft", "sr_last_letter")
    assert list(zip(training["length"], training["index"], strict=True)) == [
        (length, index) for length in (1, 2, 3) for index in range(6)]


def test_each_split_has_the_formats_of_its_methods(built):
    """Pre-training is rule-following only; the downstream splits have what the methods need."""
    folder = built.folder / "corpus"
    found = {split.name: sorted(path.name for path in split.iterdir())
             for split in folder.iterdir() if split.is_dir()}
    every = ["direct", "rfft", "scratchpad"]
    assert found == {"pretrain": ["rfft"], "validation": ["rfft"], "adaptation": every,
                     "adaptation_validation": every, "evaluation": every, "in_context": ["rfft"]}


def inputs_of(run, split, format, task):
    """Length and inputs, as text, of every row of a shard."""
    data = corpus.read(run, split, format, task)
    return list(zip(data["length"], data["inputs"], strict=True))


def test_overlap_is_counted_and_removed_where_possible(built):
    """The manifest counts what a recount finds; only a task too small for new inputs has any."""
    counts = manifest(built)["counts"]
    for held, trained, format in (("validation", "pretrain", "rfft"),
                                  ("adaptation_validation", "adaptation", "direct"),
                                  ("evaluation", "adaptation", "rfft")):
        for task, by_length in counts[held].items():
            known = {inputs for _, inputs in inputs_of(built, trained, format, task)}
            rows = inputs_of(built, held, format, task)
            for length, count in by_length.items():
                own = [inputs for at, inputs in rows if at == int(length)]
                assert count["samples"] == len(own)
                assert count["distinct"] == len(set(own))
                assert count["overlap"] == sum(inputs in known for inputs in own)
    digits = counts["evaluation"]["lc_2544"]
    assert digits["1"]["overlap"] > 0  # ten numbers of one digit, thirty draws in training
    assert digits["1"]["skipped"] == (corpus.TRIES - 1) * 8
    assert digits["2"]["skipped"] > 0  # ninety of two: there are enough, once some are skipped
    for length in ("2", "3", "5"):
        assert (digits[length]["overlap"], digits[length]["distinct"]) == (0, 8)


def test_held_out_samples_are_the_first_new_ones(built):
    """A held-out sample is the first draw that is neither trained on nor a repetition."""
    task = tasks.get("lc_2544")
    seen = {inputs for _, inputs in inputs_of(built, "adaptation", "direct", "lc_2544")}
    expected = []
    for index in range(200):
        inputs = repr(task.sample(length=2, seed=0, index=index, stream="evaluation").inputs)
        if inputs not in seen and len(expected) < 8:
            expected.append(inputs)
            seen.add(inputs)
    assert [inputs for length, inputs in inputs_of(built, "evaluation", "direct", "lc_2544")
            if length == 2] == expected


def test_the_manifest_describes_the_files(built):
    """Hashes, rows, characters and tokens in the manifest are those of the files."""
    found = manifest(built)
    folder = built.folder / "corpus"
    hashes = {path: shard["sha256"] for path, shard in found["shards"].items()}
    assert hashes == {path: hash for path, hash in shards(folder).items() if path != "README.md"}
    count = models.token_counter(built.model.name)
    for path, shard in found["shards"].items():
        split, format, name = Path(path).parts
        data = corpus.read(built, split, format, name.removesuffix(".parquet"))
        pairs = list(zip(data["prompt"], data["completion"], strict=True))
        characters = [len(prompt) + len(completion) for prompt, completion in pairs]
        assert shard["rows"] == len(pairs)
        # Means are rounded to tenths: off by half of one, and by a float's last digit.
        assert shard["characters"] == {"maximum": max(characters), "mean": pytest.approx(
            sum(characters) / len(pairs), abs=0.051)}
        if split not in ("adaptation", "in_context"):  # few enough rows that all are counted
            tokens = [count(*pair) for pair in pairs]
            assert shard["tokens"] == {"rows": len(pairs), "maximum": max(tokens),
                                       "mean": pytest.approx(sum(tokens) / len(pairs), abs=0.051)}
    assert found["rows"]["evaluation"] == 2 * 4 * 8 * 3
    assert found["params_digest"] == built.digest
    assert params.check(found["params"]) == built
    assert set(found["versions"]) == {"metarfft", "python", "datasets", "pyarrow"}


def test_other_readers_open_the_shards(built):
    """`datasets.load_dataset` opens a shard, without anything of this project."""
    from datasets import load_dataset

    [file] = corpus.files(built, "evaluation", "direct", "lc_2544")
    data = load_dataset("parquet", data_files=str(file), split="train")
    assert data.num_rows == 4 * 8
    assert data[0]["prompt"] == corpus.read(built, "evaluation", "direct", "lc_2544")[0]["prompt"]


def seconds(action):
    """How long an action takes, as a clock on the wall says."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def test_a_finished_corpus_is_left_alone(tmp_path, monkeypatch):
    """Building again touches no file, and takes less than half the time of building."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = params.check(values())
    first = seconds(lambda: corpus.build(run))
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    assert seconds(lambda: corpus.build(run)) < first / 2
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before


def test_a_lost_shard_is_made_again(tmp_path, monkeypatch):
    """Shards that were deleted come back with the same bytes, the others stay."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = params.check(values())
    before = shards(corpus.build(run))
    lost = [corpus.files(run, "validation", "rfft")[0], corpus.files(run, "in_context", "rfft")[1]]
    kept, *_ = corpus.files(run, "evaluation", "rfft")
    written = kept.stat().st_mtime_ns
    for path in lost:
        path.unlink()
    assert shards(corpus.build(run)) == before
    assert kept.stat().st_mtime_ns == written


def test_other_parameters_are_refused(built):
    """A folder with another corpus is refused, with its parameter file and without it."""
    other = params.check(values(pretrain={"samples_per_length": 7}))
    with pytest.raises(params.ParamsError, match="made with other parameters"):
        corpus.build(other)
    file = built.folder / "params.yaml"
    text = file.read_text()
    file.unlink()
    try:
        with pytest.raises(params.ParamsError, match="made with other parameters"):
            corpus.build(other)
    finally:
        file.write_text(text)


def test_a_task_that_exceeds_the_context_is_refused_at_once(tmp_path, monkeypatch):
    """A named task, its length, its tokens and the context are told before anything is written, in
    less than half the time that building takes where the context is large enough."""
    changed = values(evaluation={"lengths": [1, 30]})
    models.token_counter(changed["model"]["name"])  # the model may have to be converted first
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "fitting"))
    building = seconds(lambda: corpus.build(params.check(changed)))
    changed["model"]["context"] = 5000
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "refused"))

    start = time.monotonic()
    with pytest.raises(params.ParamsError) as caught:
        corpus.build(params.check(changed))
    assert time.monotonic() - start < building / 2
    message = str(caught.value)
    assert message.startswith("corpus.evaluation: task nupa_add at length 30 takes ")
    assert message.endswith(" tokens, model.context allows 5000")
    assert [path.name for path in tmp_path.iterdir()] == ["fitting"]


def test_the_build_counts_every_sample(tmp_path, monkeypatch):
    """What the first look lets through is refused by the build itself."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(builder, "check_context", lambda run: None)
    changed = values(evaluation={"lengths": [1, 30]})
    changed["model"]["context"] = 5000
    with pytest.raises(params.ParamsError, match="nupa_add at length 30 takes"):
        corpus.build(params.check(changed))
    assert not list(tmp_path.rglob("evaluation/*/nupa_add.parquet"))
    assert not list(tmp_path.rglob("manifest.json"))


def test_lengths_that_cannot_be_had_are_left_out_and_counted(tmp_path, monkeypatch):
    """With leave_out, lengths too long for task or context are missing, and only those."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    changed = values(validation={"lengths": [5, 61]}, pretrain={"leave_out": True},
                     adaptation={"leave_out": True}, evaluation={"lengths": [2, 3, 30]})
    changed["model"]["context"] = 5000
    run = params.check(changed)
    corpus.build(run)
    left_out = manifest(run)["left_out"]
    assert set(left_out) == {f"validation/{task}/61" for task in run.corpus.pretrain.tasks} | {
        "evaluation/nupa_add/30"}
    assert left_out["validation/bbh_navigate/61"] == "the task cannot draw it"
    assert left_out["evaluation/nupa_add/30"].startswith("a sample takes ")
    count = models.token_counter(run.model.name)
    for format in ("direct", "scratchpad", "rfft"):
        data = corpus.read(run, "evaluation", format)
        assert {(row["task"], row["length"]) for row in data} == {
            ("lc_2544", 2), ("lc_2544", 3), ("lc_2544", 30), ("nupa_add", 2), ("nupa_add", 3)}
        assert max(count(row["prompt"], row["completion"]) for row in data) <= 5000


def test_a_task_of_which_nothing_is_left_has_an_empty_shard(tmp_path, monkeypatch):
    """Where one task lacks every length the others are read; where all do, the build is refused."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    changed = values(adaptation={"leave_out": True}, evaluation={"lengths": [30]})
    changed["model"]["context"] = 5000
    run = params.check(changed)
    corpus.build(run)
    assert corpus.read(run, "evaluation", "rfft", "nupa_add").num_rows == 0
    assert set(corpus.read(run, "evaluation", "rfft")["task"]) == {"lc_2544"}
    changed["name"] = "nothing"
    changed["corpus"]["evaluation"]["lengths"] = [61]
    with pytest.raises(params.ParamsError, match=r"corpus\.evaluation: every length"):
        corpus.build(params.check(changed))


def test_a_task_is_read_by_its_name(built):
    """The name of a task leads to the files of its id."""
    for name in ("alternating_digit_sum", "add_integer"):
        by_id = corpus.files(built, "evaluation", "rfft", tasks.get(name).id)
        assert corpus.files(built, "evaluation", "rfft", name) == by_id


def test_reading_what_is_not_there_says_what_is(built, tmp_path, monkeypatch):
    """A wrong split, format or task is named with those there are; so is an unbuilt corpus."""
    for arguments, said in (
            (("train", "rfft"), "split: this corpus holds pretrain, validation, adaptation"),
            (("pretrain", "direct"), "format: this corpus holds rfft; got 'direct'"),
            (("evaluation", "rfft", "lc_258"), "task: this corpus holds lc_2544, nupa_add; got")):
        with pytest.raises(params.ParamsError, match=said):
            corpus.read(built, *arguments)
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    with pytest.raises(params.ParamsError, match="run test is not built"):
        corpus.read(built, "pretrain", "rfft")


@pytest.fixture
def copy(built, tmp_path, monkeypatch):
    """A copy of the small corpus."""
    shutil.copytree(built.folder, tmp_path / built.name)
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    return built


@pytest.mark.parametrize("name", ["README.md", "manifest.json", "evaluation/rfft/nupa_add.parquet"])
def test_whatever_is_deleted_is_made_again(copy, name):
    """A finished corpus without its card, its manifest or a shard is built to the same bytes."""
    folder = copy.folder / "corpus"
    before = (folder / name).read_bytes()
    (folder / name).unlink()
    corpus.build(copy)
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize("damage", [
    lambda content, other: content[:-100], lambda content, other: other],
    ids=["truncated", "replaced by another shard"])
def test_a_damaged_shard_is_named_and_made_again(copy, capsys, damage):
    """To read it is an error with the file and the remedy; the remedy gives the old bytes."""
    path, other = (corpus.files(copy, "evaluation", "rfft", task)[0]
                   for task in ("lc_2544", "nupa_add"))
    before = path.read_bytes()
    path.write_bytes(damage(before, other.read_bytes()))
    with pytest.raises(params.ParamsError, match=rf"{path} is not the file .*`metarfft build"):
        corpus.read(copy, "evaluation", "rfft")
    corpus.build(copy)
    assert path.read_bytes() == before
    assert f"{path} is missing or changed" in capsys.readouterr().out


def test_a_shard_that_was_cut_off_is_noticed_without_a_manifest(copy):
    """The statistics at the end of a shard say that it is whole, also before a corpus is."""
    [path] = corpus.files(copy, "evaluation", "rfft", "lc_2544")
    before = path.read_bytes()
    path.write_bytes(before[:-100])
    (copy.folder / "corpus" / "manifest.json").unlink()
    corpus.build(copy)
    assert path.read_bytes() == before


def test_two_builds_at_once_both_end_well(built, tmp_path):
    """Two processes build the same corpus: one waits for the other and says so, or finds it done;
    the files are those of a single build, and none is left over."""
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(values(workers=2)))  # JSON is YAML
    environment = os.environ | {"METARFFT_OUTPUTS": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", BUILD, str(file)], env=environment,
                             cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("shards" in text for text in said) == [False, True]
    assert shards(tmp_path / "test" / "corpus") == shards(built.folder / "corpus")


def test_only_the_leftovers_of_dead_processes_are_deleted(copy):
    """A temporary file of a process that lives, and one of another machine, stay."""
    folder = copy.folder / "corpus" / "evaluation" / "rfft"
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = {who: folder / f".x.parquet.{who}.tmp" for who in (
        f"{platform.node()}.{ended.pid}", f"{platform.node()}.{os.getpid()}", "elsewhere.1")}
    for path in names.values():
        path.write_text("")
    (copy.folder / "corpus" / "README.md").unlink()
    corpus.build(copy)
    assert [path.exists() for path in names.values()] == [False, True, True]


def test_a_full_disk_is_one_line_and_the_build_goes_on(built, tmp_path):
    """No file may be longer than some bytes, as on a full disk: status 1, one line with the file;
    then the same command ends with the bytes of a build that was never interrupted."""
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(values()))
    command = [sys.executable, "-c", "import sys; from metarfft_core.cli import main\n"
               "sys.exit(main(['build', '--params', sys.argv[1]]))", str(file)]
    environment = os.environ | {"METARFFT_OUTPUTS": str(tmp_path), "PYTHONPATH": str(ROOT)}
    full = subprocess.run(["prlimit", "--fsize=16000", *command], env=environment,
                          capture_output=True, text=True)
    assert full.returncode == 1
    assert re.fullmatch(r"metarfft: \S+\.parquet: File too large\n", full.stderr)
    assert not list((tmp_path / "test").rglob("*.tmp"))
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert shards(tmp_path / "test" / "corpus") == shards(built.folder / "corpus")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository in the place of the project's own, and a function that runs git in it."""
    root = tmp_path / "checkout"
    root.mkdir()
    monkeypatch.setattr(commit, "ROOT", root)

    def git(*arguments):
        return subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(root),
                               *arguments], check=True, capture_output=True, text=True).stdout

    git("init")
    (root / ".gitignore").write_text("ignored\n")
    (root / "code.py").write_text("1\n")
    git("add", ".")
    git("commit", "-m", "x")
    return root, git


def test_the_commit_says_what_differs_from_it(built, checkout, monkeypatch):
    """A changed, a new and a deleted file, staged or not, each leave their mark; what git ignores,
    the run's own results and a clean tree leave none."""
    root, git = checkout
    clean = git("rev-parse", "HEAD").strip()
    seen = [clean]

    def found():
        return corpus.provenance(built)["git_commit"]

    monkeypatch.setenv("METARFFT_OUTPUTS", str(root / "out"))
    for name in ("ignored", "out/test/figure.png", "out/other/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert found() == clean
    for change in (lambda: (root / "code.py").write_text("2\n"),
                   lambda: (root / "new.py").write_text("x"),
                   lambda: (root / "new.py").write_text("y"),
                   lambda: git("add", "new.py"),
                   lambda: (root / "code.py").unlink()):
        change()
        assert re.fullmatch(clean + r"-dirty\.[0-9a-f]{12}", found())
        assert found() not in seen
        seen.append(found())
    git("reset", "--hard")
    assert found() == clean


def test_without_git_there_is_no_commit(built, tmp_path, monkeypatch):
    """Inside another checkout, and without the program, there is none, and no error."""
    subprocess.run(["git", "init", str(tmp_path)], check=True, capture_output=True)
    (tmp_path / "inside").mkdir()
    monkeypatch.setattr(commit, "ROOT", tmp_path / "inside")
    assert corpus.provenance(built)["git_commit"] is None
    monkeypatch.setattr(commit, "ROOT", ROOT)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert corpus.provenance(built)["git_commit"] is None
