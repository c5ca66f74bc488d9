"""What holds for all tests, and the fixtures that several files use."""

import csv
import gc
import sys

import pytest

# Before torch is loaded: the package sets how waiting threads behave.
from metarfft_core.system import processes
from metarfft_core.system.places import ROOT

# What is imported and collected stays to the end. Python would look through it for garbage again
# and again, for a tenth of the tests' time.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _threads():
    """Leave torch with its own number of threads, whatever the tests of a file set; another number
    would change the last bits of what the next file computes."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(processes.threads(1)))


@pytest.fixture(scope="session")
def table():
    """The stored diagnoses of the laptop run, read from their files alone."""
    lines = []
    for path in (ROOT / "outputs/reference/laptop/figures").glob("diagnoses-*.csv"):
        with open(path, encoding="utf-8", newline="") as file:
            lines += csv.DictReader(file)
    return lines
