"""One process for many cells: its engine, who gets which cells, and what a failure leaves."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import forked
import made_up_run
import pytest
import vllm_on_cpu
from evaluated_run import TASK, begin, describe, random_model, values
from scripted_server import serve, settings

from metarfft_core import corpus, evaluation, models, params, training
from metarfft_core.evaluation import engines, grid, resident
from metarfft_core.params import Cell
from metarfft_core.system import files
from metarfft_core.system.places import ROOT

METHODS = ["direct", "scratchpad", "vanilla_rfft"]
COUNTED = ("seconds", "launch_seconds")  # of a cell's description, what differs between two runs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        forked.fork_stages(patch)
        yield folder


@pytest.fixture(scope="module")
def prepare(outputs):
    """A function that makes a run of three cells, each with a random model of its own."""
    def prepare(name):
        config = params.check(values(METHODS, [1, 4], 2, 1.0, 8) | {"name": name})
        corpus.build(config)
        for seed, cell in enumerate(config.cells):
            job = training.Job(config, "adapt", cell)
            random_model(job.folder / "model", seed)
            describe(job)
        return config
    return prepare


def _stored(config):
    """What lies in the evaluation's folder of each cell, but for the seconds that it took."""
    found = {}
    for cell in config.cells:
        results = evaluation.path(config, cell)
        about = files.read_json(results.with_suffix(".json"))
        found[str(cell)] = results.read_bytes(), {
            key: value for key, value in about.items() if key not in COUNTED}
    return found


def test_one_process_writes_what_a_process_for_each_cell_writes(prepare, capfd):
    """Cells that share an engine get the same bytes as cells that each have one; the log counts
    the samples of all of them. Two engines take each cell once and write these bytes, too."""
    config = prepare("shared")
    evaluation.launch(config)
    printed = capfd.readouterr().out
    assert "12 of 12 samples" in printed
    shared = _stored(config)
    shutil.rmtree(config.folder / "evaluation")
    for cell in config.cells:
        alone = forked.run(evaluation.main, ["--params", str(config.folder / "params.yaml"),
                                             "--method", cell.method, "--task", cell.task])
        assert alone.returncode == 0, alone.output
    assert _stored(config) == shared
    assert len({rows for rows, _ in shared.values()}) == 3
    shutil.rmtree(config.folder / "evaluation")
    capfd.readouterr()
    evaluation.launch(params.check(made_up_run.change(config.model_dump(), evaluation__workers=2)))
    printed = capfd.readouterr().out
    assert _stored(config) == shared
    for cell in config.cells:
        assert len(re.findall(f"engine [12] of 2\\] {cell}: 4 of 4", printed)) == 1
    assert len(set(re.findall("engine ([12]) of 2", printed))) == 2


def test_a_failed_cell_stops_no_sibling(prepare, capfd):
    """A cell with a row of another sample and one whose file ends the process are named; the third
    is finished. When both are mended, the same command finishes the rest alone."""
    config = prepare("failing")
    cells = {cell.method: cell for cell in config.cells}
    for method, line in (("vanilla_rfft", b'{"length": 1\n'), ("scratchpad", b'{"length": 99}\n')):
        begin(config, cells[method], line)
    with pytest.raises(RuntimeError) as error:
        evaluation.launch(config)
    assert str(error.value).splitlines()[-1] == (
        f"2 of 3 cells failed: scratchpad on {TASK}, vanilla_rfft on {TASK}")
    assert "line 1 is not JSON" in str(error.value)
    assert "line 1 is not an answer to a sample of this cell" in str(error.value)
    assert evaluation.is_finished(config, cells["direct"])
    for method in ("vanilla_rfft", "scratchpad"):
        evaluation.path(config, cells[method]).write_bytes(b"")
    capfd.readouterr()
    evaluation.launch(config)
    assert f"direct on {TASK}: " not in capfd.readouterr().out
    assert len(evaluation.read(config)) == 12


def test_an_api_model_is_asked_though_a_cell_of_ours_fails(outputs):
    """The cell with a row of another sample is named, and every sample of the API model has the
    answer of its server."""
    with serve() as server:
        config = params.check(made_up_run.change(
            values([], [1, 4], 2, 1.0, 8), name="api", evaluation={
                "in_context": ["base_1shot"],
                "api": [settings(server.address, key_variable=None).model_dump()]}))
        corpus.build(config)
        cells = {cell.method: cell for cell in config.cells}
        begin(config, cells["base_1shot"], b'{"length": 99}\n')
        with pytest.raises(RuntimeError, match="line 1 is not an answer") as error:
            evaluation.launch(config)
        assert str(error.value).splitlines()[-1] == f"1 of 2 cells failed: base_1shot on {TASK}"
    assert not files.read_json(evaluation.path(config, cells["base_1shot"]).with_suffix(".json"))[
        "finished"]
    answered = evaluation.read(config, partial=True)
    assert answered.text.to_list() == [f"You said {prompt}" for prompt in answered.prompt]
    assert len(answered) == len(server.requests) == 4


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """A run with cells of the base model and of the RF-pretrained one."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    config = params.check(made_up_run.preset("smoke"))
    pretrained = training.model_folder(config)
    pretrained.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (pretrained / name).touch()
    return config


@pytest.mark.parametrize(("places", "expected"), [(1, 2), (2, 2), (4, 4), (8, 8), (99, 9)])
def test_with_adapters_each_engine_has_one_base_model(planned, monkeypatch, places, expected):
    """Where engines take adapters, no process gets cells of two base models; there are as many as
    places, at least one for each base model and at most one for each cell."""
    monkeypatch.setattr(engines, "takes_adapters", lambda engine: True)
    queues = grid.queues(planned, dict.fromkeys(planned.cells, 1), places)
    cells = [cell for queue in queues for cell in queue.cells]
    assert sorted(map(str, cells)) == sorted(map(str, planned.cells))
    assert sum(queue.processes for queue in queues) == min(expected, len(planned.cells))
    for queue in queues:
        assert len({params.METHODS[cell.method].start for cell in queue.cells}) == 1


@pytest.mark.parametrize("places", [1, 2])
def test_without_adapters_all_cells_share_the_engines(planned, places):
    """Where merged weights are loaded in turn, as many processes as places take the cells, the
    longest first; cells of one model follow each other."""
    sizes = {cell: number for number, cell in enumerate(planned.cells)}
    [changed] = [cell for cell in planned.cells if cell.task.endswith("_cf")]
    sizes[changed] = 0.5
    [queue] = grid.queues(planned, sizes, places)
    assert queue.processes == places
    adapted = queue.cells.index(replace(changed, task="lc_2544"))
    assert queue.cells[adapted + 1] == changed
    rest = [sizes[cell] for cell in queue.cells if cell != changed]
    assert rest == sorted(rest, reverse=True)
    assert len(queue.cells) == len(planned.cells)


def test_a_cell_is_taken_by_one_process(tmp_path):
    """Of two processes that list the same cells each takes the others; a seed is another cell."""
    taken = tmp_path / "taken"
    cells = [Cell("direct", "lc_258", seed) for seed in (0, 1)]
    for got in (True, False):
        assert [resident._take(taken, cell) for cell in cells] == [got, got]
    assert resident.read_taken(taken) == cells


def test_cells_go_on_when_every_engine_has_ended(tmp_path):
    """The cells that none had begun are left for new engines, no more than there are cells. If
    none was begun, all would end again, and none is left."""
    taken = tmp_path / "taken"
    cells = [Cell("direct", "lc_258", seed) for seed in range(4)]
    queue = grid.Queue(cells, 3)
    assert grid._left(queue, taken) == grid.Queue([], 0)
    for cell in cells[:2]:
        resident._take(taken, cell)
    assert grid._left(queue, taken) == grid.Queue(cells[2:], 2)


@pytest.mark.parametrize(("cell", "message"), [
    (["direct", "lc_2544", "x"], "--cell: expected a method, a task and a whole number, got 'x'"),
    (["direct", "lc_2544", "7"], "this run does not evaluate direct on lc_2544 with seed 7")])
def test_a_cell_that_the_run_does_not_have_is_refused(planned, capsys, cell, message):
    """A cell that no run has, or not this one, is one line and exit status 2."""
    file = planned.folder / "params.yaml"
    file.write_text(json.dumps(planned.model_dump()))
    assert evaluation.main(["--params", str(file), "--cell", *cell]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


PROGRAM = """
import json, sys
from pathlib import Path
from metarfft_core import models
from metarfft_core.evaluation import engines
engines.set_environment()
import torch
from transformers import AutoModelForCausalLM
first, second, engine, prompts = json.loads(sys.argv[1])

def collect(generated):
    found = {position: one.token_ids for batch in generated for position, one in batch}
    return [found[position] for position in range(len(prompts))]

limits = [12] * len(prompts)
living = engines.start(Path(first), engine, 4, 512)
tokens = [collect(living.generate(prompts, limits))]
for folder in (second, first):
    living.load(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16))
    tokens.append(collect(living.generate(prompts, limits)))
if engine == "transformers":  # vLLM starts anew in another process, as it did for each cell
    tokens += [collect(engines.generate(Path(folder), prompts, limits, engine, 4))
               for folder in (first, second)]
print("TOKENS" + json.dumps(tokens))
"""


def _tokens(program, *arguments):
    if "vllm" in arguments:
        output = subprocess.run([sys.executable, "-c", program, json.dumps(arguments)], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=os.environ | {"PYTHONPATH": str(ROOT)}).stdout
    else:
        output = forked.run_program(program, json.dumps(arguments)).output
    lines = [line for line in output.splitlines() if line.startswith("TOKENS")]
    if not lines and "vllm" in arguments:
        vllm_on_cpu.skip_if_it_cannot_run()
    assert lines, output[-3000:]
    return json.loads(lines[-1].removeprefix("TOKENS"))


def _prompts():
    return models.encode_prompts(models.load_tokenizer(models.EMBEDDED),
                                 ["Say yes.", "Write the number 7.", "What is 2 + 3?"])


def test_transformers_answers_with_each_weights_as_if_started_with_them(tmp_path):
    """A living engine whose weights change gives the tokens of engines that started with them."""
    folders = [str(random_model(tmp_path / str(seed), seed, True)) for seed in (0, 1)]
    first, second, again, *fresh = _tokens(PROGRAM, *folders, "transformers", _prompts())
    assert [first, second] == fresh
    assert first == again != second


FRESH = """
import json, sys
from pathlib import Path
from metarfft_core.evaluation import engines
folder, engine, prompts = json.loads(sys.argv[1])
found = {position: one.token_ids for batch in
         engines.generate(Path(folder), prompts, [12] * len(prompts), engine, 4)
         for position, one in batch}
print("TOKENS" + json.dumps([found[position] for position in range(len(prompts))]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_vllm_answers_with_each_weights_as_if_started_with_them(tmp_path, tied):
    """The same of vLLM, for models whose output layer shares the embedding and for others."""
    folders = [str(random_model(tmp_path / str(seed), seed, tied)) for seed in (0, 1)]
    first, second, again = _tokens(PROGRAM, *folders, "vllm", _prompts())
    assert [first, second] == [_tokens(FRESH, folder, "vllm", _prompts()) for folder in folders]
    assert first == again != second


ADAPTED = """
import sys
from metarfft_core import params
from metarfft_core.evaluation import resident
config = params.load(sys.argv[1])
sys.exit(resident.evaluate_all(config, config.cells, adapters=True))
"""


@pytest.mark.slow
def test_each_cell_is_answered_with_its_own_adapter(outputs, tmp_path):
    """vLLM on one base model writes the planned rows of two cells. By float32, most texts begin
    with a token that is likely with the cell's adapter merged in, and few with one of the base."""
    base = random_model(tmp_path / "base", 0)
    config = params.check(made_up_run.change(
        values(METHODS[:2], [1, 4], 2, 1.0, 8), name="adapted", adaptation__rank=4,
        model={"name": str(base), "context": 1024}, evaluation={"engine": "vllm"}))
    corpus.build(config)
    for seed, cell in enumerate(config.cells):
        _adapt(training.Job(config, "adapt", cell), base, seed)
    done = subprocess.run([sys.executable, "-c", ADAPTED,
                           str(params.open_folder(config) / "params.yaml")], capture_output=True,
                          text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if done.returncode < 0:
        vllm_on_cpu.skip_if_it_cannot_run()
    assert done.returncode == 0, done.stderr[-3000:]
    rows = evaluation.read(config).to_dict("records")
    begins = {"adapter": [], "base": []}
    for cell in config.cells:
        planned, own = evaluation.plan(config, cell), [row for row in rows
                                                       if row["method"] == cell.method]
        assert [{key: row[key] for key in planned[0]} for row in own] == planned
        with training.weights(config, cell) as merged:
            begins["adapter"] += _begins_likely(merged, own)
        begins["base"] += _begins_likely(base, own)
    assert sum(begins["adapter"]) >= 6 > 2 >= sum(begins["base"])


def _begins_likely(folder, rows):
    """Whether each text begins with a token whose logit is less than 0.5 below the largest."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = models.load_tokenizer(str(folder))
    found = []
    for row, prompt in zip(rows, models.encode_prompts(
            tokenizer, [row["prompt"] for row in rows]), strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([prompt])).logits[0, -1]
        likely = (logits > logits.max() - 0.5).nonzero().flatten().tolist()
        found.append(any(row["text"] == "" if token == tokenizer.eos_token_id else
                         row["text"].startswith(tokenizer.decode([token])) for token in likely))
    return found


def _adapt(job, base, seed):
    """Leave what an adaptation leaves: its adapter, moved away from its start, in both forms."""
    import torch
    from safetensors.torch import load_file, save_file

    from metarfft_core.training.merging import pissa_start_of

    start = pissa_start_of(job, str(base))
    name = "adapter_model.safetensors"
    generator = torch.Generator().manual_seed(seed)
    moved = {key: tensor * (1 + 0.3 * torch.randn(tensor.shape, generator=generator))
             for key, tensor in load_file(start / "adapter" / name).items()}
    trained = job.folder / "trained"
    trained.mkdir(parents=True)
    save_file(moved, trained / name, {"format": "pt"})
    models.save_adapter(start, trained, str(base), job.folder)
    files.write_json(job.manifest, {"params_digest": job.config.digest, "weights": {
        f"adapter/{name}": files.sha256(job.folder / "adapter" / name)}})
