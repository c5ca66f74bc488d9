"""The command `metarfft`, as a user starts it: output, exit status and how long an error takes."""

import os
import subprocess
import sys
import time

import pytest
import yaml

from metarfft_core import models, params


@pytest.fixture(scope="module", autouse=True)
def model():
    """The embedded model, converted once: the times below are those of every later call."""
    models.token_counter(models.EMBEDDED)


def metarfft(*arguments, **environment):
    """Run the command in a process of its own; returns it with the seconds it took."""
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", "import sys; from metarfft_core.cli import main; sys.exit(main())",
         *arguments], capture_output=True, text=True, check=False,
        env=os.environ | environment, cwd=params.ROOT)
    return process, time.monotonic() - start


def best_of(runs, *arguments):
    """The shortest of several runs, because machines are noisy."""
    return min(metarfft(*arguments)[1] for _ in range(runs))


def test_sample_prints_prompt_and_completion_at_once():
    """A sample comes within a second and loads neither torch nor another package."""
    process, _ = metarfft("sample", "nupa_add", "--length", "3", "--format", "rfft")
    assert process.returncode == 0
    prompt, completion = process.stdout.split("--- completion\n")
    assert "def add_integer(num1, num2):\n    result = ''" in prompt
    assert completion.splitlines()[-1].startswith("So the answer is '")
    assert best_of(3, "sample", "nupa_add", "--length", "3", "--format", "rfft") < 1
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-c",
         "from metarfft_core.cli import main; main(['sample', 'lc_258'])"],
        capture_output=True, text=True, check=True, cwd=params.ROOT).stderr
    assert not {"torch", "transformers", "pydantic", "numpy"} & {
        line.rpartition("|")[2].strip() for line in loaded.splitlines()}


def test_tasks_lists_source_split_and_lengths():
    """The listing has a line for each task, and takes a split and a source."""
    process, _ = metarfft("tasks", "--split", "downstream", "--source", "nupa")
    assert [line.split()[:4] for line in process.stdout.splitlines()] == [
        [id, "nupa", "downstream", "1-60"]
        for id in ("nupa_get_digit", "nupa_add", "nupa_digit_max", "nupa_length")]


def change(path, keys, value):
    """A copy of the smoke run's parameters at `path`, with one value changed (None: removed)."""
    values = yaml.safe_load(params.DEFAULT_FILE.read_text())
    *sections, last = keys.split(".")
    part = values
    for section in sections:
        part = part[section]
    part[last] = value
    path.write_text(yaml.safe_dump(values))
    return str(path)


@pytest.mark.parametrize(("keys", "value", "said"), [
    ("corpus.adaptation.lenghts", "1-3", "did you mean lengths"),
    ("adaptaton", {}, "did you mean adaptation"),
    ("pretraining.learning_rate", "1e-5", "write a small number as 1.0e-5"),
    ("pretraining.steps", "12", "pretraining.steps"),
    ("corpus.pretrain.tasks", ["lc_25888"], "nearest are lc_258"),
    ("corpus.evaluation.lengths", [1, 61], "cannot draw length 61"),
    ("adaptation.rank", None, "rank belongs to method pissa"),
    ("model.name", "no/such/folder", "no/such/folder"),
    ("model.context", 200, "200"),
])
@pytest.mark.parametrize("command", ["build", "run"])
def test_bad_parameters_are_one_line_at_once(tmp_path, command, keys, value, said):
    """A wrong parameter is named in one line, with a non-zero exit, in under five seconds."""
    path = change(tmp_path / "bad.yaml", keys, value)
    process, seconds = metarfft(command, "--params", path, METARFFT_OUTPUTS=str(tmp_path / "out"))
    assert process.returncode == 2
    assert said in process.stderr
    assert process.stderr.count("\n") == 1
    assert seconds < 5


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path):
    """Where a file stands in the way of the output folder, one line says so."""
    (tmp_path / "out").write_text("in the way")
    process, seconds = metarfft("run", "--params", str(params.DEFAULT_FILE),
                                METARFFT_OUTPUTS=str(tmp_path / "out"))
    assert process.returncode == 2
    assert "cannot be written" in process.stderr
    assert process.stderr.count("\n") == 1
    assert seconds < 5


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    """Where a file stands in the way of the cache folder, one line says so, with status 1; the same
    command then works with a cache that can be written."""
    (tmp_path / "cache").write_text("in the way")
    command = ["build", "--params", str(params.ROOT / "params" / "test.yaml")]
    outputs = {"METARFFT_OUTPUTS": str(tmp_path / "outputs")}
    process, _ = metarfft(*command, METARFFT_CACHE=str(tmp_path / "cache"), **outputs)
    assert process.returncode == 1
    assert process.stderr == f"metarfft: {tmp_path / 'cache'}: File exists\n"
    assert metarfft(*command, **outputs)[0].returncode == 0


@pytest.mark.parametrize(("arguments", "said"), [
    (["sample", "lc_2588"], "nearest are lc_258"),
    (["sample", "lc_258", "--length", "99"], "allows 1 to 60"),
    (["sample", "lc_258", "--format", "prose"], "allowed are direct, scratchpad, rfft"),
    (["tasks", "--split", "train"], "allowed are pretrain, downstream"),
    (["run", "--params", "nowhere.yaml"], "nowhere.yaml: No such file"),
])
def test_bad_arguments_are_one_line(arguments, said):
    """A wrong argument is named with what is allowed, in one line."""
    process, _ = metarfft(*arguments)
    assert process.returncode == 2
    assert said in process.stderr
    assert process.stderr.count("\n") == 1


TEST_RUN = ("--params", str(params.ROOT / "params" / "test.yaml"))


def test_preview_shows_the_mask_of_a_real_sample(tmp_path):
    """The rule stands there in grey, the trace and its end token in green, with their counts."""
    process, _ = metarfft("preview", *TEST_RUN, "--stage", "pretrain",
                          METARFFT_OUTPUTS=str(tmp_path))
    assert process.returncode == 0, process.stderr
    parts = process.stdout.split("\033[")
    [grey] = [part for part in parts if part.startswith("90m")]
    [green] = [part for part in parts if part.startswith("32m")]
    assert "rule:\ndef " in grey
    assert green.endswith("<|im_end|>")
    assert "The loss is taken on " in process.stdout


def test_plan_says_what_each_stage_costs():
    """A line for RF-pretraining, one for each method and one for the evaluation, in a minute."""
    process, seconds = metarfft("plan", *TEST_RUN)
    assert process.returncode == 0, process.stderr
    for stage in ("RF-pretraining", "adaptation, direct", "adaptation, meta_rfft_nl",
                  "evaluation, base_1shot"):
        assert stage in process.stdout
    assert seconds < 60


@pytest.mark.parametrize(("arguments", "said"), [
    (["train", "--stage", "adapt", "--task", "lc_258"], "task: expected one of nupa_length"),
    (["train", "--stage", "tune"], "stage: expected pretrain or adapt, got 'tune'"),
    (["train", "--stage", "pretrain", "--launch", "nowhere.yaml"], "there is no file nowhere.yaml"),
    (["train", "--stage", "adapt", "--task", "nupa_length", "--method", "meta_rfft"],
     "finish the stage pretrain of run test first"),
    (["evaluate"], "needs a finished training"),
    (["export", "--as", "merged", "--to", "m", "--task", "nupa_length", "--method", "direct"],
     "adapt nupa_length direct is not finished")])
def test_what_cannot_be_done_is_one_line(tmp_path, arguments, said):
    """A stage without what it needs, or with a wrong name, is one line and exit code 2."""
    command, *options = arguments
    if command == "evaluate":
        metarfft("build", *TEST_RUN, METARFFT_OUTPUTS=str(tmp_path))
    process, _ = metarfft(command, *TEST_RUN, *options, METARFFT_OUTPUTS=str(tmp_path))
    assert process.returncode == 2, process.stderr
    assert said in process.stderr
    assert process.stderr.count("\n") == 1
