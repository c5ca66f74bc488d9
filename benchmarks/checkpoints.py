"""What a checkpoint of a sharded full fine-tuning costs, gathered and in shards.

    python benchmarks/checkpoints.py [--millions 50]

Two CPU processes (gloo) share a Qwen2 model of random weights with AdamW's state (FSDP). Both roads
write the same state to a temporary folder, one after the other, three times each; the medians are
printed.

gathered: what transformers and accelerate do with FULL_STATE_DICT, and the kit did before: the
    first process gathers the weights twice and the optimizer's state once, writes them,
    and hashes the files one after another. The training waits for all of it.
shards: `training.process.trainer.CheckpointWriter`. The training waits for the copy alone.
"""

import argparse
import json
import socket
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import distributed
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from transformers import Qwen2Config, Qwen2ForCausalLM

from metarfft_core.system import files
from metarfft_core.training.process import checkpoints
from metarfft_core.training.process.trainer import CheckpointWriter, Trainer

REPEATS, PROCESSES = 3, 2


def model_of(millions: float) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Return a sharded model of about that many million weights, and AdamW with its state."""
    torch.manual_seed(0)
    width = 512
    layer = 4 * width**2 + 3 * width * 4 * width
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=1000, hidden_size=width, intermediate_size=4 * width, num_attention_heads=8,
        num_key_value_heads=8, num_hidden_layers=max(1, round(millions * 1e6 / layer))))
    for module in (*model.model.layers, model):
        fully_shard(module)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.arange(8)[None]
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()
    return model, optimizer


def gathered(model, optimizer, folder: Path) -> dict[str, float]:
    """Write as transformers and accelerate do, then hash the files in turn."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    began, first = time.monotonic(), distributed.get_rank() == 0
    for name in ("model.safetensors", "pytorch_model_fsdp.bin"):
        state = get_model_state_dict(model, options=options)
        if first and name.endswith("safetensors"):
            model.save_pretrained(folder, state_dict=state)
        elif first:
            torch.save(state, folder / name)
    state = get_optimizer_state_dict(model, optimizer, options=options)
    if first:
        torch.save(state, folder / "optimizer.bin")
    distributed.barrier()
    written = time.monotonic()
    if first:
        for path in folder.iterdir():
            files.all_sha256([path], anew=True)
    distributed.barrier()
    ended = time.monotonic()
    return {"waits": ended - began, "hashing": ended - written, "all": ended - began}


def shared(model, optimizer, folder: Path, writer: CheckpointWriter) -> dict[str, float]:
    """Write as the kit does, in the background."""
    trainer = SimpleNamespace(
        model=model, optimizer=optimizer, writer=writer, best=None,
        state=SimpleNamespace(best_global_step=None, global_step=1),
        control=SimpleNamespace(should_training_stop=False))
    began = time.monotonic()
    writer.write(folder, Trainer._resumed_from(trainer))
    waited = time.monotonic()
    writer.wait()
    distributed.barrier()
    ended = time.monotonic()
    checkpoints.hashes(folder, distributed.get_rank())
    distributed.barrier()
    return {"waits": waited - began, "hashing": time.monotonic() - ended, "all": ended - began}


def measure(rank: int, port: int, millions: float, root: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank,
                                   world_size=PROCESSES)
    model, optimizer = model_of(millions)
    writer = CheckpointWriter(in_background=True)
    found: dict[str, list[dict]] = {"gathered": [], "shards": []}
    for number in range(REPEATS):
        for road in found:
            folder = Path(root) / road / f"checkpoint-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "trainer_state.json").write_text(f'{{"global_step": {number}}}')
            distributed.barrier()
            made = (gathered(model, optimizer, folder) if road == "gathered"
                    else shared(model, optimizer, folder, writer))
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            found[road].append(made | {"megabytes": size / 1e6})
    if rank == 0:
        weights = sum(weight.numel() for weight in model.parameters())
        print(f"{weights / 1e6:.1f} million weights, {PROCESSES} processes")
        for road, made in found.items():
            print(json.dumps({"road": road} | {
                key: round(statistics.median(one[key] for one in made), 3) for key in made[0]}))
    distributed.barrier()
    distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--millions", type=float, default=50.0)
    millions = parser.parse_args().millions
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as root:
        torch.multiprocessing.spawn(measure, (port, millions, root), nprocs=PROCESSES)


if __name__ == "__main__":
    main()
