"""A cell of the grid that a run trains and evaluates."""

from dataclasses import dataclass

from metarfft_core import tasks


@dataclass(frozen=True)
class Cell:
    """One method on one task, with the seed of the method's training.

    Attributes:
        method: A key of METHODS, or the name of an API model.
        task: A task id; a task's name is also accepted and becomes the id.
        seed: The seed of the training; the run's own for a method that is not trained.
    """

    method: str
    task: str
    seed: int

    def __post_init__(self):
        object.__setattr__(self, "task", tasks.id_of(self.task))

    def __str__(self) -> str:
        return f"{self.method} on {self.task}"
