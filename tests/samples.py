"""What the tests draw of every task, and the pins of some samples.

`python tests/samples.py` writes tests/data/sample_hashes.json anew. Do so when a task is new or its
sampler was changed on purpose; any other change there means that corpora stop being reproducible.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from metarfft_core import tasks
from metarfft_core.tasks import Instance, Task

DATA = Path(__file__).parent / "data"
PINS = DATA / "sample_hashes.json"
PINNED = (1, 5, 15)
LONGEST = 31
"""The validation length, the longest that training sees."""


def draw(task: Task, count: int) -> Iterator[Instance]:
    """`count` instances of each length from 1 to LONGEST that the task allows."""
    for length in task.lengths:
        if length <= LONGEST:
            for index in range(count):
                yield task.sample(length=length, seed=0, index=index, stream="test")


def digest(instance: Instance) -> str:
    """A hash of the inputs, their order and types, and the answer."""
    return hashlib.sha256(repr((instance.inputs, instance.answer)).encode()).hexdigest()[:16]


def pins(task: Task) -> dict[str, str]:
    """Length to the hash of one sample, for the pinned lengths that the task allows."""
    return {str(length): digest(task.sample(length=length, seed=0, index=0))
            for length in PINNED if length in task.lengths}


if __name__ == "__main__":
    found = {task.id: pins(task) for task in tasks.select()}
    PINS.write_text(json.dumps(found, indent=1) + "\n")
