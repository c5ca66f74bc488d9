"""A model is its weights, its configuration and its tokenizer: what is kept of one is not taken for
another, nothing in its folder is executed, and what is written of it has the same bytes each time.
"""

import ast
import os
import platform
import re
import subprocess
import sys

import forked
import pytest
from safetensors.torch import load_file
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, models, params, training
from metarfft_core.cli import main
from metarfft_core.evaluation import cells
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system import files, yaml_files
from metarfft_core.training import merging

ROOT = files.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Outputs of the test's own; the cache too, with the embedded model that is there."""
    embedded = models.resolve(models.EMBEDDED)
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / os.path.basename(embedded)).symlink_to(embedded)


def _changed(folder, name="config.json", **values):
    path = folder / name
    files.write_json(path, files.read_json(path) | values)
    return folder


def _job(model, method="vanilla_rfft"):
    run = tiny_run(model)
    return training.Job(run, "adapt", Cell(method, "lc_2544", run.seed))


@pytest.mark.parametrize("change", [
    {"rms_norm_eps": 0.5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}}])
def test_the_same_weights_with_another_configuration_are_another_model(tmp_path, change):
    """Two folders that differ in config.json alone get PiSSA starts of their own, and each start's
    residual has the configuration of its folder."""
    one, two = write_tiny(tmp_path / "one"), _changed(write_tiny(tmp_path / "two"), **change)
    assert models.weights_hash(one) == models.weights_hash(two)
    starts = [merging.pissa_start_of(_job(folder), str(folder)) for folder in (one, two)]
    assert starts[0] != starts[1]
    key, value = next(iter(change.items()))
    found = [files.read_json(start / "residual" / "config.json")[key] for start in starts]
    assert found[0] != value
    assert found[1] == value


def test_another_tokenizer_is_another_model(tmp_path):
    """A start in a given place is refused for a folder whose tokenizer differs."""
    one, two = write_tiny(tmp_path / "one"), write_tiny(tmp_path / "two")
    _changed(two, "tokenizer_config.json", eos_token="<|im_start|>")
    start = models.pissa_start(one, 4, tmp_path / "start")
    assert models.pissa_start(one, 4, start) == start
    with pytest.raises(ParamsError, match="the PiSSA start of another base model"):
        models.pissa_start(two, 4, start)


def test_the_start_of_an_earlier_version_is_still_read(tmp_path):
    """A start and an adapter whose manifests name the weights alone stay usable."""
    base = write_tiny(tmp_path / "one")
    start = models.pissa_start(base, 4, tmp_path / "start")
    adapter = tmp_path / "made"
    models.save_adapter(start, start / "adapter", "base", adapter)
    for path in (start / "manifest.json", adapter / "adapter" / "start.json"):
        about = files.read_json(path)
        del about["model_sha256"]
        about["files"] = {name: value for name, value in about["files"].items()
                          if name.endswith("safetensors")}
        files.write_json(path, about)
    assert models.pissa_start(base, 4, start) == start
    models.merge_pissa(start, adapter / "adapter")


def test_results_of_the_base_model_belong_to_its_configuration(tmp_path):
    """A finished evaluation of the base model is refused if config.json is another one now, and
    accepted if an earlier version did not record it."""
    folder = write_tiny(tmp_path / "model")
    values = tiny_run(folder).model_dump()
    values["evaluation"]["in_context"] = ["base_1shot"]
    config, cell = params.check(values), Cell("base_1shot", "lc_2544", 0)
    corpus.build(config)
    results = cells.path(config, cell)
    results.parent.mkdir(parents=True)
    results.touch()
    about = cells.header(config, cell) | {"finished": True, "rows": 0,
                                          "sha256": files.sha256(results)}
    files.write_json(results.with_suffix(".json"), about)
    assert cells.is_finished(config, cell)
    _changed(folder, rms_norm_eps=0.5)
    with pytest.raises(ParamsError, match="was made with other model: "):
        cells.is_finished(config, cell)
    files.write_json(results.with_suffix(".json"),
                     {key: value for key, value in about.items() if key != "model"})
    assert cells.is_finished(config, cell)


@pytest.mark.parametrize("command", [["build"], ["train", "--stage", "pretrain"]])
def test_a_folder_with_pytorch_files_alone_is_refused_at_once(tmp_path, capsys, command):
    """Its hash would be that of nothing, and every such folder would share one start."""
    import torch

    folder = write_tiny(tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    path = tmp_path / "run.yaml"
    path.write_text(yaml_files.dump(tiny_run(folder).model_dump()))
    capsys.readouterr()
    assert main([*command, "--params", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"model.name: {folder} has no weights in safetensors files" in said
    assert "pytorch_model.bin" in said
    assert not (tmp_path / "outputs").exists()
    with pytest.raises(ParamsError, match="no weights in safetensors"):
        models.weights_hash(folder)


@pytest.mark.parametrize("shard", [
    "model-00001-of-00001.safetensors", "../other.safetensors", "sub/own.safetensors",
    "pytorch_model.bin", 5, None])
def test_an_index_names_whole_files_of_its_folder_alone(tmp_path, shard):
    """A shard that lacks, lies elsewhere or has another form is refused before it is missed."""
    folder = write_tiny(tmp_path / "model")
    weights = folder / "model.safetensors"
    (folder / "sub").mkdir()
    for path in ("../other.safetensors", "sub/own.safetensors", "pytorch_model.bin"):
        (folder / path).write_bytes(weights.read_bytes())
    own = weights.rename(folder / "own.safetensors")
    index = folder / "model.safetensors.index.json"
    files.write_json(index, {"weight_map": {"a": own.name, "b": own.name}})
    assert models.resolve(str(folder)) == str(folder)
    files.write_json(index, {"weight_map": {"a": own.name, "b": shard}})
    with pytest.raises(ParamsError, match=re.escape(f"{index} names {shard!r}, which is no")):
        models.resolve(str(folder), weights=False)
    files.write_json(index, {"weight_map": {} if shard else []})
    with pytest.raises(ParamsError, match="names no weights"):
        models.weights_hash(folder)


def test_weights_that_transformers_would_pass_over_are_refused(tmp_path):
    """Beside safetensors of another name it would read pytorch_model.bin, which is not hashed."""
    folder = write_tiny(tmp_path / "model")
    weights = folder / "model.safetensors"
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert models.resolve(str(folder)) == str(folder)
    weights.rename(folder / "consolidated.safetensors")
    with pytest.raises(ParamsError, match="no weights in safetensors"):
        models.resolve(str(folder))


def test_an_adapter_is_no_model(tmp_path):
    """transformers would load the model that the adapter names, which is not in the folder."""
    folder = write_tiny(tmp_path / "model")
    files.write_json(folder / "adapter_config.json", {"base_model_name_or_path": "/elsewhere"})
    with pytest.raises(ParamsError, match="has an adapter"):
        models.resolve(str(folder))


ADAPTER = """
import sys
from metarfft_core import models
start = models.pissa_start(sys.argv[1], 4, __import__("pathlib").Path(sys.argv[2]) / "start")
models.save_adapter(start, start / "adapter", "base", start.parent / "made")
models.load_tokenizer(sys.argv[1]).save_pretrained(start.parent / "made" / "tokenizer")
"""


def test_equal_runs_write_equal_bytes(tmp_path):
    """Neither the order of a set nor a network changes what is written of a model; only the seconds
    of its decomposition differ. One process hashes texts as it likes and may use the network, the
    other has a fixed hash and is offline."""
    base, written = write_tiny(tmp_path / "model"), []
    made = forked.run_program(ADAPTER, str(base), str(tmp_path / "0"))
    assert made.returncode == 0, made.output
    subprocess.run([sys.executable, "-c", ADAPTER, base, tmp_path / "1"], check=True, env={
        **os.environ, "PYTHONHASHSEED": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)})
    for folder in (tmp_path / "0", tmp_path / "1"):
        written.append({path.relative_to(folder): re.sub(rb'"seconds": [\d.]+', b"",
                                                         path.read_bytes())
                        for path in sorted(folder.rglob("*.json"))})
    assert written[0].keys() == written[1].keys()
    differing = [str(path) for path in written[0] if written[0][path] != written[1][path]]
    assert differing == []


# ----------------------------------------------------------------------- code in the folder


CODE = """
from pathlib import Path
Path("{mark}").touch()
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Config(LlamaConfig): model_type = "own"
class Model(LlamaForCausalLM): config_class = Config
class Tokenizer(PreTrainedTokenizerFast): pass
"""


def test_code_of_a_model_folder_never_runs(tmp_path):
    """A folder whose configuration and tokenizer ask for its own code is refused or loaded without
    it, whatever is on the standard input."""
    folder, mark = write_tiny(tmp_path / "model"), tmp_path / "mark"
    (folder / "own.py").write_text(CODE.format(mark=mark))
    _changed(folder, model_type="own", architectures=["Model"], auto_map={
        "AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    _changed(folder, "tokenizer_config.json", tokenizer_class="Tokenizer",
             auto_map={"AutoTokenizer": [None, "own.Tokenizer"]})
    path = tmp_path / "run.yaml"
    path.write_text(yaml_files.dump(tiny_run(folder).model_dump()))
    tries = ["from metarfft_core.cli import main; main(['build', '--params', sys.argv[2]])",
             "from pathlib import Path; from metarfft_core import models;"
             "models.pissa_start(sys.argv[1], 4, Path(sys.argv[1]) / 'start')",
             "from metarfft_core.evaluation import engines;"
             "list(engines.generate(sys.argv[1], [[1, 2]], [4], 'transformers', 1))"]
    code = "import sys, traceback\n" + "".join(
        f"try: {one}\nexcept Exception: traceback.print_exc()\n" for one in tries)
    done = subprocess.run([sys.executable, "-c", code, folder, path], input="y\n" * 9, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert not mark.exists(), done.stderr[-2000:]


def test_no_model_is_loaded_with_its_own_code():
    """Each call that loads a model or a tokenizer of transformers, vLLM or lm-eval says so."""
    files_of_code = [*(ROOT / "metarfft_core").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    calls = [(path, call) for path in files_of_code
             for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(call, ast.Call) and re.fullmatch(
                 r"EngineArgs|HFLM|Auto\w+\.from_pretrained", ast.unparse(call.func))]
    assert len(calls) >= 8
    for path, call in calls:
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert given.get("trust_remote_code") == "False", (path, call.lineno)


def test_started_processes_have_no_standard_input(tmp_path):
    """A process of a stage reads nothing from the terminal, so no question is answered there."""
    code = f"import sys; open({str(tmp_path / 'read')!r}, 'w').write(repr(sys.stdin.read()))"
    script = ("from metarfft_core.system.processes import Command, follow; import sys;"
              f"follow(Command([sys.executable, '-c', {code!r}], 'x'))")
    subprocess.run([sys.executable, "-c", script], input="y\n", text=True, check=True,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (tmp_path / "read").read_text() == "''"


# ----------------------------------------------------------------------- what a kill leaves


def test_the_next_evaluation_deletes_what_a_kill_left(tmp_path):
    """Merged weights of a dead process go, whichever cell they were for, and those of a container
    that is gone after a day; those of a live process and of another machine today stay."""
    job = _job(write_tiny(tmp_path / "model"))
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], text=True,
                          capture_output=True, check=True).stdout.strip()
    here = platform.node()
    names = {"dead": f".merged.{here}.{dead}.tmp", "inside": f"..merged.{here}.1.tmp.{here}.1.tmp",
             "live": f".merged.{here}.{os.getpid()}.tmp", "old": ".model.f00.7.tmp",
             "today": ".model.f01.7.tmp", "foreign": ".lock"}
    for name in names.values():
        (job.folder / name).mkdir(parents=True)
        (job.folder / name / "model.safetensors").write_bytes(b"x")
    for path in (job.folder / names["old"], job.folder / names["old"] / "model.safetensors"):
        os.utime(path, (0, 0))
    training.clean(job.config)
    left = {path.name for path in job.folder.iterdir()}
    assert left == {names[name] for name in ("inside", "live", "today", "foreign")}
