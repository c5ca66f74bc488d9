"""Many GPUs: what accelerate makes of the configurations, what the SLURM scripts call, and sharding
itself, on CPU processes that accelerate takes for GPUs."""

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import forked
import psutil
import pytest
import rounding
import torch
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.parallelism_config import ParallelismConfig
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env
from peft import LoraConfig, get_peft_model
from tiny_model import tiny_run, write_tiny
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp.fully_sharded_data_parallel import StateDictType
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from metarfft_core import cli, corpus, params, training
from metarfft_core.system import processes
from metarfft_core.system.places import ROOT
from metarfft_core.training import batches
from metarfft_core.training import launcher as training_launcher

CONFIGS = ROOT / "params" / "accelerate"
NAMES = ("plain", "one_gpu", "ddp", "fsdp2", "hybrid_4x8", "two_cpus")
SCRIPTS = sorted((ROOT / "params" / "slurm").glob("*.sh"))
PAGE = ROOT / "docs" / "clusters.md"


def resolve(name, *options):
    """What `accelerate launch` makes of a configuration: its options and the environment that the
    processes get."""
    arguments = launch_command_parser().parse_args(
        ["--config_file", str(CONFIGS / f"{name}.yaml"), *options, "-m", "module"])
    arguments, _, _ = _validate_launch_command(arguments)
    if arguments.multi_gpu or arguments.use_fsdp:
        return arguments, prepare_multi_gpu_env(arguments)
    return arguments, prepare_simple_launcher_cmd_env(arguments)[1]


@pytest.fixture
def plugin(request, monkeypatch):
    """The sharding that a process of this configuration sets up."""
    _, environment = resolve(request.param, "--main_process_ip", "127.0.0.1")
    for key, value in environment.items():
        if key.startswith(("FSDP_", "ACCELERATE_", "PARALLELISM_")):
            monkeypatch.setenv(key, value)
    return FullyShardedDataParallelPlugin()


def test_every_configuration_is_tested():
    """The folder holds these configurations and no others."""
    assert sorted(NAMES) == sorted(path.stem for path in CONFIGS.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_one_that_accelerate_knows(name):
    """accelerate refuses an unknown key at the top and swallows one further in: here both fail."""
    known = vars(launch_command_parser().parse_args(["module"]))
    for key, value in yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()).items():
        for inner in value if isinstance(value, dict) else ():
            assert inner in known, f"{key}.{inner}"
    resolve(name)  # refuses the unknown ones at the top


@pytest.mark.parametrize(("name", "processes", "machines", "precision"), [
    ("one_gpu", 1, 1, "bf16"), ("ddp", 8, 1, "bf16"), ("fsdp2", 8, 1, "bf16"),
    ("hybrid_4x8", 32, 4, "bf16"), ("two_cpus", 2, 1, "no")])
def test_processes_machines_and_precision(name, processes, machines, precision):
    """Each configuration starts the processes that it promises, with their precision."""
    arguments, environment = resolve(name)
    assert (arguments.num_processes, arguments.num_machines) == (processes, machines)
    assert environment["ACCELERATE_MIXED_PRECISION"] == precision
    assert ("ACCELERATE_USE_FSDP" in environment) == (name in ("fsdp2", "hybrid_4x8"))
    if processes > 1:
        assert int(arguments.nproc_per_node) * machines == processes


def test_trainings_side_by_side_take_ports_of_their_own():
    """Two launches of a configuration for one node get two ports, none of them the default."""
    for name in ("ddp", "fsdp2", "two_cpus"):
        ports = {resolve(name)[0].main_process_port for _ in range(3)}
        assert len(ports) > 1
        assert 29500 not in ports


def test_the_command_line_goes_before_the_file():
    """The number of processes can be another than the file's, as `metarfft train` uses it."""
    assert resolve("fsdp2", "--num_processes", "4")[0].nproc_per_node == "4"


@pytest.mark.parametrize("plugin", ["fsdp2", "hybrid_4x8"], indirect=True)
def test_sharding_is_what_training_relies_on(plugin):
    """FSDP of version 2, checkpoints in shards, layers resharded after their forward, nothing
    offloaded, no second recomputation, and every process reading the weights itself."""
    assert plugin.fsdp_version == 2
    assert plugin.state_dict_type == StateDictType.SHARDED_STATE_DICT
    assert plugin.reshard_after_forward is True
    assert not isinstance(plugin.cpu_offload, CPUOffloadPolicy)
    assert plugin.activation_checkpointing is False
    assert plugin.cpu_ram_efficient_loading is False


@pytest.mark.parametrize("plugin", ["hybrid_4x8"], indirect=True)
def test_hybrid_sharding_stays_within_a_node(plugin):
    """Ranks 0 to 7, those of the first node, share a model; four nodes hold one each."""
    mesh = ParallelismConfig()
    assert (mesh.dp_replicate_size, mesh.dp_shard_size, mesh.total_size) == (4, 8, 32)
    sizes, names = mesh._get_mesh()[::-1]
    ranks = torch.arange(32).reshape(sizes)
    assert names == ("dp_replicate", "dp_shard")
    assert ranks[0].tolist() == list(range(8))


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("plugin", ["fsdp2"], indirect=True)
def test_every_layer_is_a_unit(plugin, adapter):
    """In the paper's architecture, bare or in an adapter, each layer is a unit and nothing else."""
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=1))
    layers = list(model.model.layers)
    if adapter:
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    policy = fsdp2_prepare_auto_wrap_policy(plugin, model)
    assert [module for module in model.modules() if policy(module)] == layers


@pytest.mark.parametrize(("file", "stage", "config"), [
    ("7b", "pretrain", "fsdp2"), ("7b", "adapt", "one_gpu"),
    ("32b", "pretrain", "hybrid_4x8"), ("32b", "adapt", "fsdp2")])
def test_the_batch_divides_among_the_processes(file, stage, config):
    """The batches of the paper's runs come out whole on the configurations meant for them."""
    run = params.load(ROOT / "params" / f"{file}.yaml")
    settings = run.pretraining if stage == "pretrain" else run.adaptation
    processes = resolve(config)[0].num_processes
    steps = batches.accumulation_steps(settings, processes)
    assert steps * settings.micro_batch_size * processes == settings.batch_size


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script):
    """bash reads every script to its end."""
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("text", [*SCRIPTS, PAGE], ids=lambda path: path.name)
def test_scripts_and_page_name_what_exists(text, capsys):
    """Every file of the project, command, option and module in them is there."""
    words = re.sub(r"\\\n#?\s*", "", text.read_text(encoding="utf-8"))
    for path in re.findall(r"\b(?:params|docs|tests|benchmarks|notebooks)/[\w./-]*\w", words):
        assert (ROOT / path).exists(), path
    launch = vars(launch_command_parser().parse_args(["module"]))
    for options in re.findall(r"accelerate launch((?: +(?:--\w+ +\S+))*)", words):
        assert set(re.findall(r"--(\w+)", options)) <= set(launch)
    calls = [(cli.main, name, rest) for name, rest in
             re.findall(r"\bmetarfft (?!_)([a-z]+)((?: +[^\s`|&;#]+)*)", words)]
    calls += [(training.main, None, rest) for rest in
              re.findall(r"-m metarfft_core\.training((?: +[^\s`|&;#']+)*)", words)]
    calls += [(cli.main, "run", rest) for rest in  # it hands its options on
              re.findall(r"one_node\.sh((?: +[^\s`|&;#]+)*)", words)]
    for main, name, rest in calls:
        with pytest.raises(SystemExit) as end:
            main([*([name] if name else []), "--help"])
        assert end.value.code == 0, name
        known = capsys.readouterr().out
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= set(re.findall(r"--[a-z-]+", known))


WHO = """
from accelerate import Accelerator
state = Accelerator(cpu=True)
line = f"{state.distributed_type.value} {state.num_processes} {state.process_index}\\n"
print(line, end="", flush=True)  # in one piece, for both write to the same pipe
state.wait_for_everyone()  # the end of one process ends the other
state.end_training()
"""


@pytest.mark.parametrize("way", ["two_cpus", "pretraining.workers"])
def test_two_cpus_are_two_processes(tmp_path, monkeypatch, way):
    """The configuration starts two processes that find each other. So do the options of an
    RF-pretraining with two workers, which give each process one thread of two."""
    (tmp_path / "who.py").write_text(WHO)
    line = launcher("two_cpus", tmp_path / "who.py")
    if way != "two_cpus":
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(processes, "cores", lambda: 2)
        monkeypatch.setattr(processes, "gpus", list)
        values = params.read(params.DEFAULT_FILE)
        values["pretraining"]["workers"] = 2
        options, size = training_launcher._launch_options(
            training.Job(params.check(values), "pretrain"))
        assert size == 2
        assert options[options.index("--num_cpu_threads_per_process") + 1] == "1"
        line = [*line[:3], *options, str(tmp_path / "who.py")]
    # Do not assert how the processes exit: gloo sometimes aborts one that is about to end.
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.splitlines()[:2]) == ["MULTI_CPU 2 0", "MULTI_CPU 2 1"], done.stderr


def launcher(name, *command):
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file",
            str(CONFIGS / f"{name}.yaml"), *map(str, command)]


class Adapted(torch.nn.Module):
    """A frozen bfloat16 layer with a float32 adapter beside it, as PiSSA trains them."""

    def __init__(self):
        super().__init__()
        self.frozen = torch.nn.Linear(8, 8, dtype=torch.bfloat16).requires_grad_(False)
        self.adapter = torch.nn.Sequential(torch.nn.Linear(8, 2, bias=False),
                                           torch.nn.Linear(2, 8, bias=False))

    def forward(self, inputs):
        return self.frozen(inputs) + self.adapter(inputs)


def train_adapted(rank, port, found):
    """Train two such layers for three steps and put all their weights into the queue: on one
    process, on each half of the batch in turn, or with a rank, on one half and sharded over two."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(Adapted(), Adapted())
    batch = torch.randn(4, 8).to(torch.bfloat16)
    if rank is not None:
        torch.distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        for module in (*model, model):
            fully_shard(module, mp_policy=policy)
    halves = [batch[:2], batch[2:]] if rank is None else [batch[2 * rank:2 * rank + 2]]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    for _ in range(3):
        for half in halves:
            with torch.autocast("cpu", torch.bfloat16, enabled=rank is None):
                loss = model(half).float().square().mean()
            (loss / len(halves)).backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = {name: weight if rank is None else weight.full_tensor()
               for name, weight in model.state_dict().items()}
    if not rank:
        found.put({name: (weight.dtype, weight.tolist()) for name, weight in weights.items()})
    if rank is not None:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def test_frozen_bfloat16_and_trained_float32_share_a_unit():
    """Two processes that share such layers train the adapters to what one process with whole
    layers does, leave the frozen weights alone, and keep both data types."""
    queue = forked.SERVER.SimpleQueue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [forked.SERVER.Process(target=train_adapted, args=(rank, port, queue))
               for rank in (0, 1)]
    for worker in workers:
        worker.start()
    sharded = queue.get()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    train_adapted(None, None, queue)
    for name, (dtype, values) in queue.get().items():
        frozen = "frozen" in name
        assert sharded[name][0] == dtype == (torch.bfloat16 if frozen else torch.float32)
        # Both round the same halves of the gradient to bfloat16 and add them in float32; halving
        # is exact. What is left is AdamW's float32, some ten operations in each of three steps.
        assert rounding.apart(torch.tensor(sharded[name][1]), torch.tensor(values)) <= (
            0 if frozen else rounding.float32(3, 10))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


def build(tiny, folder, monkeypatch, **changes):
    """A tiny run, its corpus in two folders of outputs, `whole` (the present one) and `sharded`."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(folder / "whole"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = tiny_run(tiny, **changes)
    params.open_folder(run)
    corpus.build(run)
    shutil.copytree(folder / "whole", folder / "sharded")
    return run


def command(config, run, *options):
    """The RF-pretraining of a run on two processes; a sharded one runs on a CPU too."""
    return launcher(config, "--num_processes", 2, *options,
                    Path(__file__).parent / "fsdp_on_cpu.py", "--float32",
                    "--params", run.folder / "params.yaml", "--stage", "pretrain")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "pissa"])
def test_sharded_training_gives_the_losses_of_the_whole_one(tiny, tmp_path, monkeypatch, method):
    """Two processes that share the model (fsdp2.yaml), killed after a checkpoint and started again,
    and a single one that goes on from the same checkpoint with the whole model, log what two
    processes with a whole model each do, as near as those whose micro batches are of another size,
    times ten; and write the same weights' names and shapes. AdamW's first steps follow the sign of
    every gradient, and sums in another order turn the smallest ones."""
    changes = {"rank": None, "learning_rate": 1.0e-3} if method == "full" else {}
    reordered = build(tiny, tmp_path / "reordered", monkeypatch, method=method,
                      micro_batch_size=1, **changes)
    subprocess.run(command("two_cpus", reordered), check=True)
    other = training.read_log(training.Job(reordered, "pretrain").folder)
    run = build(tiny, tmp_path, monkeypatch, method=method, **changes)
    subprocess.run(command("two_cpus", run), check=True)
    whole = training.Job(run, "pretrain").folder
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "sharded"))
    folder = training.Job(run, "pretrain").folder

    sharded = command("fsdp2", run, "--mixed_precision", "no")
    process = psutil.Popen(sharded)
    while not list((folder / "checkpoints").glob("checkpoint-*/hashes.json")):
        assert process.poll() is None
        time.sleep(0.01)
    assert list((folder / "checkpoints").glob("*/shards/__1_*"))  # it really is sharded
    for worker in [*process.children(recursive=True), process]:  # in sessions of their own
        worker.kill()
    process.wait()
    shutil.copytree(tmp_path / "sharded", tmp_path / "alone")
    expected = training.read_log(whole)
    alone = [sys.executable, *sharded[sharded.index("no") + 1:]]
    for outputs, line in (("sharded", sharded), ("alone", alone)):
        monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / outputs))
        line[line.index("--params") + 1] = str(run.folder / "params.yaml")
        done = subprocess.run(line, check=True, capture_output=True, text=True)
        assert "resuming from step" in done.stdout
        folder = training.Job(run, "pretrain").folder
        got = training.read_log(folder)
        assert [line["step"] for line in got] == [line["step"] for line in expected]
        for key in ("loss", "validation_loss"):
            logged, right, moved = ([line[key] for line in log if key in line]
                                    for log in (got, expected, other))
            assert logged == pytest.approx(right, rel=rounding.measured(moved, right))
        assert shapes(folder / "model") == shapes(whole / "model")


def shapes(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}
