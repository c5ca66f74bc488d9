"""The SLURM scripts, run by bash with stand-ins for SLURM's, NVIDIA's and the kit's commands."""

import re
import shutil
import signal
import subprocess
import time

import pytest

from metarfft_core.system.places import ROOT

LOUD = '#!/bin/bash\necho "$(basename "$0") $*" >> "$CALLS"\n'
"""A command that only writes down that it was called."""
SRUN = LOUD + 'while [[ "$1" == --* ]]; do shift; done\nSLURM_NODEID=3 exec "$@"\n'
NODES = LOUD + 'if [[ "$1" == show ]]; then printf "one\\ntwo\\n"; fi\n'


class Cluster:
    """A folder to submit from, with commands on PATH, and what was called."""

    def __init__(self, folder):
        self.folder, self.calls = folder, folder / "calls"
        shutil.copytree(ROOT / "params", folder / "params")
        self.calls.touch()
        for name, text in (("metarfft", LOUD), ("accelerate", LOUD), ("srun", SRUN),
                           ("scontrol", NODES), ("nvidia-smi", "#!/bin/bash\necho 580.82.07\n"
                                                 "echo 580.82.07\n")):
            self.command(name, text)

    def command(self, name, text, where="bin"):
        path = self.folder / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def start(self, script, *arguments, **variables):
        return subprocess.Popen(
            ["bash", f"params/slurm/{script}.sh", *arguments], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "CALLS": str(self.calls),
                 "SLURM_SUBMIT_DIR": str(self.folder), "SLURM_JOB_ID": "20017",
                 "SLURM_JOB_NODELIST": "[one-two]", "SLURM_CPUS_PER_TASK": "64", **variables})

    def run(self, *arguments, **variables):
        """The exit status, the output and the calls of a script that ends."""
        process = self.start(*arguments, **variables)
        output = process.communicate(timeout=60)[0]
        return process.returncode, output, self.calls.read_text().splitlines()

    def when_called(self, line):
        deadline = time.monotonic() + 20
        while line not in self.calls.read_text().splitlines():
            assert time.monotonic() < deadline, self.calls.read_text()
            time.sleep(0.01)


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_one_node_runs_the_kit_with_its_options(cluster):
    """The parameter file and what follows it are handed on, and the status is the run's."""
    asked = ("params/7b.yaml", "--adapt-on", "a b.yaml")
    assert cluster.run("one_node", *asked) == (
        0, "", ["metarfft run --params params/7b.yaml --adapt-on a b.yaml"])
    cluster.command("metarfft", "#!/bin/bash\nexit 3\n")
    assert cluster.run("one_node", "params/7b.yaml")[0] == 3


def test_four_nodes_start_a_launcher_on_each(cluster):
    """The corpus is built once; srun's launchers get the node's rank, the first node and a port."""
    status, _, calls = cluster.run("four_nodes", "params/32b.yaml")
    assert status == 0
    assert calls[:2] == ["scontrol show hostnames [one-two]",
                         "metarfft build --params params/32b.yaml"]
    assert calls[2].startswith("srun --kill-on-bad-exit=1 --cpus-per-task=64 bash -c")
    assert calls[-1] == (
        "accelerate launch --config_file params/accelerate/hybrid_4x8.yaml --machine_rank 3 "
        "--main_process_ip one --main_process_port 20017 -m metarfft_core.training "
        "--params params/32b.yaml --stage pretrain")


def test_one_gpu_makes_the_start_that_four_nodes_need(cluster):
    """The start's job names the stage of the four nodes, and asks for one GPU of one node."""
    assert cluster.run("pissa_start", "params/32b.yaml") == (
        0, "", ["metarfft train --params params/32b.yaml --stage pretrain --only-start"])
    text = (ROOT / "params" / "slurm" / "pissa_start.sh").read_text()
    assert {"--nodes=1", "--gpus-per-node=1"} <= set(re.findall(r"^#SBATCH (.*)", text, re.M))


@pytest.mark.parametrize("script", ["one_node", "four_nodes"])
def test_a_job_requeues_itself_before_its_time_is_up(cluster, script):
    """At the signal the job asks once to be requeued while its work runs on until SLURM ends it;
    ten restarts later it does not ask."""
    work = LOUD + 'echo begun >> "$CALLS"; sleep 2; exit 5\n'
    cluster.command("metarfft" if script == "one_node" else "accelerate", work)
    for restarts, asked in (("9", 1), ("10", 0)):
        cluster.calls.write_text("")
        process = cluster.start(script, "params/7b.yaml", SLURM_RESTART_COUNT=restarts)
        cluster.when_called("begun")
        process.send_signal(signal.SIGUSR1)  # to the batch shell alone, as B: says
        output = process.communicate(timeout=60)[0]
        assert cluster.calls.read_text().splitlines().count("scontrol requeue 20017") == asked
        assert "the time limit is near" in output
        assert process.returncode == 5


def test_an_old_driver_is_refused_in_one_line(cluster):
    """Before anything starts, a driver below 580 is named with what needs a newer one."""
    cluster.command("nvidia-smi", "#!/bin/bash\necho 570.124.06\n")
    status, output, calls = cluster.run("one_node", "params/7b.yaml")
    assert (status, calls) == (1, [])
    assert re.fullmatch(r"NVIDIA driver 570\.124\.06: .*CUDA 13.* 580\n", output)


def test_the_folder_or_conda_gives_the_command(cluster):
    """.venv goes before an active environment; without either the job ends in one line."""
    cluster.command("metarfft", '#!/bin/bash\necho "in .venv" >> "$CALLS"\n', ".venv/bin")
    assert cluster.run("one_node", "params/7b.yaml")[2] == ["in .venv"]
    shutil.rmtree(cluster.folder / ".venv")
    assert cluster.run("one_node", "params/7b.yaml")[2][1:] == [
        "metarfft run --params params/7b.yaml"]
    (cluster.folder / "bin" / "metarfft").unlink()
    status, output, _ = cluster.run("one_node", "params/7b.yaml")
    assert status == 1
    assert re.fullmatch(r"no metarfft: .*\.venv.*conda.*\n", output)


@pytest.mark.parametrize("script", ["one_node", "four_nodes"])
def test_the_signal_comes_to_the_batch_shell(script):
    """sbatch is asked for the signal that the scripts trap, and for jobs that may be requeued."""
    text = (ROOT / "params" / "slurm" / f"{script}.sh").read_text()
    options = re.findall(r"^#SBATCH (.*)", text, re.MULTILINE)
    assert "--requeue" in options
    assert re.fullmatch(r"--signal=B:USR1@\d+", next(
        option for option in options if option.startswith("--signal")))
    assert "trap requeue USR1" in (ROOT / "params" / "slurm" / "environment.sh").read_text()
