"""PiSSA: the start of a training, the trained adapter, and merged weights (Section 4.1).

The paper uses PiSSA for the 32B model and for every adaptation. A start is computed once for a base
model and a rank, kept with hashes, and shared by all trainings.
"""

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


def pissa_start(base: str | Path, rank: int, folder: Path) -> Path:
    """Compute the PiSSA start of a model, or check one that was computed before.

    The start is a full singular value decomposition of every linear layer except the output layer.
    The paper names only the rank; alpha = rank (PiSSA's own scaling 1) and dropout 0 are our
    assumption.

    Args:
        base: The folder of the base model.
        rank: The rank of the adapter.
        folder: Where the start is kept, with hashes.

    Returns:
        `folder`, with `residual/` (a model) and `adapter/`.

    Raises:
        ParamsError: A kept file is damaged, or the start belongs to another base model.
    """
    about = {"base_sha256": weights_hash(base), "model_sha256": model_hash(base), "rank": rank}
    with alone(folder.parent):
        if not folder.exists():
            print(f"Computing the PiSSA start of rank {rank} into {folder} (once)", flush=True)
            with whole_folder(folder) as temporary:
                _compute_pissa(str(base), rank, temporary)
                files = {path.relative_to(temporary).as_posix(): sha256(path)
                         for path in sorted(temporary.rglob("*"))
                         if path.suffix in (".safetensors", ".json")}
                write_json(temporary / "manifest.json", about | {"files": files})
    _check_pissa(folder, about)
    return folder


def _compute_pissa(base: str, rank: int, folder: Path) -> None:
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
    for layer in (part for part in model.modules() if isinstance(part, LoraLayer)):
        weight = layer.get_base_layer().weight
        whole = weight.data.to(device, torch.float32)
        left, values, right = torch.linalg.svd(whole, full_matrices=False)
        root = values[:rank].sqrt()
        second, first = left[:, :rank] * root, root[:, None] * right[:rank]
        for name, part in (("lora_A", first), ("lora_B", second)):
            getattr(layer, name)["default"].weight.data = part.cpu().contiguous()
        weight.data = (whole - second @ first).to("cpu", weight.dtype)
    model.save_pretrained(folder / "adapter")
    _sort_modules(folder / "adapter")
    model.unload().save_pretrained(folder / "residual")


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
    from transformers import AutoModelForCausalLM

    residual = AutoModelForCausalLM.from_pretrained(start / "residual", dtype=dtype,
                                                    trust_remote_code=False, **options)
    model = PeftModel.from_pretrained(residual, start / "adapter", is_trainable=True)
    # The adapter names the base model that it was computed from; that folder may have moved.
    model.peft_config["default"].base_model_name_or_path = str(start / "residual")
    return model


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
    write_json(folder / "adapter" / "start.json", read_json(start / "manifest.json"))


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
                          "one it would be wrong")
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


def change_full(base: Path, trained: Path) -> float:
    """How far full fine-tuning moved the weights: |trained - base| / |base|, over all tensors."""
    before, after = _tensors(base), _tensors(trained)
    moved = sum((after[name].float() - tensor.float()).square().sum().item()
                for name, tensor in before.items() if name in after)
    return (moved / _square(before)) ** 0.5


def change_pissa(base: Path, start: Path, adapter: Path) -> float:
    """How far a PiSSA training moved the weights: |BA - B0 A0| / |base|, over all layers."""
    before, after = _tensors(start / "adapter"), _tensors(adapter)
    moved = 0.0
    for name in before:
        if ".lora_A." in name:
            other = name.replace(".lora_A.", ".lora_B.")
            product = after[other].float() @ after[name].float()
            moved += (product - before[other] @ before[name]).square().sum().item()
    return (moved / _square(_tensors(base))) ** 0.5


def _tensors(folder: Path) -> dict:
    from safetensors.torch import load_file

    return {name: tensor for path in sorted(folder.glob("*.safetensors"))
            for name, tensor in load_file(path).items()}


def _square(tensors: dict) -> float:
    return sum(tensor.float().square().sum().item() for tensor in tensors.values())
