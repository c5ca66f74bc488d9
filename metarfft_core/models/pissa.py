"""PiSSA: the start of a training, the trained adapter, and merged weights (Section 4.1).

The paper uses PiSSA for the 32B model and for every adaptation. A start is computed once for a base
model and a rank, kept with hashes, and shared by all trainings.
"""

import copy
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from metarfft_core.models.chat import load_tokenizer
from metarfft_core.models.hub import model_hash, weights_hash
from metarfft_core.params import ParamsError
from metarfft_core.system.files import (
    read_json,
    sha256,
    whole_folder,
    write_json,
)
from metarfft_core.system.processes import alone

AT_ONCE = 8
"""The most layers that are decomposed at once on a CPU; each takes a few copies of its weights."""


def pissa_start(base: str | Path, rank: int, folder: Path, larger: Path | None = None) -> Path:
    """Compute the PiSSA start of a model, or check one that was computed before.

    The start is a full singular value decomposition of every linear layer except the output layer.
    The paper names only the rank; alpha = rank (PiSSA's own scaling 1) and dropout 0 are our
    assumption.

    A start that is cut from a larger one has, bit for bit, the adapter that a decomposition by the
    same machine would give. Its residual is the same too on a CPU; on a GPU it may differ in the
    last bit of a bfloat16 weight, because a product of matrices may be summed in another order.

    Args:
        base: The folder of the base model.
        rank: The rank of the adapter.
        folder: Where the start is kept, with hashes.
        larger: A start of the same model and a larger rank, to cut this one from.

    Returns:
        `folder`, with `residual/` (a model) and `adapter/`.

    Raises:
        ParamsError: A kept file is damaged, or the start belongs to another base model.
    """
    about = {"base_sha256": weights_hash(base), "model_sha256": model_hash(base), "rank": rank}
    if not folder.exists():  # a start that is there is never waited for
        if larger:
            _check_pissa(larger, about | {"rank": read_json(larger / "manifest.json")["rank"]})
        with alone(folder.parent):
            if not folder.exists():
                _make_pissa(str(base), rank, folder, larger, about)
    _check_pissa(folder, about)
    return folder


def _make_pissa(base: str, rank: int, folder: Path, larger: Path | None, about: dict) -> None:
    """Write a start with its manifest, and say how long it took."""
    import torch

    how = f"Cutting the PiSSA start of rank {rank} from {larger}" if larger else \
        f"Computing the PiSSA start of rank {rank}"
    print(f"{how} into {folder} (once)", flush=True)
    began = time.monotonic()
    with whole_folder(folder) as temporary:
        _compute_pissa(base, rank, temporary, larger)
        files = {path.relative_to(temporary).as_posix(): sha256(path)
                 for path in sorted(temporary.rglob("*"))
                 if path.suffix in (".safetensors", ".json")}
        made = {"seconds": round(time.monotonic() - began, 1),
                "device": "cuda" if torch.cuda.is_available() else "cpu",
                "cut_from_rank": read_json(larger / "manifest.json")["rank"] if larger else None}
        write_json(temporary / "manifest.json", about | {"files": files, "made": made})
    print(f"The PiSSA start of rank {rank} took {made['seconds']:.0f} s", flush=True)


def _compute_pissa(base: str, rank: int, folder: Path, larger: Path | None) -> None:
    """Decompose a model as Meng et al. (arXiv 2404.02948) do, one layer at a time.

    A whole float32 model would not fit on a GPU.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16,
                                                 trust_remote_code=False)
    # The label is not "pissa", because peft would decompose the residual again at every load.
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0,
                                             target_modules="all-linear"))
    kept = _tensors(larger / "adapter") if larger else {}

    def split(named: tuple) -> None:
        name, layer = named
        weight = layer.get_base_layer().weight
        whole = weight.data.to(device, torch.float32)
        first, second = _cut(kept, name, rank, device) if larger else _factors(whole, rank)
        for letter, part in (("lora_A", first), ("lora_B", second)):
            getattr(layer, letter)["default"].weight.data = part.cpu().contiguous()
        weight.data = (whole - second @ first).to("cpu", weight.dtype)

    with _single_threads(1 if device == "cuda" else AT_ONCE) as pool:
        list(pool.map(split, ((name, layer) for name, layer in model.named_modules()
                              if isinstance(layer, LoraLayer))))
    model.save_pretrained(folder / "adapter")
    _sort_modules(folder / "adapter")
    model.unload().save_pretrained(folder / "residual")


@contextmanager
def _single_threads(most: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of at most `most` threads; torch computes with one thread in each.

    A decomposition on a CPU is a long row of small steps, after each of which its threads wait for
    each other. Other programs then make two threads several times slower than one. So several
    layers are decomposed at once, each by one thread, and the bytes do not depend on the number of
    threads.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(threads, most), initializer=torch.set_num_threads,
                                initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _factors(whole, rank: int) -> tuple:
    """Return A and B of PiSSA, from the largest singular values of a weight."""
    import torch

    left, values, right = torch.linalg.svd(whole, full_matrices=False)
    root = values[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def _cut(kept: dict, name: str, rank: int, device: str) -> tuple:
    """Return A and B of a layer as `_factors` does, from those of a larger rank.

    B is laid out column by column, as it comes out of a decomposition, so that the product with A
    is summed in the same order.
    """
    first, second = (kept[f"{name}.{letter}.weight"].to(device) for letter in ("lora_A", "lora_B"))
    return first[:rank].contiguous(), second[:, :rank].t().contiguous().t()


def _sort_modules(folder: Path) -> None:
    """Sort what an adapter's configuration adapts; peft writes it in another order each time."""
    path = folder / "adapter_config.json"
    config = read_json(path)
    write_json(path, config | {"target_modules": sorted(config["target_modules"])})


def _check_pissa(folder: Path, about: dict) -> None:
    manifest = read_json(folder / "manifest.json")
    again = f"delete {folder} and it is computed again"
    # A start that an earlier version of the kit made names the weights alone.
    if any(manifest.get(key, expected) != expected for key, expected in about.items()):
        raise ParamsError(f"{folder} is the PiSSA start of another base model: {again}")
    for name, expected in manifest["files"].items():
        path = folder / name
        got = sha256(path) if path.is_file() else "nothing"
        if got != expected:
            raise ParamsError(f"{path} is damaged (SHA-256 {expected[:12]} expected, "
                              f"got {got[:12]}): {again}")


def load_pissa(start: Path, dtype, **options):
    """Load the model of a PiSSA start, ready to train.

    Args:
        start: A folder that `pissa_start` made.
        dtype: The torch type of the frozen residual; the adapter is in float32.
        **options: Passed to from_pretrained.
    """
    from peft import PeftModel

    residual = _residual(start / "residual", {"dtype": dtype, **options})
    model = PeftModel.from_pretrained(residual, start / "adapter", is_trainable=True)
    # The adapter names the base model that it was computed from; that folder may have moved.
    model.peft_config["default"].base_model_name_or_path = str(start / "residual")
    return model


_kept: dict | None = None  # in `keep_residual`: the newest residual, by its folder and options


@contextmanager
def keep_residual() -> Iterator[None]:
    """In this block, load a start's residual once for all models that follow each other on it.

    Its weights are frozen, so the models share them, on whichever device they are. Everything else
    of a model is its own, because trainers change methods, hooks and settings of what they train.
    """
    global _kept
    _kept = {}
    try:
        yield
    finally:
        _kept = None


def _residual(folder: Path, options: dict):
    """Load a residual, or copy the kept one without its weights."""
    from transformers import AutoModelForCausalLM

    key = (folder, *sorted(options.items(), key=lambda item: item[0]))
    if _kept is not None and key in _kept:
        return _copy(_kept[key])
    if _kept is not None:
        _kept.clear()  # before another one is loaded: there may be memory for one only
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **options)
    if _kept is None:
        return model
    _kept[key] = model
    return _copy(model)


def _copy(model):
    """Copy the modules of a model that share its weights."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def save_adapter(start: Path, trained: Path, base: str, folder: Path) -> None:
    """Write a trained adapter in two forms, with the manifest of its start.

    `folder`/adapter is the trained adapter, unchanged and labelled "pissa". peft loads it on the
    base model and computes the start again; vLLM refuses it. So neither adds it to the wrong
    weights. `folder`/lora is the change against the base model, [B, -B0][A; A0], a plain LoRA of
    twice the rank that both peft and vLLM load.

    Args:
        start: The PiSSA start that was trained from.
        trained: The folder of the trained adapter.
        base: The base model's name, for the adapters' configurations.
        folder: Where to write.

    Raises:
        RuntimeError: The trained tensors are not those of the start.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    before, after = _tensors(start / "adapter"), _tensors(trained)
    if set(before) != set(after) or any(before[name].shape != after[name].shape for name in before):
        raise RuntimeError(f"{trained} holds {len(after)} tensors, expected the {len(before)} of "
                           f"{start / 'adapter'}")
    config = LoraConfig.from_pretrained(start / "adapter")
    config.base_model_name_or_path, config.inference_mode = base, True
    for name, kind, factor in (("adapter", "pissa", 1), ("lora", True, 2)):
        tensors = after if name == "adapter" else _difference(before, after)
        config.init_lora_weights, config.r = kind, factor * config.r
        config.lora_alpha = config.r
        with whole_folder(folder / name) as temporary:
            config.save_pretrained(str(temporary))
            _sort_modules(temporary)
            save_file(tensors, temporary / "adapter_model.safetensors", {"format": "pt"})
    manifest = read_json(start / "manifest.json")
    manifest.pop("made", None)  # its times would make equal adapters differ
    write_json(folder / "adapter" / "start.json", manifest)


def _difference(before: dict, after: dict) -> dict:
    """The tensors of a plain LoRA that adds what training changed: B A - B0 A0."""
    import torch

    tensors = {}
    for name, trained in after.items():
        first = before[name].float()
        both = (trained.float(), first if ".lora_A." in name else -first)
        tensors[name] = torch.cat(both, dim=0 if ".lora_A." in name else 1).contiguous()
    return tensors


def merge_pissa(start: Path, adapter: Path):
    """Merge an adapter into its start's residual, in float32; returns a plain bfloat16 model.

    Raises:
        ParamsError: The adapter's manifest names another start.
    """
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import AutoModelForCausalLM

    told = adapter / "start.json"
    if told.exists() and not _is_start(read_json(told), read_json(start / "manifest.json")):
        raise ParamsError(f"{adapter} was trained from another PiSSA start than {start}: on this "
                          "one it would give wrong weights")
    config = LoraConfig.from_pretrained(adapter)
    config.init_lora_weights = True  # with "pissa", peft would decompose the residual again
    model = AutoModelForCausalLM.from_pretrained(start / "residual", dtype=torch.float32,
                                                 trust_remote_code=False)
    model = PeftModel.from_pretrained(model, adapter, config=config).merge_and_unload()
    return model.to(torch.bfloat16)


def _is_start(told: dict, start: dict) -> bool:
    """Whether two manifests are those of one start; one of an earlier version names fewer files."""
    return told["rank"] == start["rank"] and all(
        start["files"].get(name) == expected for name, expected in told["files"].items())


def save(model, base: str | Path, folder: Path, fallback: str | None = None) -> None:
    """Write a plain model, whole or not at all, with the tokenizer and chat template of `base`.

    `fallback` is the kit's template for a base without one, as `load_tokenizer` takes it.
    """
    with whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        load_tokenizer(str(base), fallback).save_pretrained(temporary)


def change_full(base: Path, trained: Mapping) -> float:
    """How far full fine-tuning moved the weights: |trained - base| / |base|, over all tensors."""
    moved = square = 0.0
    for name, before in _each(base):
        square += before.float().square().sum().item()
        if name in trained:
            moved += (trained[name].float() - before.float()).square().sum().item()
    return (moved / square) ** 0.5


def change_pissa(base: Path, start: Path, adapter: Path) -> float:
    """How far a PiSSA training moved the weights: |BA - B0 A0| / |base|, over all layers."""
    before, after = _tensors(start / "adapter"), _tensors(adapter)
    moved = 0.0
    for name in before:
        if ".lora_A." in name:
            other = name.replace(".lora_A.", ".lora_B.")
            product = after[other].float() @ after[name].float()
            moved += (product - before[other] @ before[name]).square().sum().item()
    return (moved / _square_of(str(base), weights_hash(base))) ** 0.5


@cache
def _square_of(base: str, _: str) -> float:
    """The sum of the squared weights of a model folder with this hash, read once in a process."""
    return _square(_tensors(Path(base)))


def _tensors(folder: Path) -> dict:
    return dict(_each(folder))


def _each(folder: Path) -> Iterator[tuple]:
    """Yield the names and tensors of a folder, one in memory at a time."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                yield name, file.get_tensor(name)


def _square(tensors: dict) -> float:
    return sum(tensor.float().square().sum().item() for tensor in tensors.values())
