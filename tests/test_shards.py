"""Checkpoints in shards: what is written, hashed and read again, by one process and by two."""

import json
import socket
import threading
from concurrent import futures
from types import SimpleNamespace

import forked
import pytest
import torch
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from metarfft_core import models
from metarfft_core.models import shards
from metarfft_core.params import ParamsError
from metarfft_core.system.files import sha256
from metarfft_core.training.process import checkpoints
from metarfft_core.training.process.trainer import CheckpointWriter, Trainer

TOKENS = torch.arange(40).reshape(2, 20) % 32


def tiny():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=32, hidden_size=16, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False))


def step(model, optimizer):
    """One step on the same samples, whatever the number of processes."""
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def trainer_of(model, optimizer, writer, **state):
    """What `Trainer._resumed_from` looks at."""
    told = {"best_global_step": None, "global_step": 2} | state
    return SimpleNamespace(
        model=model, optimizer=optimizer, writer=writer, best=None,
        state=SimpleNamespace(**told), control=SimpleNamespace(should_training_stop=False))


def write_sharded(rank, port, folder):
    """Two steps, a validation, a checkpoint in the background, and a third step meanwhile."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = tiny()
    for module in (*model.model.layers, model):
        fully_shard(module)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(2):
        step(model, optimizer)
    with torch.no_grad():
        model(input_ids=TOKENS)  # leaves what is outside the layers gathered
    writer = CheckpointWriter(in_background=True)
    checkpoint = folder / "checkpoint-2"
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / f"rng_state_{rank}.pth").write_text(str(rank))
    (checkpoint / "trainer_state.json").write_text('{"global_step": 2}')
    released = threading.Event()  # holds the writing until the next step is done
    writer._thread.submit(released.wait)
    writer.write(checkpoint, Trainer._resumed_from(trainer_of(model, optimizer, writer)))
    step(model, optimizer)
    assert not (checkpoint / "hashes.json").exists()
    released.set()
    writer.wait()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A checkpoint after two steps that two processes with half of a model each have written."""
    folder = tmp_path_factory.mktemp("sharded")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [forked.SERVER.Process(target=write_sharded, args=(rank, port, folder))
                 for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return folder / "checkpoint-2"


def test_one_process_reads_what_two_wrote(sharded):
    """Weights and optimizer state of a whole model are those of two steps, not of the third; a
    third step from them is that of a training on one process."""
    expected = tiny()
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.01)
    for _ in range(2):
        step(expected, optimizer)
    got = tiny()
    other = torch.optim.AdamW(got.parameters(), lr=0.5)
    shards.load({"model": shards.trained(got)}, sharded / "shards")
    shards.load_optimizer(got, other, sharded / "shards")
    for _ in range(2):
        for name, weight in expected.state_dict().items():
            torch.testing.assert_close(got.state_dict()[name], weight, rtol=1e-4, atol=1e-5)
        step(expected, optimizer)
        step(got, other)
    assert other.param_groups[0]["lr"] == 0.01
    assert other.state_dict()["state"][0]["step"] == 4


def test_each_process_hashes_its_own_files(sharded):
    """Both wrote files; all of them, and no other, are in hashes.json with their hashes."""
    told = json.loads((sharded / "hashes.json").read_text())
    there = {str(path.relative_to(sharded)): sha256(path) for path in sharded.rglob("*")
             if path.is_file() and path.name != "hashes.json"}
    assert told == there
    assert {"shards/.metadata", "rng_state_0.pth", "rng_state_1.pth"} < set(told)
    for process in (0, 1):
        own = checkpoints.hashes(sharded, process)
        assert sum(name.startswith(f"shards/__{process}_") for name in own) == 1
    assert not set(checkpoints.hashes(sharded, 0)) & set(checkpoints.hashes(sharded, 1))
    assert checkpoints.last(sharded.parent) == sharded


@pytest.mark.parametrize("name", ["shards/__1_0.distcp", "shards/.metadata", "rng_state_1.pth"])
def test_a_changed_file_of_any_process_is_found(sharded, name):
    """One other byte in a file of either process, and the checkpoint is refused by its name."""
    path = sharded / name
    content = path.read_bytes()
    checkpoints.verify(sharded)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ParamsError, match=f"{path} is damaged"):
        checkpoints.verify(sharded)
    path.write_bytes(content)
    checkpoints.verify(sharded)


def test_the_model_out_of_shards_is_that_of_a_gathered_checkpoint(sharded, tmp_path):
    """From the shards of two processes and from one file of transformers with the same float32
    weights comes the same folder, byte for byte, and the same change of the weights."""
    base = tiny().to(torch.bfloat16)
    base.save_pretrained(tmp_path / "base")
    gathered = tiny()
    gathered.config.pad_token_id = 3  # as the trainer changes a configuration
    gathered.generation_config.pad_token_id = 3
    shards.load({"model": shards.trained(gathered)}, sharded / "shards")
    gathered.save_pretrained(tmp_path / "gathered")
    AutoModelForCausalLM.from_pretrained(tmp_path / "gathered", dtype=torch.bfloat16
                                         ).save_pretrained(tmp_path / "expected")
    gathered.config.save_pretrained(sharded)
    gathered.generation_config.save_pretrained(sharded)
    trained = models.Weights(sharded / "shards", "model")
    models.load_full(tmp_path / "base", sharded, trained).save_pretrained(tmp_path / "got")
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        assert (tmp_path / "got" / name).read_bytes() == (
            tmp_path / "expected" / name).read_bytes(), name
    before, after = base.state_dict(), gathered.state_dict()
    moved = sum((after[name] - before[name].float()).square().sum().item() for name in before)
    whole = sum(tensor.float().square().sum().item() for tensor in before.values())
    assert models.change_full(tmp_path / "base", trained) == pytest.approx((moved / whole) ** 0.5)


def test_the_index_is_read_once_for_all_weights(sharded, monkeypatch):
    """Weights that are read one by one are the stored ones, and the index, which takes longer to
    read than a weight, is read once."""
    read, plain = [], FileSystemReader.read_metadata
    monkeypatch.setattr(FileSystemReader, "read_metadata", lambda reader: read.append(
        reader.path) or plain(reader))
    trained = models.Weights(sharded / "shards", "model")
    one_by_one = {name: trained[name] for name in trained}
    assert read == [sharded / "shards"]
    whole = {name: torch.empty_like(weight) for name, weight in one_by_one.items()}
    shards.load({"model": whole}, sharded / "shards", alone=True)
    assert len(whole) == len(dict(tiny().named_parameters()))
    assert all(torch.equal(one_by_one[name], weight) for name, weight in whole.items())


def test_another_models_weights_are_refused(sharded, tmp_path):
    """A model with a layer less does not take them, and the message has both numbers."""
    config = tiny().config
    config.num_hidden_layers, config.layer_types = 1, config.layer_types[:1]
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="holds 27 tensors, expected the 15"):
        models.load_full(tmp_path, tmp_path, models.Weights(sharded / "shards", "model"))


def test_a_checkpoint_holds_what_follows_from_its_step(tmp_path):
    """Weights and optimizer; the best weights where they are of another step; after the last step
    only the weights that the training ends with."""
    model = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    step(model, optimizer)
    best = {name: weight + 1 for name, weight in shards.trained(model).items()}
    for number, (told, stops, expected) in enumerate([
            ({}, False, {"model", "optimizer"}),
            ({"best_global_step": 2}, False, {"model", "optimizer"}),
            ({"best_global_step": 1}, False, {"model", "optimizer", "best"}),
            ({}, True, {"model"}), ({"best_global_step": 1}, True, {"model"})]):
        trainer = trainer_of(model, optimizer, CheckpointWriter(in_background=False), **told)
        trainer.best, trainer.control.should_training_stop = best, stops
        shards.save(Trainer._resumed_from(trainer), tmp_path / str(number))
        assert shards.parts(tmp_path / str(number)) == expected
        name = "model.norm.weight"
        kept = models.Weights(tmp_path / str(number), "model")[name]
        right = best[name] if told == {"best_global_step": 2} or (told and stops) else (
            model.state_dict()[name])
        assert torch.equal(kept, right)


def test_old_checkpoints_go_once_a_new_one_is_whole(tmp_path):
    """Of four whole checkpoints the last two stay; an interrupted one is nobody's to count."""
    for number in (1, 2, 3, 4, 5):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": number}))
        if number != 5:
            checkpoints.seal(folder, checkpoints.hashes(folder, 0))
    checkpoints.remove_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-3", "checkpoint-4", "checkpoint-5"]
    assert checkpoints.last(tmp_path).name == "checkpoint-4"


def test_what_cannot_be_written_in_the_background_stops_the_training(tmp_path):
    """The next step raises the error, which names the folder; nothing counts as whole."""
    (tmp_path / "checkpoint-1").write_text("a file where the folder should be")
    writer = CheckpointWriter(in_background=True)
    writer.write(tmp_path / "checkpoint-1", {"model": {"a": torch.ones(2)}})
    futures.wait([writer._pending])
    with pytest.raises(OSError, match="checkpoint-1"):
        writer.on_step_end(None, None, None)
    assert checkpoints.whole(tmp_path) == []


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    """One without shards is named, with what to do."""
    (tmp_path / "checkpoint-1").mkdir()
    with pytest.raises(ParamsError, match="was written by an earlier version of the kit"):
        checkpoints.check_kind(tmp_path / "checkpoint-1")
