"""The command `metarfft`, as a user starts it: output, exit status, and what it loads for that."""

import os
import subprocess
import sys

import pytest
import yaml

from metarfft_core import cli, params
from metarfft_core.system.places import ROOT

SLOW = {"torch", "transformers", "vllm", "datasets"}
"""Packages that take seconds to import: what answers at once loads none of them."""


def metarfft(*arguments, **environment):
    """Run the command in a process of its own; returns it with the modules that it loaded."""
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-c",
         "import sys; from metarfft_core.cli import main; sys.exit(main())", *arguments],
        capture_output=True, text=True, check=False, env=os.environ | environment, cwd=ROOT)
    lines = process.stderr.splitlines(keepends=True)
    loaded = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    process.stderr = "".join(line for line in lines if not line.startswith("import time:"))
    return process, loaded


def test_sample_prints_prompt_and_completion_at_once():
    """A sample loads no package that one would wait for, not even those that check parameters."""
    process, loaded = metarfft("sample", "nupa_add", "--length", "3", "--format", "rfft")
    assert process.returncode == 0
    prompt, completion = process.stdout.split("--- completion\n")
    assert "def add_integer(num1, num2):\n    result = ''" in prompt
    assert completion.splitlines()[-1].startswith("So the answer is '")
    assert "metarfft_core.formats" in loaded
    assert not (SLOW | {"pydantic", "numpy"}) & loaded


@pytest.mark.parametrize(("id", "names"), [
    ("lc_461", ["hamming_distance"]), ("nupa_add", ["add_integer"]),
    ("lc_283_cf", ["move_zeroes_counterfactual", "move_zeroes_cf"])])
def test_sample_takes_a_name_as_well_as_an_id(id, names):
    """The same sample is printed under the id and under every name of a task."""
    printed = {metarfft("sample", key)[0].stdout for key in (id, *names)}
    assert len(printed) == 1
    assert "--- completion" in printed.pop()


def test_tasks_lists_id_source_split_lengths_and_name():
    """The listing has a line for each task, and takes a split and a source."""
    process, _ = metarfft("tasks", "--split", "downstream", "--source", "nupa")
    assert [line.split()[:5] for line in process.stdout.splitlines()] == [
        [id, "nupa", "downstream", "1-60", name] for id, name in (
            ("nupa_get_digit", "get_digit_integer:"), ("nupa_add", "add_integer:"),
            ("nupa_digit_max", "digit_max_integer:"), ("nupa_length", "length_integer:"))]


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
    ("corpus.pretrain.tasks", ["lc_25888"], "nearest are add_digits (lc_258)"),
    ("corpus.evaluation.lengths", [1, 61], "cannot draw length 61"),
    ("adaptation.rank", None, "expected a rank with method pissa"),
    ("model.name", "no/such/folder", "no/such/folder"),
    ("model.context", 200, "200"),
])
@pytest.mark.parametrize("command", ["build", "run"])
def test_bad_parameters_are_one_line_at_once(tmp_path, command, keys, value, said):
    """A wrong parameter is named in one line, with a non-zero exit, before a package is loaded that
    takes seconds and before a file is written."""
    path = change(tmp_path / "bad.yaml", keys, value)
    process, loaded = metarfft(command, "--params", path, METARFFT_OUTPUTS=str(tmp_path / "out"))
    assert process.returncode == 2
    assert said in process.stderr
    assert process.stderr.count("\n") == 1
    assert not SLOW & loaded
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path):
    """Where a file is in the way of the output folder, one line says so."""
    (tmp_path / "out").write_text("in the way")
    process, loaded = metarfft("run", "--params", str(params.DEFAULT_FILE),
                               METARFFT_OUTPUTS=str(tmp_path / "out"))
    assert process.returncode == 2
    assert "cannot be written" in process.stderr
    assert process.stderr.count("\n") == 1
    assert not SLOW & loaded


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    """Where a file is in the way of the cache folder, one line says so, with status 1; the same
    command then works with a cache that can be written."""
    (tmp_path / "cache").write_text("in the way")
    command = ["build", "--params", str(ROOT / "params" / "test.yaml")]
    outputs = {"METARFFT_OUTPUTS": str(tmp_path / "outputs")}
    process, _ = metarfft(*command, METARFFT_CACHE=str(tmp_path / "cache"), **outputs)
    assert process.returncode == 1
    assert process.stderr == f"metarfft: {tmp_path / 'cache'}: File exists\n"
    assert metarfft(*command, **outputs)[0].returncode == 0


@pytest.mark.parametrize(("arguments", "said"), [
    (["sample", "lc_2588"], "nearest are add_digits (lc_258)"),
    (["sample", "hamming_distanse"], "nearest are hamming_distance (lc_461)"),
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


TEST_RUN = ("--params", str(ROOT / "params" / "test.yaml"))


def test_preview_shows_the_mask_of_a_real_sample(tmp_path):
    """The rule is there in grey, the trace and its end token in green, with their counts."""
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
    """A line for RF-pretraining, one for each method and one for the evaluation."""
    process, _ = metarfft("plan", *TEST_RUN)
    assert process.returncode == 0, process.stderr
    for stage in ("RF-pretraining", "adapt direct", "adapt meta_rfft_nl", "eval base_1shot"):
        assert stage in process.stdout


@pytest.mark.parametrize(("arguments", "said"), [
    (["train", "--stage", "adapt", "--task", "lc_258"], "task: expected one of nupa_length"),
    (["train", "--stage", "tune"], "stage: expected pretrain or adapt, got 'tune'"),
    (["train", "--stage", "pretrain", "--launch", "nowhere.yaml"],
     f"there is no file {ROOT / 'nowhere.yaml'}"),
    (["train", "--stage", "adapt", "--task", "nupa_length", "--method", "meta_rfft"],
     "finish the stage pretrain of run test first"),
    (["preview", "--stage", "pretrain", "--number", "99"], "numbered from 0 to 3; got 99"),
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


PLANNED = ("plan", *TEST_RUN)
SHOWN = ("preview", *TEST_RUN, "--stage", "pretrain")
WHOLE_NUMBERS = [("sample", "lc_258", "--length"), ("sample", "lc_258", "--index"),
                 ("sample", "lc_258", "--seed"), ("check", "--samples"), ("check", "--lengths"),
                 (*PLANNED, "--processes"), (*SHOWN, "--number"), (*SHOWN, "--seed"),
                 ("train", *TEST_RUN, "--stage", "adapt", "--seed"),
                 ("export", *TEST_RUN, "--as", "merged", "--to", "m", "--seed")]
FROM_ONE = {"--length", "--lengths", "--samples", "--processes"}
FILES = [("check",), *((command, "--params") for command in (
    "plan", "fetch", "build", "evaluate", "run", "figures", "report")),
    ("preview", "--stage", "pretrain", "--params"), ("train", "--stage", "pretrain", "--params"),
    ("train", *TEST_RUN, "--stage", "pretrain", "--launch"),
    *(("run", *TEST_RUN, option) for option in ("--pretrain-on", "--adapt-on")),
    ("report", "--params", str(ROOT / "outputs" / "reference" / "laptop"), "--against"),
    ("export", "--as", "results", "--to", "m", "--params")]
FOLDERS = [("figures", *TEST_RUN, "--to"), ("export", *TEST_RUN, "--as", "results", "--to")]


def refused(capsys, arguments, said):
    """One line says so, and the exit status is 2."""
    try:
        status = cli.main([*map(str, arguments)])
    except SystemExit as leaving:
        status = leaving.code
    printed = capsys.readouterr()
    assert status == 2, printed
    assert said in printed.err
    assert printed.err.startswith("metarfft: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("value", ["-1", "0", "1.5", "ten", "1_0", "9" * 30])
@pytest.mark.parametrize("options", WHOLE_NUMBERS, ids=lambda options: " ".join(
    (options[0], options[-1])))
def test_an_option_that_is_a_whole_number_takes_no_other(capsys, options, value):
    """Below its least value, or no whole number, it is named with what is allowed."""
    least = int(options[-1] in FROM_ONE)
    if value == "0" and not least:
        return
    refused(capsys, [*options, value], f"argument {options[-1]}: expected a whole number from "
                                       f"{least}, got '{value}'")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_the_memory_of_a_gpu_is_a_number_above_0(capsys, value):
    """What no GPU has is refused before anything is planned."""
    refused(capsys, [*PLANNED, "--gpu-memory", value], value)


@pytest.mark.parametrize("options", FILES, ids=" ".join)
def test_a_file_that_is_not_there_is_one_line(capsys, options):
    """Every command that reads a file names the one that it does not find, at once."""
    refused(capsys, [*options, "nowhere.file"], "nowhere.file")


@pytest.mark.parametrize("options", FOLDERS, ids=lambda options: options[0])
def test_a_file_in_the_way_of_a_folder_is_one_line(capsys, tmp_path, options):
    """A command that writes to a folder says so before it computes."""
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "taken", tmp_path / "taken" / "deeper"):
        refused(capsys, [*options, path], f"expected a folder, but {tmp_path / 'taken'} is a file")


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "arguments are required: command"), (["runs"], "invalid choice: 'runs'"),
    (["run"], "arguments are required: --params"), (["tasks", "--source", "x"], "source: allowed"),
    (["sample", "lc_258", "--format", "x"], "allowed are direct"), (["gallery", "x"], "x"),
    ([*SHOWN[:-1], "x"], "stage: expected pretrain or adapt"),
    (["export", *TEST_RUN, "--as", "x", "--to", "m"], "invalid choice: 'x'"),
    (["export", *TEST_RUN, "--as", "lm-eval", "--to", "m", "--task", "x"], "task: this run"),
    (["export", *TEST_RUN, "--as", "lm-eval", "--to", "m", "--method", "x"], "method: this run"),
    (["sample", "lc_258", "--lenght", "3"], "--lenght")])
def test_a_wrong_word_is_one_line(capsys, arguments, said):
    """A command, an option or a choice that there is not, or that lacks."""
    refused(capsys, arguments, said)


@pytest.mark.parametrize("memory", ["0.5", "0.1"])
def test_a_plan_with_a_problem_fails(capsys, memory):
    """The plan is printed, one line on stderr counts what prevents the run; the status is 1."""
    assert cli.main([*PLANNED, "--gpu-memory", memory]) == 1
    printed = capsys.readouterr()
    count = printed.out.count("PROBLEM: ")
    problems = "1 problem" if memory == "0.5" else f"{count} problems"
    assert (count == 1) == (memory == "0.5")
    assert printed.err == (f"metarfft: the plan names {problems}: this run is not possible as "
                           "planned\n")


def test_a_tilde_in_an_option_is_the_home_folder(capsys, tmp_path, monkeypatch):
    """Also where no shell has put the folder in its place, as after `=`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text("seed: 0100\n")
    refused(capsys, ["plan", "--params=~/a.yaml"], "~/a.yaml, line 1: seed: 0100 is read as 64")
    refused(capsys, ["check", "~/own.py"], str(tmp_path / "own.py"))
    refused(capsys, ["report", "--params=~/.."], f"{tmp_path.parent}: expected the folder of a run")


def test_papermill_takes_whole_sections_alone(tmp_path):
    """Papermill turns `-p corpus.workers 2` into a line of Python that fails in the notebook's
    second cell, before the kit is called; `-p 'corpus["workers"]' 2` beside a file changes it."""
    import nbformat
    import papermill

    path = tmp_path / "a.ipynb"
    cells = [nbformat.v4.new_code_cell("corpus = None", metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell("print(corpus['workers'])\nopen('ran', 'w').close()")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3",
                                    "language": "python"}
    nbformat.write(notebook, path)

    def run(**given):
        papermill.execute_notebook(path, tmp_path / "out.ipynb", parameters=given, cwd=tmp_path,
                                   progress_bar=False)

    for given in ({"corpus.workers": 2}, {"corpus": {"workers": 1}, "corpus.workers": 2}):
        with pytest.raises(papermill.PapermillExecutionError, match="no attribute 'workers'"):
            run(**given)
        assert not (tmp_path / "ran").exists()
    run(**{"corpus": {"workers": 1}, 'corpus["workers"]': 2})
    assert nbformat.read(tmp_path / "out.ipynb", 4).cells[-1].outputs[0].text == "2\n"
