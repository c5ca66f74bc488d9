"""`task_files`: tasks of a user's file in every process of a run, and what is refused."""

import pickle
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from tiny_model import tiny_run, write_tiny

from metarfft_core import cli, corpus, evaluation, params, tasks, training
from metarfft_core.params import ParamsError
from metarfft_core.params.loading import merge
from metarfft_core.system import yaml_files
from metarfft_core.system.files import read_json
from metarfft_core.system.places import ROOT

TASK = '''
from {helper} import AGAIN
from metarfft_core import tasks


@tasks.task("{id}", source="own", split="own", length="number of items")
class {name}:
    """The number of ones in a list."""

    question = "How many ones are in {{nums}}?"

    def rule(nums):
        count = 0
        while nums:
            num = nums.pop(0)
            if num == 1:
                count += 1
        return count

    def sample(rng, length):
        return {{"nums": [rng.randint(0, AGAIN) for _ in range(length)]}}
'''


@pytest.fixture
def own(tmp_path, request):
    """A file of a task with a name that no other test has, and a helper beside it."""
    number = abs(hash(request.node.nodeid)) % 10**9
    file = tmp_path / f"own_{number}.py"
    (tmp_path / f"helper_{number}.py").write_text("AGAIN = 1\n")
    file.write_text(TASK.format(helper=f"helper_{number}", id=f"own_{number}",
                                name=f"CountOnes{number}"))
    return file


def values_of(model, file, **more):
    """A run of a file's task, with one method."""
    return merge(tiny_run(model).model_dump(), {
        "name": "own", "task_files": [str(file)], "corpus": {
            "workers": 2, "adaptation": {"tasks": [file.stem]}},
        "adaptation": {"methods": ["vanilla_rfft"], "steps": 2}, **more})


def elsewhere(code):
    """What a fresh process prints, and what it says of its error."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    return done.stdout, done.stderr


def test_a_run_of_a_users_task_is_built_trained_and_evaluated(own, tmp_path, monkeypatch, capfd):
    """The corpus' workers, the training and the evaluation are processes of their own, and each
    knows the task; the corpus' manifest holds the file's hash, and the first process names it."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    forked.fork_stages(monkeypatch)
    run = params.check(values_of(write_tiny(tmp_path / "model"), own))
    assert f"loads code from {own}\n" in capfd.readouterr().err
    corpus.build(run)
    training.launch_all(run)
    evaluation.launch(run)
    rows = evaluation.read(run)
    assert set(rows.task) == {own.stem}
    [made] = read_json(run.folder / "corpus" / "manifest.json")["params"]["task_files"]
    assert made == {"file": str(own), "sha256": run.task_files[0].sha256}
    for row in rows.itertuples():
        assert int(row.gold_answer) == row.inputs.count("1")


def test_the_stored_parameters_refuse_a_changed_file(own, tmp_path):
    """A fresh process that reads a run's parameters executes nothing if the file, or a file that it
    imports, is another one; the digest differs, too."""
    path = tmp_path / "run.yaml"
    run = params.check(values_of("SmolLM2-135M-Instruct", own))
    path.write_text(yaml_files.dump(run.model_dump()))
    code = f"from metarfft_core import params; print(params.load({str(path)!r}).digest)"
    assert elsewhere(code)[0] == f"{run.digest}\n"
    helper = own.with_name(own.name.replace("own", "helper"))
    helper.write_text(f"AGAIN = 1; open({str(tmp_path / 'executed')!r}, 'w')\n")
    told = elsewhere(code)[1]
    assert f"task_files.0: {own} has changed since this run was made (SHA-256 " in told
    assert not (tmp_path / "executed").exists()
    path.write_text(yaml_files.dump(run.model_dump() | {"task_files": [str(own)]}))
    assert elsewhere(code)[0].strip() != run.digest
    assert (tmp_path / "executed").exists()


def test_parameters_that_a_process_is_sent_bring_their_tasks(own, tmp_path):
    """Unpickled parameters, as a worker gets them, register the tasks."""
    run = params.check(values_of("SmolLM2-135M-Instruct", own))
    sent = tmp_path / "sent"
    sent.write_bytes(pickle.dumps(run))
    out, error = elsewhere(
        "import pickle; from metarfft_core import tasks; "
        f"run = pickle.load(open({str(sent)!r}, 'rb')); print(tasks.get({own.stem!r}).id)")
    assert (out, error) == (f"{own.stem}\n", f"loads code from {own}\n")


def test_a_file_is_executed_once_in_a_process(own, tmp_path, capfd):
    """The same file in a second check is not executed again; a changed one asks for a restart."""
    own.write_text(own.read_text() + f"\nopen({str(tmp_path / 'times')!r}, 'a').write('x')\n")
    values = values_of("SmolLM2-135M-Instruct", own)
    first, second = params.check(values), params.check(values)
    assert first.digest == second.digest
    assert (tmp_path / "times").read_text() == "x"
    assert capfd.readouterr().err.count("loads code from") == 1
    own.write_text(own.read_text() + "# more\n")
    with pytest.raises(ParamsError, match="has changed since this process executed it"):
        params.check(values)


def test_a_command_names_the_code_that_it_loads(own, tmp_path, capfd):
    """`check-params` names the file on standard error, and the run on standard output."""
    path = tmp_path / "run.yaml"
    path.write_text(yaml_files.dump(values_of("SmolLM2-135M-Instruct", own)))
    assert cli.main(["check-params", "--params", str(path)]) == 0
    told = capfd.readouterr()
    assert told.err == f"loads code from {own}\n"
    assert "the parameters of run own, digest " in told.out


def test_the_projects_parameter_files_name_no_code():
    """No parameter file of the project has the key, so none of them executes anything."""
    assert not [path for path in (ROOT / "params").glob("*.yaml") if "task_files" in
                params.read(path)]


@pytest.mark.parametrize(("text", "message"), [
    (None, "expected a Python file that declares tasks, but there is no such file"),
    ("x = (", "invalid syntax|was never closed"),
    ("x = 1", "declares no task"),
    (TASK.format(helper="sys", id="lc_258", name="CountAgain").replace("import AGAIN", "import path"
                                                                       " as AGAIN"),
     "lc_258")])
def test_a_wrong_file_is_one_line_with_its_name(tmp_path, text, message):
    """A missing file, one that is no Python or declares nothing, and an id of the kit's are refused
    with the file's name, and the tasks that then lack are not listed as well."""
    file = tmp_path / "wrong.py"
    if text:
        file.write_text(text)
    with pytest.raises(ParamsError, match=message) as caught:
        params.check(values_of("SmolLM2-135M-Instruct", file), "here")
    assert str(caught.value).startswith(f"here: task_files.0: {file}")
    assert "\n" not in str(caught.value)
    assert "no task 'wrong'" not in str(caught.value)
    assert tasks.get("lc_258").name == "add_digits"


def test_a_path_stays_in_the_project_or_is_absolute():
    """A relative path that leaves the project is refused before anything is read."""
    with pytest.raises(ParamsError, match="expected a path in the project's folder or an absolute"):
        params.check(values_of("SmolLM2-135M-Instruct", Path("..") / "own.py"))
