"""Weights and optimizer states in shards: each process writes and reads what it holds.

The format is that of torch.distributed.checkpoint. What some processes wrote, any other number of
them can read, with or without FSDP.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from metarfft_core.system.files import naming


def trained(model) -> dict:
    """Return the trained weights of a model by name, not copied: whole ones, or this process's."""
    state = model.state_dict()  # spreads what FSDP has gathered for a validation
    return {name: state[name] for name, weight in model.named_parameters() if weight.requires_grad}


def copied(state: dict) -> dict:
    """Return a copy of a nested state in host memory, which training does not change."""
    import torch
    from torch.utils._pytree import tree_map_only

    return tree_map_only(torch.Tensor, lambda tensor: tensor.detach().to("cpu", copy=True), state)


def optimizer_state(model, optimizer) -> dict:
    """Return the state of an optimizer by the names of the weights."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    return get_optimizer_state_dict(model, optimizer)


def save(state: dict, folder: Path, group=None) -> None:
    """Write a nested state; returns once the shards of all processes are on the disk.

    Args:
        state: Tensors by names, in parts: whole ones, or this process's shards.
        folder: A new folder.
        group: The processes that write together, if there are several. They must be able to
            exchange objects in host memory (gloo).

    Raises:
        OSError: Names the folder; on all processes if one of them cannot write.
    """
    import torch.distributed.checkpoint as dcp

    # One file for each process: DCP loses the errors of further threads, and their tensors.
    writer = dcp.FileSystemWriter(folder, thread_count=1)
    with naming(folder), nullcontext() if group else _quiet():
        try:
            dcp.save(state, storage_writer=writer, process_group=group, no_dist=group is None)
        except dcp.CheckpointException as failed:  # no Exception, and it hides what failed
            raise next(iter(failed.failures.values()))[0] from failed


def load(state: dict, folder: Path, alone: bool = False) -> None:
    """Read into the tensors of a nested state, which may hold a part of what was written.

    Each tensor is rounded to the type that it is read into, and one is in memory at a time.

    Args:
        state: What to read, as it is held here.
        folder: Where `save` wrote.
        alone: Whether this process reads by itself, though others may run.
    """
    import torch.distributed.checkpoint as dcp

    with _quiet():
        dcp.load(state, checkpoint_id=folder, no_dist=alone)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that a single process works alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def load_optimizer(model, optimizer, folder: Path) -> None:
    """Read the state of an optimizer."""
    from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict

    state = {"optimizer": optimizer_state(model, optimizer)}
    load(state, folder)
    set_optimizer_state_dict(model, optimizer, state["optimizer"])


class Weights(Mapping):
    """The tensors of one part of a state that `save` wrote, whole, by name; each is read when used.

    Args:
        folder: Where `save` wrote.
        part: The part's name, such as "model".
    """

    def __init__(self, folder: Path, part: str):
        self.folder, self.part = folder, part
        self._index = _index(folder)  # kept: to read it takes longer than to read a tensor
        self._stored = {name.removeprefix(f"{part}."): about
                        for name, about in self._index.state_dict_metadata.items()
                        if name.startswith(f"{part}.")}

    def __getitem__(self, name: str):
        return self._read([name])[name]

    def _read(self, names: Iterable[str]) -> dict:
        """Return the tensors of these names."""
        import torch
        import torch.distributed.checkpoint as dcp

        state = {name: torch.empty(about.size, dtype=about.properties.dtype)
                 for name, about in ((name, self._stored[name]) for name in names)}
        reader = dcp.FileSystemReader(self.folder)
        reader.read_metadata = lambda: self._index
        with _quiet():
            dcp.load({self.part: state}, storage_reader=reader, no_dist=True)
        return state

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def write_adapter(self, folder: Path) -> None:
        """Write all tensors, those of a peft model, as peft names an adapter's in a file."""
        from safetensors.torch import save_file

        tensors = {name.replace(".default.", "."): tensor
                   for name, tensor in self._read(self).items()}
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})


def load_full(base: str | Path, about: Path, trained: Weights):
    """Return a bfloat16 model with trained weights instead of those of `base`.

    Args:
        base: The model's folder.
        about: A folder with the configuration of the trained model.
        trained: All weights of the model; they are read one after another.

    Raises:
        RuntimeError: The trained weights are not those of the model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    config = AutoConfig.from_pretrained(about, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(base, config=config, dtype=torch.bfloat16,
                                                 trust_remote_code=False)
    if (about / "generation_config.json").exists():
        model.generation_config = GenerationConfig.from_pretrained(about)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    if weights.keys() != trained.keys():
        raise RuntimeError(f"{trained.folder} holds {len(trained)} tensors, expected the "
                           f"{len(weights)} of {base}")
    load({trained.part: weights}, trained.folder, alone=True)
    return model


def parts(folder: Path) -> set[str]:
    """Return the names of the parts of a state that `save` wrote."""
    return {name.partition(".")[0] for name in _index(folder).state_dict_metadata}


def _index(folder: Path):
    """Return DCP's index of a folder: where each tensor lies, with its size and type."""
    import torch.distributed.checkpoint as dcp

    return dcp.FileSystemReader(folder).read_metadata()
