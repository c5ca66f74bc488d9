"""The plan of a run: tokens, steps, operations, memory and what is said where it does not fit."""

import json
import math
import re
import runpy
import subprocess
import sys

import pytest
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, models, params, training
from metarfft_core.models import memory, operations
from metarfft_core.planning import assumptions, counting, display, overheads, plan
from metarfft_core.system.places import ROOT
from metarfft_core.training import batches

BENCHMARK = ROOT / "benchmarks" / "plan.py"
TOLERANCE = 0.15
"""What is asked of the estimate of memory. No rounding is in it: the sizes that are allocated do
not depend on the order of sums."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a small Llama model with the embedded tokenizer."""
    return write_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=["7b", "32b"])
def large(request):
    """The plan of a large run, by one sample of each length."""
    return plan.plan(params.load(ROOT / "params" / f"{request.param}.yaml"), samples=1)


def changed(run, section, **values):
    """A run with other values in a section."""
    given = run.model_dump()
    given[section] |= values
    return params.check(given)


@pytest.fixture(scope="module")
def lean():
    """RF-pretraining of 7B as its file has it, on fewer lengths with more samples of each, and
    little to adapt to and to evaluate."""
    values = params.read(ROOT / "params" / "7b.yaml")
    values["corpus"]["pretrain"] |= {"lengths": [1, 8, 15], "samples_per_length": 1500}
    values["corpus"]["in_context"] |= {"lengths": [1, 8, 15], "samples_per_length": 1500}
    for part in ("adaptation", "adaptation_validation", "evaluation"):
        values["corpus"][part]["lengths"] = [1, 2]
    values["corpus"]["adaptation"]["tasks"] = ["nupa_length"]
    values["adaptation"] |= {"methods": ["vanilla_rfft"], "further": [], "steps": 60}
    values["evaluation"] |= {"in_context": ["meta_1shot"], "counterfactual": []}
    return params.check(values)


def row(made, stage, method=None):
    """The first row of a stage and method."""
    rows = made.stages[made.stages.stage == stage]
    return (rows if method is None else rows[rows.method == method]).iloc[0]


@pytest.mark.parametrize(("family", "tied"), [("Qwen2", False), ("Llama", True)])
def test_the_shape_counts_what_transformers_and_peft_make(tmp_path, family, tied):
    """Parameters of the model and of an adapter are those of the real modules."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    config = getattr(transformers, f"{family}Config")(
        vocab_size=1000, hidden_size=96, intermediate_size=256, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=tied)
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = getattr(transformers, f"{family}ForCausalLM")(config)
        model.tie_weights()
    shape = memory.shape(tmp_path)
    assert shape.parameters == sum(one.numel() for one in model.parameters())
    adapted = get_peft_model(model, LoraConfig(r=5, target_modules="all-linear"))
    assert shape.adapter(5) == adapted.get_nb_trainable_parameters()[0]


def test_known_shapes_have_the_published_sizes():
    """The table of known models gives the parameter counts that their makers publish."""
    assert {name: shape.parameters for name, shape in memory.KNOWN.items()} == {
        "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512, "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
        "meta-llama/Llama-3.1-8B": 8_030_261_248, "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
        "allenai/Llama-3.1-Tulu-3.1-8B": 8_030_326_784, models.EMBEDDED: 134_515_008}
    assert memory.shape(models.resolve(models.EMBEDDED)) == memory.KNOWN[models.EMBEDDED]


def test_another_family_is_refused(tmp_path):
    """A model that is neither a Llama nor a Qwen2 is refused by its type."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(params.ParamsError, match=r"llama and qwen2.*gpt2"):
        memory.shape(tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("case", ["full", "pissa", *(
    pytest.param(name, marks=pytest.mark.slow) for name in
    ("full-layer", "pissa-layer", "full-bfloat16", "pissa-bfloat16"))])
def test_memory_is_what_a_training_takes(case):
    """The estimate is within 15% of the memory that a small training with the kit's own trainer
    took of the system, libraries not counted; full-layer and pissa-layer are small in logits."""
    [measured] = runpy.run_path(str(BENCHMARK))["run"]([case])
    assert measured["estimated"] == pytest.approx(measured["taken"], rel=TOLERANCE)


def test_full_fine_tuning_is_spread_over_a_node(lean):
    """Weights, gradients and AdamW of 7B are 16 bytes a parameter, an eighth on each of 8 GPUs, and
    no less on each of 32."""
    shape = memory.KNOWN["Qwen/Qwen2.5-7B-Instruct"]
    parts = memory.training(memory.Load(shape, None, 8000, 6000, shards=8))
    assert parts.weights + parts.gradients + parts.optimizer == 2 * shape.parameters
    assert 16e9 < parts.total < 30e9
    one, four = (row(plan.plan(lean, processes=size, samples=1), "pretrain") for size in (8, 32))
    assert four.weights == pytest.approx(one.weights)
    assert four.compute_hours == one.compute_hours
    assert four.gpu_hours == pytest.approx(32 * four.hours)


def test_large_runs_are_planned(large):
    """7B and 32B are planned with the paper's GPUs, steps and hours."""
    pretrain = row(large, "pretrain")
    assert (pretrain.processes, pretrain.steps, pretrain.paper_low) in \
        {(8, 800, 144.0), (32, 700, 713.6)}
    assert pretrain.samples == 256 * pretrain.steps
    adaptations = large.stages[large.stages.stage == "adapt"]
    assert len(adaptations) == len(large.config.trainings)
    assert set(adaptations.steps) == {156}
    assert large.stages.fits.all()
    assert not large.problems


def test_large_runs_are_shown(large):
    """The text holds every stage and method, says how tokens were counted, and fits 100 columns."""
    text = display.show(large)
    assert "tokens counted with its tokenizer" in " ".join(text.split())
    assert "Everything fits." in text
    for name in ("RF-pretraining", *(f"adapt {method}" for method in
                                     large.config.adaptation.methods), "adapt, all", "eval, all"):
        assert len(re.findall(rf"^ *{re.escape(name)} ", text, re.MULTILINE)) >= 2
    assert [line for line in text.splitlines() if len(line) > 100 or line.endswith("\\")] == []


def test_the_first_line_is_the_sum_of_the_hours(large):
    """The first line gives the GPU hours of all rows, and of training and evaluation alone."""
    stages = large.stages
    hours = [stages.gpu_hours.sum(), stages[stages.stage != "evaluation"].gpu_hours.sum(),
             stages[stages.stage == "evaluation"].gpu_hours.sum()]
    numbers = re.findall(r"\d+(?:\.\d+)?", display.show(large).splitlines()[0])[:3]
    assert [float(number) for number in numbers] == pytest.approx(hours, rel=0.01)
    assert hours[0] == pytest.approx(hours[1] + hours[2])


def test_hours_follow_from_operations(large):
    """GPU hours are all operations over the stated share of the peak, and the waiting. All GPUs
    work at once, but for the one that decomposes a model (32B) before the others begin."""
    pretrain = row(large, "pretrain")
    operations = pretrain.flops + pretrain.recomputed_flops + pretrain.validation_flops
    assert pretrain.compute_hours == pytest.approx(operations / (0.40 * 989e12) / 3600)
    assert pretrain.gpu_hours == pretrain.compute_hours + pretrain.waiting_hours
    alone = overheads.starts(training.jobs(large.config), large.shape)[0] / 3600
    assert pretrain.hours * pretrain.processes == pytest.approx(
        pretrain.gpu_hours + (pretrain.processes - 1) * alone)


def test_recomputation_is_a_third_or_a_half(large):
    """Gradient checkpointing runs the layers forward again: 2 on top of 6 where weights are
    trained, on top of 4 where they are frozen; the output head is not run again. 7B fits without,
    32B does not."""
    for one in (row(large, "pretrain"), row(large, "adapt", "meta_rfft")):
        assert one.recompute == (large.config.name == "32b")
        again = 0.9 < one.recomputed_flops / one.flops * 2 <= 1.0
        assert again if one.recompute else one.recomputed_flops == 0
        assert one.recompute == (one.without > memory.ROOMY * memory.USABLE * 80)


def test_the_micro_batch_that_needs_no_recomputation(lean):
    """The named micro_batch_size trains without recomputation, and the next larger one does not."""
    made = row(plan.plan(lean, processes=8, gpu_memory_gib=48, samples=1), "pretrain")
    assert made.recompute
    assert 0 < made.room < made.micro_batch_size
    for size, recomputed in ((made.room, False), (2 * made.room, True)):
        run = changed(lean, "pretraining", micro_batch_size=int(size))
        again = row(plan.plan(run, processes=8, gpu_memory_gib=48, samples=1), "pretrain")
        assert again.recompute == recomputed
    text = display.show(plan.plan(lean, processes=8, gpu_memory_gib=48, samples=1))
    assert re.search(rf"RF-pretraining +8 +{made.without:.2f} +yes +{made.room}$", text, re.M)


def test_each_model_is_decomposed_once_on_one_gpu(large):
    """The first training on a model waits for its decomposition, which takes one GPU; another rank
    of this model (32B: 32, then 8) is cut, which takes a reading and a writing of the weights."""
    full = large.config.pretraining.method == "full"
    seconds, weights = overheads.decomposition(large.shape), 2 * large.shape.parameters
    cut = weights / assumptions.READ + weights / assumptions.WRITE
    jobs = training.jobs(large.config)
    found = {job.name: start for job, start in zip(
        jobs, overheads.starts(jobs, large.shape), strict=True) if start}
    assert sorted(found.values()) == sorted([seconds, seconds] if full else [seconds, seconds, cut])
    assert next(iter(found)).split()[0] == ("adapt" if full else "pretrain")
    pretrain = row(large, "pretrain")
    waiting = overheads.trained(jobs[0], large.shape, pretrain.steps, pretrain.processes,
                                memory.NODE)
    alone = 0 if full else seconds
    assert pretrain.waiting_hours * 3600 == pytest.approx(waiting * pretrain.processes + alone)
    assert pretrain.hours * 3600 == pytest.approx(
        pretrain.compute_hours * 3600 / pretrain.processes + waiting + alone)


def test_adaptations_of_a_gpu_start_once(large, monkeypatch):
    """98 adaptations on one GPU each pay for eight processes of each of the two models; on four
    GPUs each, every one pays for its own."""
    for name in ("READ", "WRITE"):
        monkeypatch.setattr(assumptions, name, math.inf)
    jobs = [job for job in training.jobs(large.config) if job.stage == "adapt"]
    for processes, starts in ((1, 2 * memory.NODE), (4, 98)):
        waiting = sum(overheads.trained(job, large.shape, 1, processes, 1) for job in jobs)
        assert waiting == pytest.approx(starts * assumptions.TRAINING_START)


def test_engines_start_for_base_models_not_for_cells(large):
    """All evaluations together wait for as many engines as a node runs at once; nothing is merged,
    neither in memory nor on the disk."""
    size, weights = large.config.evaluation.tensor_parallel, 2 * large.shape.parameters
    rows = large.stages[large.stages.stage == "evaluation"]
    seconds = assumptions.ENGINE_START + weights / assumptions.READ
    assert len(large.config.cells) > 8
    assert rows.waiting_hours.sum() == pytest.approx(8 // size * size * seconds / 3600)
    assert (rows.checkpoints == 0).all()
    assert rows.host.tolist() == pytest.approx([weights / 1e9] * len(rows))


def test_without_adapters_each_cell_loads_merged_weights(large):
    """The engine transformers starts as often, and waits for each adapted cell's weights."""
    config = large.config.model_copy(update={"evaluation": large.config.evaluation.model_copy(
        update={"engine": "transformers", "tensor_parallel": 1})})
    method, weights = "vanilla_rfft", 2 * large.shape.parameters
    cells = sum(cell.method == method for cell in config.cells)
    apart = overheads.engines(config, large.shape, method) - overheads.engines(
        config.model_copy(update={"evaluation": config.evaluation.model_copy(
            update={"engine": "vllm"})}), large.shape, method)
    assert apart == pytest.approx(cells * weights / assumptions.READ)
    assert overheads.of_evaluation(config, large.shape, method)["host"] == pytest.approx(
        4 * large.shape.parameters / 1e9 * min(8, cells))


def test_a_checkpoint_has_the_bytes_of_its_files(tmp_path):
    """An unsharded checkpoint is the trained float32 weights and AdamW's two averages."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=1000, hidden_size=96, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=False)).float()
    model.config.save_pretrained(tmp_path)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimizer.step()
    model.save_pretrained(tmp_path / "checkpoint")
    torch.save(optimizer.state_dict(), tmp_path / "checkpoint" / "optimizer.pt")
    size = sum(path.stat().st_size for path in (tmp_path / "checkpoint").iterdir())
    expected = overheads.checkpoint(memory.shape(tmp_path), None)
    assert size == pytest.approx(expected, rel=0.02)


def test_a_sharded_training_waits_for_copies_and_for_its_last_weights():
    """Of a checkpoint at each hundredth of 800 steps, seven are copied by the eight processes, 12
    bytes for each weight; the last weights, 4, and the model, 2, are written while the GPUs wait.
    The disk holds three checkpoints, with the best weights beside those of another step."""
    job = training.Job(params.load(ROOT / "params" / "7b.yaml"), "pretrain")
    shape = memory.KNOWN["Qwen/Qwen2.5-7B-Instruct"]
    seconds = overheads.trained(job, shape, 800, processes=8, shards=8)
    assert seconds == pytest.approx(
        assumptions.TRAINING_START + 2 * shape.parameters / assumptions.READ
        + 7 * 12 * shape.parameters / 8 / assumptions.COPY
        + 6 * shape.parameters / assumptions.WRITE)
    disk = overheads.of_training(job, shape, 8, sharded=True)["checkpoints"]
    assert disk == pytest.approx(3 * 16 * shape.parameters / 1e9)


def test_the_longest_sample_is_in_the_fullest_micro_batch(large):
    """No planned micro batch is shorter than the longest sample that was counted."""
    trained = large.stages[large.stages.stage != "evaluation"]
    assert (trained.micro_batch >= trained.longest).all()


def test_operations_are_those_that_torch_counts(tmp_path):
    """Forward and backward of a real model take the operations that PyTorch's own counter sees in
    its matrix products; causal attention counts half of the square."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import Qwen2Config, Qwen2ForCausalLM

    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=1000, hidden_size=96, intermediate_size=256, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=False,
        attn_implementation="eager"))
    ids = torch.arange(64)[None]
    with FlopCounterMode(display=False) as counter:
        model(ids, labels=ids).loss.backward()
    sizes = operations.of_model(model)
    # Eager attention computes the whole square. Norms and biases, which are no products, are 1%.
    expected = sizes.training(64, 64, 2 * 64**2)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_the_share_of_the_peak_in_the_log(tmp_path):
    """The log's MFU is the operations of a step's samples over its seconds and the GPUs' peak; it
    is null without a GPU."""
    from metarfft_core.training.process import trainer

    log = trainer.Log(tmp_path / "log.jsonl", 2, 1.0, [10, 30], [4, 5], 0.0)
    log.took, log.peak = [2.0], None
    assert log._mfu([10, 30], 9) is None
    log.operations, log.peak = operations.Operations(1000, 500, 100, False, 10), 1e6
    done = 8000 * 40 + 400 * 9 + 60 * (10**2 + 30**2)  # 6 x 1000 + 4 x 500 for a token
    assert log._mfu([10, 30], 9) == pytest.approx(done / 2.0 / 1e6, abs=1e-4)


@pytest.mark.parametrize("method", [{"method": "full", "rank": None}, {}])
def test_operations_are_those_of_the_log(tiny, method):
    """A plan counts the operations from the shape as the trainer's log does from the real model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    run = tiny_run(tiny, **method)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    if not method:
        model = get_peft_model(model, LoraConfig(r=run.pretraining.rank,
                                                 target_modules="all-linear"))
    pretrain = row(plan.plan(run), "pretrain")
    sizes = operations.of_model(model)
    squares = pretrain.attention_flops / (6 * sizes.attention)
    assert squares > pretrain.tokens**2 / pretrain.samples  # samples differ in length
    assert pretrain.flops == pytest.approx(sizes.training(pretrain.tokens, pretrain.trained_tokens,
                                                          squares))


def test_tokens_are_those_of_the_corpus(tiny, monkeypatch, tmp_path):
    """Where every sample is counted, the plan gives the tokens and steps that training loads."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = tiny_run(tiny, epochs=1)
    corpus.build(run)
    job = training.Job(run, "pretrain")
    loaded = batches.load_training(job, models.load_tokenizer(str(tiny)))
    data, order = loaded.samples, loaded.order
    planned = row(plan.plan(run, samples=5), "pretrain")
    assert planned.samples == len(order) == 20  # all of them, once
    assert planned.tokens == sum(data["tokens"])
    assert planned.trained_tokens == sum(data["completion_tokens"])
    assert planned.longest == max(data["tokens"])
    assert planned.micro_batch >= planned.longest


def test_general_data_counts_with_its_share(tiny, tmp_path):
    """Mixed samples raise the mean tokens by their share, and a missing file is named."""
    file = tmp_path / "general.jsonl"
    line = {"prompt": "Say this word often.", "completion": "word " * 300}
    file.write_text(json.dumps(line) + "\n")
    alone = row(plan.plan(tiny_run(tiny)), "pretrain")
    mix = {"file": str(file), "share": 0.25}
    made = row(plan.plan(tiny_run(tiny, mix=mix)), "pretrain")
    other = models.token_counter(str(tiny))(line["prompt"], line["completion"])
    expected = 0.75 * alone.tokens / alone.samples + 0.25 * other
    # Both plans give whole tokens.
    assert made.tokens == pytest.approx(expected * made.samples, abs=0.5 + 0.5 * 0.75)
    with pytest.raises(params.ParamsError, match=r"nowhere\.jsonl"):
        plan.plan(tiny_run(tiny, mix=mix | {"file": str(tmp_path / "nowhere.jsonl")}))


def test_equal_trained_tokens_take_more_steps(tiny):
    """Where baselines train on as many tokens, direct answers take many more steps, and train on
    what rule-following does; with equal samples all take the same steps."""
    run = tiny_run(tiny)
    assert set(plan.plan(run).stages.query("stage == 'adapt'").steps) == {7}
    equal = plan.plan(changed(run, "adaptation", equal="trained_tokens"))
    direct, ruled = row(equal, "adapt", "direct"), row(equal, "adapt", "vanilla_rfft")
    assert ruled.steps == 7
    assert direct.steps > 50
    # It takes whole steps: the last one may go beyond.
    assert ruled.trained_tokens <= direct.trained_tokens + 1
    assert direct.trained_tokens - ruled.trained_tokens < direct.trained_tokens / direct.steps + 1


@pytest.mark.parametrize(("machine", "said"), [
    ({"processes": 0}, "processes: expected a number of GPUs from 1, got 0"),
    ({"processes": -1}, "processes: expected a number of GPUs from 1, got -1"),
    ({"gpu_memory_gib": 0.0}, "gpu_memory: expected the GiB of a GPU, a finite number above 0"),
    ({"gpu_memory_gib": -1.0}, "above 0, got -1"),
    ({"gpu_memory_gib": math.nan}, "above 0, got nan"),
    ({"gpu_memory_gib": math.inf}, "above 0, got inf")])
def test_a_machine_that_there_cannot_be_is_refused(tiny, machine, said):
    """A notebook that plans for such a machine gets the line that the command gives."""
    with pytest.raises(params.ParamsError, match=said):
        plan.plan(tiny_run(tiny), **machine)


def test_an_estimate_is_near_the_count():
    """Without the tokenizer, tokens come within 8% of SmolLM2's, in every format and in sum. That
    is asked of the estimate; both are whole numbers, the same on any machine."""
    run = params.load(ROOT / "params" / "7b.yaml")
    counted = counting.Counter(run, 1, models.resolve(models.EMBEDDED))
    estimated = counting.Counter(run, 1, None)
    asked = [(run.corpus.pretrain.tasks, [1, 5, 10, 15], "pretrain", "rfft"),
             *((run.corpus.adaptation.tasks, [1, 5, 15, 30], "evaluation", format)
               for format in ("direct", "scratchpad", "rfft", "rfft_nl"))]
    for each in asked:
        tokens, completions = ([sum(column) for column in
                                zip(*counter.of_tasks(*each), strict=True)]
                               for counter in (estimated, counted))
        assert tokens == pytest.approx(completions, rel=0.08)


@pytest.mark.parametrize(("processes", "gib"), [(2, 48), (4, 32), (1, 24)])
def test_what_is_said_to_fit_fits(lean, processes, gib):
    """A training that does not fit is named with its memory, and each remedy makes it fit."""
    made = plan.plan(lean, processes=processes, gpu_memory_gib=gib, samples=1)
    assert not row(made, "pretrain").fits
    assert row(made, "pretrain").total > memory.USABLE * gib
    [problem] = [one for one in made.problems if one.startswith("RF-pretraining")]
    assert f"PROBLEM: {problem}" in " ".join(display.show(made).split())
    remedies = problem.partition("it would fit with ")[2].split(" or with ")
    assert remedies != [""]
    for remedy in remedies:
        words = remedy.split()
        other, count = lean, processes
        if words[-1] == "processes":
            count = int(words[0])
        elif words[0] == "micro_batch_size":
            other = changed(lean, "pretraining", micro_batch_size=int(words[1]))
        else:
            other = changed(lean, "pretraining", method="pissa", rank=int(words[-1]))
        again = plan.plan(other, processes=count, gpu_memory_gib=gib, samples=1)
        assert row(again, "pretrain").fits, remedy


def test_a_smaller_micro_batch_is_offered(lean):
    """Where activations alone are too many, the largest micro_batch_size that fits is named."""
    run = changed(lean, "pretraining", micro_batch_size=32)
    [problem] = plan.plan(run, processes=8, gpu_memory_gib=32, samples=1).problems
    size = int(problem.partition("micro_batch_size ")[2].split()[0])
    assert size in (8, 16)
    for micro, fits in ((size, True), (2 * size, False)):
        again = changed(lean, "pretraining", micro_batch_size=micro)
        assert row(plan.plan(again, processes=8, gpu_memory_gib=32, samples=1),
                   "pretrain").fits == fits


def test_a_batch_that_does_not_divide_is_a_problem(lean):
    """Processes among which the batch cannot be spread are refused as the launch would."""
    [problem] = plan.plan(lean, processes=3, samples=1).problems
    assert "3 processes" in problem
    assert "can be 1, 2, 4, 8, 16, 32" in problem


def test_an_unknown_model_is_refused(tiny):
    """A model without config.json that is not in the table is refused, with those that are."""
    run = changed(tiny_run(tiny), "model", name="no-such-organisation/no-such-model-7B")
    with pytest.raises(params.ParamsError, match=r"model\.name.*Qwen/Qwen2\.5-32B-Instruct"):
        plan.plan(run)


def test_importing_does_nothing():
    """Importing the plan loads neither torch nor transformers nor pandas."""
    program = ("import sys, metarfft_core.planning.plan; "
               "print({'torch', 'transformers', 'pandas', 'datasets'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"


def test_jobs_have_half_as_much_time_again_as_the_plan(large):
    """The time limits of the SLURM scripts are at least 1.5 times the plan's hours on nodes."""
    limit = {name: int(re.search(r"--time=(\d+):00:00\n", (
        ROOT / "params" / "slurm" / f"{name}.sh").read_text())[1])
        for name in ("one_node", "four_nodes")}
    pretrain, whole = row(large, "pretrain"), display.node_hours(large)
    if pretrain.processes > memory.NODE:
        assert limit["four_nodes"] >= 1.5 * pretrain.hours
    assert 1.5 * whole <= limit["one_node"] <= 10 * whole
