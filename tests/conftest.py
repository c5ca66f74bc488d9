"""What holds for all tests, and the fixtures that several files use."""

import csv

import pytest

# Before torch is loaded: the package sets how waiting threads behave.
from metarfft_core.system.places import ROOT


@pytest.fixture(scope="session")
def table():
    """The stored diagnoses of the laptop run, read from their files alone."""
    lines = []
    for path in (ROOT / "outputs/reference/laptop/figures").glob("diagnoses-*.csv"):
        with open(path, encoding="utf-8", newline="") as file:
            lines += csv.DictReader(file)
    return lines
