"""Whatever goes wrong in a command is one line that names a file, within seconds."""

import re
import subprocess
import sys
import time

import made_up_run
import pytest
from tiny_model import tiny_run

from metarfft_core import cli, models, params
from metarfft_core.cli import main
from metarfft_core.system import files, yaml_files
from metarfft_core.system.places import ROOT


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    return made_up_run.make(made_up_run.plain(), lambda *_: 0.5)


@pytest.mark.parametrize("error", [
    TypeError("'int' object is not iterable"), IndexError("list index out of range"),
    RecursionError("maximum recursion depth exceeded"), KeyError("params_digest"),
    AttributeError("x"), OSError("no file is named"), Exception("of a library\nin two lines"),
    RuntimeError("of a library\nin two lines"), MemoryError(),
    yaml_files.yaml.YAMLError("broken")], ids=lambda error: type(error).__name__)
def test_an_error_without_a_message_names_the_file(monkeypatch, capsys, error):
    """Errors from deep inside are one line, with the file of the command and the place."""
    def fail(path):
        raise error

    monkeypatch.setattr(params, "load", fail)
    assert main(["build", "--params", "own.yaml"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"metarfft: own.yaml: {type(error).__name__} in test_cli_edges.py, line")
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["import sys\nsys.exit(3)\n", "raise SystemExit\n", "\0", "def"])
def test_a_task_file_that_ends_the_process_is_named(tmp_path, capsys, text):
    """A file that asks Python to end, or is none, does not end the command without a word."""
    path = tmp_path / "own.py"
    path.write_text(text)
    assert main(["check", str(path)]) == 2
    assert re.match(rf"metarfft: {path}, line [12]: (SystemExit|SyntaxError): ?.*\n$",
                    capsys.readouterr().err)


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    """Ctrl-C ends a command with one line and the usual status, not with a traceback."""
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(params, "load", interrupt)
    assert main(["build", "--params", "own.yaml"]) == 130
    assert capsys.readouterr().err == "metarfft: interrupted\n"


def test_a_full_disk_behind_a_listing_is_an_error():
    """What could not be written ends the command with a line, and not with success."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", "import sys; from metarfft_core.cli import "
                               "main; sys.exit(main(['sample', 'lc_485']))"], stdout=full,
                              stderr=subprocess.PIPE, text=True,
                              env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    assert done.returncode
    assert done.stderr.startswith("metarfft: metarfft: OSError in cli.py")
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("content", ["{}", "[]", "{", "", "\\xff", '{"shards": 5}', "[" * 50_000,
                                     '{"params_digest": "x"}'])
@pytest.mark.parametrize("name", ["corpus/manifest.json", "pretrain/manifest.json"])
def test_a_damaged_manifest_is_named(run, capsys, name, content):
    """A manifest that was cut off, or lacks a key, is one line that names it or the run."""
    (run.folder / name).write_text(content)
    for command in (["build"], ["train", "--stage", "pretrain"], ["evaluate"],
                    ["report"], ["export", "--as", "results", "--to", str(run.folder / "kept")]):
        status = main([*command, "--params", str(run.folder / "params.yaml")])
        said = capsys.readouterr().err
        assert said.count("\n") == (status > 0), (command, said)
        if status:
            assert str(run.folder) in said, (command, said)


@pytest.mark.parametrize("content", ["5", "[]", "null", '"x"', "\ufeff{}", "[" * 50_000])
def test_a_json_file_without_a_mapping_is_named(run, capsys, content):
    """Results whose description is no mapping are refused by the description's name."""
    about = run.folder / "evaluation" / "direct" / "nupa_length.json"
    about.write_text(content)
    for command in (["report"], ["export", "--as", "results", "--to", str(run.folder / "kept")],
                    ["figures"]):
        assert main([*command, "--params", str(run.folder / "params.yaml")]) in (1, 2)
        said = capsys.readouterr().err
        assert said.startswith(f"metarfft: {about} is damaged"), (command, said)
        assert said.count("\n") == 1


def test_a_key_that_a_file_lacks_names_the_file(tmp_path):
    """What is read of a JSON file knows where it is from, and is otherwise a mapping."""
    path = tmp_path / "manifest.json"
    files.write_json(path, {"a": {"b": 1}})
    found = files.read_json(path)
    assert found == {"a": {"b": 1}}
    assert found.get("c") is None
    with pytest.raises(ValueError, match=f"{path} is damaged, .*: there is no params_digest"):
        _ = found["params_digest"]


@pytest.mark.parametrize(("content", "said"), [
    (None, "No such file"), ("", "is empty"), ("[]\n", "line 1: expected"),
    ("[" * 50_000, "line 1: expected"),
    ('{"prompt": "x"}\n', "line 1: expected")])
@pytest.mark.parametrize("command", [["train", "--stage", "pretrain"], ["run"], ["check-params"]])
def test_a_wrong_mix_file_is_refused_at_once(tmp_path, monkeypatch, capsys, content, said, command):
    """Before the corpus is built, and thus hours before the training that would read it."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    mix, path = tmp_path / "mix.jsonl", tmp_path / "run.yaml"
    if content is not None:
        mix.write_text(content)
    values = tiny_run(models.EMBEDDED).model_dump()
    values["pretraining"]["mix"] = {"file": str(mix), "share": 0.5}
    path.write_text(yaml_files.dump(values))
    assert main([*command, "--params", str(path)]) == 2
    told = capsys.readouterr().err
    assert f"mix.file: {mix}" in told
    assert said in told
    assert not (tmp_path / "outputs").exists()


def test_a_wrong_model_folder_is_refused_in_seconds(tmp_path):
    """A folder without a tokenizer, and one that is no model, are one line each."""
    for name in ("empty", "half"):
        (tmp_path / name).mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    for name, reason in (("empty", "no config.json"), ("half", "no tokenizer.json")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml_files.dump(tiny_run(tmp_path / name).model_dump()))
        start = time.monotonic()
        assert main(["build", "--params", str(path)]) == 2
        assert time.monotonic() - start < 5
        del reason


def test_a_key_that_papermill_would_execute_is_refused_first(tmp_path):
    """Papermill writes the keys of -f into a cell as they are; the check in front of it refuses
    such a file, so nothing is executed."""
    mark, path = tmp_path / "mark", tmp_path / "run.yaml"
    values = made_up_run.plain()
    path.write_text(yaml_files.dump(
        values | {f"zz = 1; open({str(mark)!r}, 'w').close(); yy": 1}))
    check = [sys.executable, "-c", "import sys; from metarfft_core.cli import main;"
             "sys.exit(main(sys.argv[1:]))", "check-params", "--params"]
    done = subprocess.run([*check, path], capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 2
    assert "unknown key" in done.stderr
    path.write_text(yaml_files.dump(values))
    done = subprocess.run([*check, path], capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    text = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    for line in text.split("\n"):
        assert not line.startswith("papermill ") or " -f " not in line
    assert cli.main
