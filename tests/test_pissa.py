"""What a PiSSA training leaves behind: the merged weights, the plain LoRA and the adapter agree."""

import json
import shutil

import greedy
import pytest
import rounding
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_model import PRODUCTS, TERMS, tiny_run, write_tiny
from transformers import AutoModelForCausalLM

from metarfft_core import corpus, models, training
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system.places import ROOT
from metarfft_core.training.process import checkpoints, worker

LINEAR_LAYERS = 2 * 7  # the tiny model's: four of attention and three of the MLP, twice
RANK = 4
SAME = rounding.float32(2 * PRODUCTS, TERMS)
"""Of float32 logits: an adapter adds two products to each layer, in a row of their own."""


def _job(run):
    return training.Job(run, "adapt", Cell("vanilla_rfft", "lc_2544", run.seed))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run adapted with a learning rate that moves the weights far, its base and its folder."""
    base = write_tiny(tmp_path_factory.mktemp("tiny") / "model")
    run = tiny_run(base, learning_rate=0.05, scheduler="constant", warmup_ratio=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        patch.setenv("METARFFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        corpus.build(run)
        folder = training.train(_job(run))
        [start] = (models.cache_folder() / "pissa").glob("*-4")
        yield run, base, folder, start


@torch.no_grad()
def logits(model):
    return model.float().eval()(torch.arange(40)[None] * 37 % 4000, use_cache=False).logits


def load(path, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


def test_merged_lora_and_adapter_are_the_trained_weights_rounded_once(trained):
    """The merged weights, the plain LoRA on the base and the PiSSA adapter loaded by peft on the
    base have the trained model's weights, but for one rounding to bfloat16: of the merged weights,
    or of the residual, which was trained on as rounded. Each computes with them, to float32's
    rounding, and its logits are ten times nearer to the trained ones than the base's are.
    """
    run, base, folder, start = trained
    config = models.load_pissa(start, torch.float32).peft_config["default"]
    with training.weights(run, _job(run).cell) as merged:
        ways = {"merged": load(merged)}
    ways["lora"] = PeftModel.from_pretrained(load(base), folder / "lora")
    ways["adapter"] = PeftModel.from_pretrained(load(base), folder / "adapter")
    ways["trained"] = PeftModel.from_pretrained(load(start / "residual"), folder / "adapter",
                                                config=config)
    found, weights = {}, {}
    for name, model in ways.items():
        found[name] = logits(model)
        plain = model.merge_and_unload() if isinstance(model, PeftModel) else model
        assert rounding.apart(logits(plain), found[name]) < SAME, name
        weights[name] = rounding.linear(plain)
    residual, original = rounding.linear(load(start / "residual")), rounding.linear(load(base))
    for layer, expected in weights.pop("trained").items():
        values = torch.linalg.svdvals(original[layer].double())
        again = rounding.truncated(values, max(expected.shape), RANK)  # peft decomposes it anew
        for name, rounded, more in (("merged", expected, 0), ("lora", residual[layer], 0),
                                    ("adapter", residual[layer], again)):
            limit = (rounding.once_in_bfloat16(rounded) + more
                     + rounding.float32(1, 2 * RANK) * expected.norm())
            assert ((weights[name][layer] - expected).abs() <= limit).all(), (name, layer)
    expected = found.pop("trained")
    nearest = rounding.apart(logits(load(base)), expected) / 10
    assert {name for name, got in found.items()
            if rounding.apart(got, expected) > nearest} == set()


def test_the_plain_lora_is_pefts_own_conversion(trained, tmp_path):
    """The exported LoRA adds to the base what peft's conversion of the adapter adds, to the
    rounding of float32."""
    _, base, folder, start = trained
    model = models.load_pissa(start, torch.float32)
    own = load_file(folder / "adapter" / "adapter_model.safetensors")
    model.load_state_dict({name.replace(".weight", ".default.weight"): tensor
                           for name, tensor in own.items()}, strict=False)
    model.peft_config["default"].init_lora_weights = "pissa"
    # peft writes into the folder that it converts from, so it gets a copy.
    first = shutil.copytree(start / "adapter", tmp_path / "first")
    model.save_pretrained(tmp_path / "peft", path_initial_model_for_weight_conversion=str(first))
    theirs = logits(PeftModel.from_pretrained(load(base), tmp_path / "peft"))
    ours = logits(PeftModel.from_pretrained(load(base), folder / "lora"))
    assert rounding.apart(ours, theirs) < SAME


def test_adapters_hold_every_layer_once_and_say_what_they_are(trained):
    """Two tensors a linear layer; the PiSSA one is labelled so that no one adds it to the base."""
    _, _, folder, _ = trained
    ranks = {}
    for name in ("adapter", "lora"):
        tensors = load_file(folder / name / "adapter_model.safetensors")
        assert len(tensors) == 2 * LINEAR_LAYERS
        config = json.loads((folder / name / "adapter_config.json").read_text())
        ranks[name] = (config["init_lora_weights"], config["r"], config["lora_alpha"])
    assert ranks == {"adapter": ("pissa", 4, 4), "lora": (True, 8, 8)}
    assert not (folder / "model").exists()


def test_an_adapter_with_missing_tensors_is_not_written(trained, tmp_path):
    """An empty or partial adapter, as some sharded trainings leave, is refused with the counts."""
    _, base, folder, start = trained
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    tensors.pop(next(iter(tensors)))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(RuntimeError, match="holds 27 tensors, expected the 28"):
        models.save_adapter(start, tmp_path, str(base), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_start_is_refused(trained, tmp_path):
    """Merged on another start than its own, an adapter would be wrong, and is refused."""
    _, base, folder, _ = trained
    other = shutil.copytree(base, tmp_path / "model")
    model = load(other)
    model.model.layers[0].mlp.up_proj.weight.data += 0.1
    model.to(torch.bfloat16).save_pretrained(other)
    start = models.pissa_start(other, 4, tmp_path / "pissa")
    with pytest.raises(ParamsError, match="was trained from another PiSSA start"):
        models.merge_pissa(start, folder / "adapter")


def test_export_writes_merged_weights_once(trained, tmp_path):
    """The exported folder loads as a plain model with its tokenizer; an existing one stays."""
    run, _, _, _ = trained
    folder = training.export(_job(run), tmp_path / "merged")
    with training.weights(run, _job(run).cell) as merged:
        assert models.weights_hash(folder) == models.weights_hash(merged)
    assert models.load_tokenizer(str(folder)).chat_template
    with pytest.raises(ParamsError, match="exists"):
        training.export(_job(run), folder)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
@pytest.mark.parametrize("name", ["shards/__0_0.distcp", "shards/.metadata"])
def test_a_damaged_checkpoint_is_named_and_refused(trained, tmp_path, monkeypatch, damage, name):
    """A checkpoint with a changed byte, a cut file or a missing one stops the resume with that
    file's name, before the model is loaded."""
    run, _, _, _ = trained
    outputs = shutil.copytree(run.folder.parent, tmp_path / "outputs")
    monkeypatch.setenv("METARFFT_OUTPUTS", str(outputs))
    folder = training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed)).folder
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_finish", lambda *_, **__: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            training.train(training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed)))
    checkpoint = checkpoints.last(folder / "checkpoints")
    path = checkpoint / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[:-100])
    else:
        path.unlink()
    with pytest.raises(ParamsError, match=f"{path} is damaged or missing"):
        training.train(training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed)))
    shutil.rmtree(checkpoint)
    training.train(training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed)))


@pytest.mark.slow
def test_vllm_serves_the_plain_lora_and_the_merged_weights_alike(trained, tmp_path):
    """vLLM loads the exported LoRA on the original base and generates what it does from the
    merged weights; or both take tokens that the rounding of the merged weights tells apart."""
    import subprocess
    import sys

    run, base, folder, _ = trained
    merged = training.export(_job(run), tmp_path / "merged")
    program = """
import sys
from metarfft_core.evaluation import engines
engines.set_environment()
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest
base, merged, lora = sys.argv[1:]
prompt = {"prompt_token_ids": [1, 400, 900, 1500, 2000]}
settings = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True, detokenize=False)
options = dict(dtype="float32", max_model_len=64, enforce_eager=True, skip_tokenizer_init=True,
               kv_cache_memory_bytes=2**27, generation_config="vllm")
if lora:
    engine = LLM(model=base, enable_lora=True, max_lora_rank=8, **options)
    [out] = engine.generate([prompt], settings, lora_request=LoRARequest("a", 1, lora))
else:
    engine = LLM(model=merged, **options)
    [out] = engine.generate([prompt], settings)
print("TOKENS", list(out.outputs[0].token_ids))
"""
    found = []
    for lora in (str(folder / "lora"), ""):
        done = subprocess.run([sys.executable, "-c", program, str(base), str(merged), lora],
                              capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        [line] = [line for line in done.stdout.splitlines() if line.startswith("TOKENS")]
        found.append(tuple(json.loads(line.removeprefix("TOKENS"))))
    if found[0] != found[1]:
        plain = PeftModel.from_pretrained(load(base), folder / "lora")
        greedy.assert_likeliest(plain.eval(), load(merged).eval(), [[1, 400, 900, 1500, 2000]] * 2,
                                greedy.upto(*found))
