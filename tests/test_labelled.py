"""The error analysis on outputs of a real model, labelled by reading them beside the right trace.

SmolLM2-135M-Instruct was adapted with vanilla_rfft (PiSSA of rank 32, learning rate 5e-4, batches
of 4, 16 steps, lengths 1-4) to lc_283 and, on its own, to lc_2544, and answered each task at
lengths 3-12. The outputs of the other tasks, at lengths 3-7, are the lc_283 model's, which was not
trained on them. All are greedy, by vLLM, cut at 1.25 times the right completion's tokens and 64
more. 98 of the 100 are wrong. The labels were written before the error analysis was run on any of
them, and stay as they were read.
"""

import ast
import json
from pathlib import Path

import pytest

from metarfft_core import errors, tasks

OUTPUTS = Path(__file__).parent / "data" / "labelled_outputs.jsonl"


@pytest.fixture(scope="module")
def results():
    """(labelled output, its diagnosis)"""
    rows = [json.loads(line) for line in OUTPUTS.read_bytes().rstrip(b"\n").split(b"\n")]
    return [(row, errors.diagnose(tasks.get(row["task"]), ast.literal_eval(row["inputs"]),
                                  row["text"], row["finish_reason"])) for row in rows]


def test_there_are_a_hundred_of_several_kinds(results):
    """A hundred outputs are labelled, all with known kinds, of which seven or more occur."""
    assert len(results) == 100
    kinds = {row["kind"] for row, _ in results}
    assert kinds <= set(errors.KINDS)
    assert len(kinds) >= 7


def test_kinds_are_those_that_were_read(results):
    """At least 90% of the outputs are given the kind that a reader gave them."""
    wrong = [(row["task"], row["inputs"], row["kind"], found.kind) for row, found in results
             if row["kind"] != found.kind]
    assert len(wrong) <= 0.1 * len(results), wrong


def test_steps_are_those_that_were_read(results):
    """At least 90% of the outputs diverge at the step where a reader saw them diverge."""
    wrong = [(row["task"], row["inputs"], row["step"], found.step) for row, found in results
             if row["step"] != found.step]
    assert len(wrong) <= 0.1 * len(results), wrong
