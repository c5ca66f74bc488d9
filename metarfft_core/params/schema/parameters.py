"""The parameter files: one YAML file is one run, checked before anything starts.

The schema refuses unknown keys (nested ones too), wrong types and impossible combinations. The
error names the key, what is allowed and what was given. The paper's own values are in
`params/7b.yaml` and `params/32b.yaml`, which mark each value that the paper does not state as an
assumption.
"""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from metarfft_core import tasks
from metarfft_core.params.schema.cell import Cell
from metarfft_core.params.schema.kinds import Section, Seed, optional
from metarfft_core.params.schema.methods import METHODS
from metarfft_core.params.schema.reinforcement import Reinforcement
from metarfft_core.params.schema.sections import (
    Adaptation,
    Corpus,
    Evaluation,
    Kept,
    Model,
    Pretraining,
    TaskFile,
)
from metarfft_core.system import places

WITHOUT_EFFECT = {"corpus.workers", "pretraining.workers", "adaptation.workers",
                  "evaluation.workers", "trackers"}
"""Keys that change no result, except by rounding, as the number of cores does. A run may continue
in its folder with other values of them."""


class Params(Section):
    """A whole parameter file, with ranges and splits expanded."""

    _folder: Path | None = None

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]  # also the name of the folder
    smoke: bool  # marks every figure as part of a smoke run
    seed: Seed  # determines samples, trainings and bootstraps
    model: Model
    trackers: list[Literal["tensorboard", "trackio"]] = optional([])  # in addition to the log
    # Files of your own tasks; their code is executed. Checked first, so that tasks can be named.
    task_files: list[TaskFile] = optional([])
    corpus: Corpus
    pretraining: Pretraining
    adaptation: Adaptation
    evaluation: Evaluation
    rl: Reinforcement | None = optional(None)  # reinforcement learning, after the other trainings

    def __setstate__(self, state):
        """Make the tasks of the run's own files known to a process that is sent its parameters."""
        super().__setstate__(state)
        for file in self.task_files:
            file.register()

    @model_validator(mode="after")
    def _possible(self):
        corpus = self.corpus
        trained = {*corpus.pretrain.tasks, *(corpus.in_context.tasks if corpus.in_context else ())}
        shared = trained & set(corpus.adaptation.tasks)
        if shared:
            raise ValueError("corpus.adaptation.tasks: these are pre-training tasks of the same "
                             f"run: {', '.join(sorted(shared))}")
        for key, owner in (("pretrain", corpus.pretrain), ("validation", corpus.pretrain),
                           ("adaptation", corpus.adaptation),
                           ("adaptation_validation", corpus.adaptation),
                           ("evaluation", corpus.adaptation), ("in_context", corpus.in_context)):
            if owner and not owner.leave_out:
                _check_drawable(f"corpus.{key}", owner.tasks, getattr(corpus, key).lengths)
        self._check_cells()
        self._check_reinforcement()
        return self

    def _check_cells(self) -> None:
        """Refuse trainings and evaluations that are impossible or named twice."""
        for number, further in enumerate(self.adaptation.further):
            other = set(further.tasks) - set(self.corpus.adaptation.tasks)
            if other:
                raise ValueError(f"adaptation.further.{number}.tasks: expected tasks of "
                                 f"corpus.adaptation.tasks, got {', '.join(sorted(other))}")
        twice = [cell for cell, times in Counter(self.trainings).items() if times > 1]
        if twice:
            raise ValueError(f"adaptation.further: task {twice[0].task}, method {twice[0].method}, "
                             f"seed {twice[0].seed} is given twice")
        if not self.cells:
            raise ValueError("adaptation.methods: expected at least one, or something else to "
                             "evaluate (adaptation.further, evaluation.in_context, "
                             "evaluation.api), got []")
        missing = set(self.evaluation.counterfactual) - {cell.method for cell in self.trainings}
        if missing:
            raise ValueError("evaluation.counterfactual: expected methods that are trained, got "
                             f"{', '.join(sorted(missing))}")
        trained = {METHODS[cell.method].format for cell in self.trainings}
        if self.adaptation.equal == "trained_tokens" and "rfft" not in trained:
            raise ValueError("adaptation.equal: trained_tokens counts the tokens of rule-following "
                             "samples, so it needs vanilla_rfft or meta_rfft among the methods")
        if self.pretraining.kept and self.adaptation.kept:
            raise ValueError("kept: expected in pretraining or in adaptation, not in both")
        if self.pretraining.keep_steps and not any(
                METHODS[name].start == "pretrained" for name in self.adaptation.methods):
            raise ValueError("pretraining.keep_steps: expected a method that starts from the "
                             "RF-pretrained model among adaptation.methods, got "
                             f"{', '.join(self.adaptation.methods)}")
        if self.pretraining.in_context_share and not self.corpus.in_context:
            raise ValueError("pretraining.in_context_share needs samples: corpus.in_context is "
                             "missing")

    def _check_reinforcement(self) -> None:
        if self.rl is None:
            return
        other = set(self.rl.tasks) - set(self.corpus.adaptation.tasks)
        if other:
            raise ValueError("rl.tasks: expected tasks of corpus.adaptation.tasks, got "
                             f"{', '.join(sorted(other))}")
        if "pretrained" in self.rl.starts and not any(
                METHODS[name].start == "pretrained"
                for name in [*(cell.method for cell in self.trainings),
                             *self.evaluation.in_context]):
            raise ValueError("rl.starts: pretrained is the RF-pretrained model, which this run "
                             "does not train: add a method that starts from it, such as "
                             "meta_rfft")
        for key, held in (("rl", self.rl), ("rl.evaluation", self.rl.evaluation)):
            _check_drawable(key, self.rl.tasks, held.lengths)

    @property
    def kept(self) -> Kept | None:
        """The run that this one takes its corpus and some weights from (see `kept_steps`)."""
        return self.pretraining.kept or self.adaptation.kept

    @property
    def trainings(self) -> list[Cell]:
        """The cell of every adaptation, in the order of training."""
        cells = [Cell(method, task, self.seed) for task in self.corpus.adaptation.tasks
                 for method in self.adaptation.methods]
        return cells + [Cell(method, task, seed) for further in self.adaptation.further
                        for task in further.tasks for method in further.methods
                        for seed in further.seeds or [self.seed]]

    @property
    def cells(self) -> list[Cell]:
        """Every cell that is evaluated, in the order of evaluation.

        The counterfactual of a task counts as a separate task.
        """
        order = list(METHODS)
        trained = sorted(self.trainings, key=lambda cell: order.index(cell.method))
        changed = [replace(cell, task=other.id) for cell in trained
                   if cell.method in self.evaluation.counterfactual
                   and (other := tasks.get(cell.task).counterfactual)]
        others = [*self.evaluation.in_context, *(settings.name for settings in self.evaluation.api)]
        return trained + changed + [Cell(method, task, self.seed) for method in others
                                    for task in self.corpus.adaptation.tasks]

    @property
    def digest(self) -> str:
        """A short hash of every parameter that can change a result."""
        values = self.model_dump()
        for keys in WITHOUT_EFFECT:
            *sections, last = keys.split(".")
            part = values
            for section in sections:
                part = part[section]
            part.pop(last, None)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """The folder of the run's results: outputs/<name>, or <name> in $METARFFT_OUTPUTS.

        `params.of_folder` gives parameters whose folder is at any place.
        """
        return self._folder or places.outputs() / self.name


def _check_drawable(key: str, ids: list[str], lengths: list[int]) -> None:
    for task in map(tasks.get, ids):
        for length in lengths:
            if length not in task.lengths:
                raise ValueError(f"{key}: task {task.id} cannot draw length {length}: "
                                 f"it allows {task.lengths[0]} to {task.lengths[-1]}")
