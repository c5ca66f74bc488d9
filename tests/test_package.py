"""The wheel: what it carries is enough away from the project, and what needs a checkout says so."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import made_up_run
import pytest

from metarfft_core import models
from metarfft_core.system import places

FILE = places.ROOT / "params" / "test.yaml"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the project as it is, built away from it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(places.ROOT / name, source)
    shutil.copytree(places.ROOT / "metarfft_core", source / "metarfft_core",
                    ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", str(source), "--no-deps",
                    "--no-build-isolation", "--wheel-dir", str(target)], check=True,
                   capture_output=True, cwd=target)
    [path] = target.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metarfft(wheel, tmp_path_factory):
    """Runs the command of the installed wheel in a folder."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    models.token_counter(models.EMBEDDED)  # converted once, in the cache that all share
    environment = {key: value for key, value in os.environ.items()
                   if key != "METARFFT_OUTPUTS"} | {
        "PYTHONPATH": str(site), "METARFFT_CACHE": str(models.cache_folder())}

    def run(folder, *arguments):
        program = ("import sys, metarfft_core; from metarfft_core.cli import main; "
                   f"assert metarfft_core.__file__.startswith({str(site)!r}); sys.exit(main())")
        return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], cwd=folder,
                              env=environment, capture_output=True, text=True)

    run.site = site
    return run


def files_of(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def test_the_wheel_carries_every_file_of_the_package(wheel):
    """All that lies in the package's folder is in the wheel, data included."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert {f"metarfft_core/{name}" for name in files_of(places.ROOT / "metarfft_core")} <= packed


def test_the_configurations_in_the_package_are_those_of_the_project():
    """A file that training gives to accelerate by itself is the one in params/accelerate."""
    copies = list((places.ROOT / "metarfft_core" / "data" / "accelerate").iterdir())
    assert copies
    for copy in copies:
        original = places.ROOT / "params" / "accelerate" / copy.name
        assert copy.read_bytes() == original.read_bytes()


OWN = '''
from metarfft_core import tasks


@tasks.task("own_count", source="own", split="own", length="n")
class OwnCount:
    """A task of the test."""

    question = "Count down from {n}."

    def rule(n):
        while n > 0:
            n -= 1
        return n

    def sample(rng, length):
        return {"n": length}
'''


@pytest.mark.parametrize(("arguments", "said"), [
    (["tasks"], "lc_258"), (["sample", "lc_258"], "So the answer is"),
    (["check", "own.py", "--samples", "1"], "nothing is wrong"),
    (["plan", "--params", FILE], "Everything fits."),
    (["report", "--params", places.ROOT / "outputs" / "reference" / "laptop"], "# laptop")],
    ids=lambda value: value[0] if isinstance(value, list) else "")
def test_a_command_works_away_from_the_project(metarfft, tmp_path, arguments, said):
    """What needs no file of the project runs with the wheel alone, in an empty folder."""
    (tmp_path / "own.py").write_text(OWN)
    done = metarfft(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_results_lie_below_the_current_folder(metarfft, tmp_path, monkeypatch):
    """Away from the project a corpus and figures go to outputs in the current folder, and nothing
    is written beside the package."""
    before = files_of(metarfft.site)
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    stored = made_up_run.make(made_up_run.preset("test", name="stored"), lambda *_: 1.0,
                                traces=True)
    for arguments in (["build", "--params", FILE],
                      ["figures", "--params", stored.folder / "params.yaml"]):
        done = metarfft(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "test" / "corpus" / "manifest.json").is_file()
    assert list((tmp_path / "outputs" / "paper").glob("*.png"))
    assert files_of(metarfft.site) == before


@pytest.mark.parametrize(("arguments", "said"), [
    (["run", "--params", FILE], "metarfft run works through the notebooks, and needs a checkout"),
    (["gallery"], "docs/tasks.md needs a checkout of the project"),
    (["plan", "--params", "params/7b.yaml"], "parameter files are in a checkout")],
    ids=lambda value: value[0] if isinstance(value, list) else "")
def test_what_needs_the_project_says_so(metarfft, tmp_path, arguments, said):
    """A command that needs a checkout is refused in one line, with exit status 2."""
    done = metarfft(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
