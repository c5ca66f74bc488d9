"""The parameter files: one YAML file is one run, checked before anything starts.

The schema refuses unknown keys (nested ones too), wrong types and impossible combinations. The
error names the key, what is allowed and what was given. The paper's own values are in
`params/7b.yaml` and `params/32b.yaml`, which mark each value that the paper does not state as an
assumption.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from metarfft_core import tasks
from metarfft_core.params.cell import Cell
from metarfft_core.params.methods import METHODS
from metarfft_core.system import places

Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{1,16})*$")]
Adapted = Literal["direct", "scratchpad", "vanilla_rfft", "meta_rfft", "vanilla_rfft_nl",
                  "meta_rfft_nl"]
InContextMethod = Literal["base_1shot", "meta_1shot"]
Ruled = Literal["vanilla_rfft", "meta_rfft", "vanilla_rfft_nl", "meta_rfft_nl"]

WITHOUT_EFFECT = {"corpus.workers", "adaptation.workers", "evaluation.workers", "trackers"}
"""Keys that change no result, except by rounding, as the number of cores does. A run may continue
in its folder with other values of them."""

LONGEST = 10_000
"""The upper limit of a range of lengths, which is expanded before it is checked. The kit's tasks
draw lengths up to 60."""


def _expand_lengths(value: Any) -> Any:
    """Turn "1-15" into [1, ..., 15]; leave everything else to the schema."""
    if isinstance(value, str):
        first, dash, last = value.partition("-")
        if not (dash and re.fullmatch("[0-9]{1,9}", first.strip())
                and re.fullmatch("[0-9]{1,9}", last.strip()) and int(last) <= LONGEST):
            raise ValueError(f"expected a range such as 1-15, up to {LONGEST}, or a list of "
                             f"lengths, got {value!r}")
        return list(range(int(first), int(last) + 1))
    return value


def _check_lengths(lengths: list[int]) -> list[int]:
    if not lengths or lengths != sorted(set(lengths)) or lengths[0] < 1:
        raise ValueError(f"expected ascending lengths from 1, none twice, got {lengths}")
    return lengths


def _expand_tasks(value: Any) -> Any:
    """Turn the name of a split into the ids of its tasks; leave everything else as it is."""
    if isinstance(value, str):
        if value not in ("pretrain", "downstream"):
            raise ValueError(f"expected pretrain, downstream or a list of tasks, got {value!r}")
        return [task.id for task in tasks.select(split=value)]
    return value


def _check_tasks(keys: list[str]) -> list[str]:
    """Turn names into ids, so that a file with names and one with ids are the same parameters."""
    try:
        named = [tasks.get(key) for key in keys]
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    changed = [task.label for task in named if task.is_counterfactual]
    if changed:
        raise ValueError("expected tasks without a changed rule (evaluation.counterfactual asks "
                         f"those), got {', '.join(changed)}")
    ids = [task.id for task in named]
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"expected at least one task, none twice, got {ids}")
    return ids


Lengths = Annotated[list[int], BeforeValidator(_expand_lengths), AfterValidator(_check_lengths)]
TaskIds = Annotated[list[str], BeforeValidator(_expand_tasks), AfterValidator(_check_tasks)]
Count = Annotated[int, Field(ge=1, lt=2**63)]  # the range of the libraries that take it
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # the range of numpy and transformers


class Section(BaseModel):
    """A part of a parameter file. Unknown keys, wrong types and numbers that are not finite are
    errors; values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Model(Section):
    """The language model: a Hub id, a local folder, or the embedded SmolLM2-135M-Instruct."""

    name: str  # a Hub id, a local folder, or SmolLM2-135M-Instruct, which comes with a package
    context: Count  # the most tokens of a prompt in its chat template and its completion together


class Held(Section):
    """Held-out samples: their lengths, and the number of samples of each length."""

    lengths: Lengths  # in the units of each task
    samples_per_length: Count  # for each task


class Samples(Held):
    """Samples of named tasks, or of all tasks of a split ("pretrain", "downstream").

    A length that a task cannot draw, or that does not fit the model's context, is refused. With
    `leave_out`, which is set if `tasks` names a split, it is left out and counted.
    """

    tasks: TaskIds  # the name of a split means all its tasks
    # Leave out and count lengths that a task cannot draw or whose samples do not fit the context.
    # This is set if `tasks` names a split; otherwise such a length is refused.
    leave_out: bool = False

    @model_validator(mode="before")
    @classmethod
    def _whole_split(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("tasks"), str):
            return {"leave_out": True} | data
        return data


class InContext(Samples):
    """Samples with one exemplar before the question, of tasks and of synthetic rules."""

    synthetic_samples: Annotated[int, Field(ge=0)]  # the number of samples of synthetic rules


class Corpus(Section):
    """The data of the run (the paper's Section 3 and Appendix A).

    An optional key with its default is not stored, so a run that was finished before the kit had
    the key keeps its digest.
    """

    workers: Count  # processes that build the corpus; they affect the time, never the data
    # The wording of an rfft trace: the kit's, or the paper's, which is longer.
    wording: Annotated[Literal["kit", "paper"],
                       Field(exclude_if=lambda wording: wording == "kit")] = "kit"
    pretrain: Samples  # the samples of RF-pretraining
    validation: Held  # of the pre-training tasks; the paper uses length 31 for early stopping
    adaptation: Samples  # the samples of the adaptations; no task of RF-pretraining
    adaptation_validation: Held  # of the adaptation tasks, in distribution
    evaluation: Held  # of the adaptation tasks
    # Samples of RF-pretraining with an exemplar in the prompt.
    in_context: Annotated[InContext | None, Field(exclude_if=lambda part: part is None)] = None


class Mix(Section):
    """General data mixed into the samples to keep general ability (the paper's Appendix)."""

    file: str  # JSONL, a prompt and a completion per line; relative paths are in the project
    share: Annotated[float, Field(gt=0, lt=1)]  # of all training samples

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return places.absolute(self.file, places.project())


def _unless(value: Any) -> Any:
    """An optional key, which is not dumped if it has its default."""
    return Field(default=value, exclude_if=lambda given: given == value)


class Training(Section):
    """One supervised fine-tuning. Batch sizes are in samples, over all devices together."""

    method: Literal["full", "pissa"]  # all weights, or an adapter that starts from PiSSA
    rank: Count | None = None  # of the adapter; required with pissa and refused without
    learning_rate: Annotated[float, Field(gt=0, lt=1)]  # the highest value of the schedule
    batch_size: Count  # samples per optimizer step, over all devices together
    micro_batch_size: Count  # samples per device at once, on average; divides batch_size
    steps: Count  # the maximum number of optimizer steps
    epochs: Count = 1  # the maximum number of passes over the data
    scheduler: Literal["constant", "linear", "cosine"]  # of the learning rate after the warm-up
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]  # of the steps
    weight_decay: Annotated[float, Field(ge=0)]  # of AdamW
    max_grad_norm: Annotated[float, Field(gt=0)]  # a longer gradient is clipped to this norm
    evaluate_every: Count  # steps between two validations
    save_every: Count  # steps between two checkpoints; with early stopping, divides evaluate_every
    # Stop after this number of validations without a better loss.
    early_stopping_patience: Count | None = None
    mix: Mix | None = _unless(None)  # general data mixed into the samples

    @model_validator(mode="after")
    def _consistent(self):
        if (self.method == "pissa") != (self.rank is not None):
            raise ValueError("rank belongs to method pissa, and only to it: "
                             f"got method {self.method} and rank {self.rank}")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide "
                             f"batch_size {self.batch_size}")
        if self.early_stopping_patience and self.evaluate_every % self.save_every:
            raise ValueError(f"early stopping needs a checkpoint at every validation: save_every "
                             f"{self.save_every} does not divide evaluate_every "
                             f"{self.evaluate_every}")
        return self


class Pretraining(Training):
    """RF-pretraining, on the samples of many tasks at once (Section 3)."""

    # The share of the samples that come from corpus.in_context.
    in_context_share: Annotated[float, Field(ge=0, lt=1)] = _unless(0.0)


class Further(Section):
    """Trainings beyond every method on every task: each of these methods, tasks and seeds."""

    methods: list[Adapted]  # the methods to train
    tasks: TaskIds  # a part of corpus.adaptation.tasks
    seeds: list[Seed] | None = None  # the run's own seed if not given


class Adaptation(Training):
    """The adaptation to each downstream task, the same for every method (Section 4)."""

    methods: list[Adapted]  # each is adapted to every task of corpus.adaptation.tasks
    further: list[Further] = _unless([])  # more trainings, such as other seeds
    workers: Count = _unless(1)  # trainings at once on a CPU, each with its share of the cores
    # What is equal for all methods. `samples`: the samples and the steps, as in the paper.
    # `trained_tokens`: the number of trained tokens, which is that of the rule-following samples of
    # these steps; the other methods repeat their samples.
    equal: Annotated[Literal["samples", "trained_tokens"],
                     Field(exclude_if=lambda equal: equal == "samples")] = "samples"

    @model_validator(mode="after")
    def _methods(self):
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods: expected at least one, none twice, got {self.methods}")
        return self


class Api(Section):
    """A model on an OpenAI-compatible server that gets the same questions (the long
    chain-of-thought models of Section 4)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]  # its method name in the results
    model: str  # its id on the server
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]  # up to and including /v1
    key_variable: Variable | None = "METARFFT_API_KEY"  # the environment variable with the API key
    max_tokens: Count = 24000  # of an answer, including its reasoning
    max_tokens_parameter: Annotated[
        Literal["max_tokens", "max_completion_tokens"],
        Field(exclude_if=lambda name: name == "max_tokens")
    ] = "max_tokens"  # the server's name for the limit
    temperature: Annotated[float, Field(ge=0, le=0)] | None = _unless(0.0)  # null sends none
    requests_per_minute: Count = 60  # the maximum
    concurrency: Count = 8  # the maximum number of requests at once
    timeout: Annotated[float, Field(gt=0, le=1e6)] = 1800.0  # seconds without any data
    retries: Annotated[int, Field(ge=0)] = 8  # of a request after a temporary failure
    price_in: Annotated[float, Field(ge=0)] | None = None  # per million prompt tokens
    price_out: Annotated[float, Field(ge=0)] | None = None  # per million generated tokens
    currency: str = "USD"  # of the prices


class Evaluation(Section):
    """Greedy generation (temperature 0) and scoring."""

    engine: Literal["vllm", "transformers"]  # the library that generates
    batch_size: Count  # sequences generated at once
    # A sample's decoding limit is limit_factor x gold tokens + limit_extra.
    limit_factor: Annotated[float, Field(ge=1, le=1e6)]
    limit_extra: Annotated[int, Field(ge=1)]  # tokens
    confidence: Annotated[float, Field(gt=0, lt=1)]  # the level of all intervals
    bootstrap_samples: Count  # the number of draws for each bootstrap interval
    tensor_parallel: Count = _unless(1)  # GPUs that share one model (vllm)
    workers: Count = _unless(1)  # engines at once on a CPU, each with its share of the cores
    in_context: list[InContextMethod] = _unless([])  # 1-shot methods, evaluated without adaptation
    counterfactual: list[Ruled] = _unless([])  # methods also evaluated with the changed rules
    api: list[Api] = _unless([])  # models on a server to evaluate

    @model_validator(mode="after")
    def _named_once(self):
        names = [*self.in_context, *(settings.name for settings in self.api)]
        if len(set(names)) < len(names) or set(METHODS) & {settings.name for settings in self.api}:
            raise ValueError(f"in_context, api: expected names used once, got {names}")
        return self


class Params(Section):
    """A whole parameter file, with ranges and splits expanded."""

    _folder: Path | None = None

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]  # also the name of the folder
    smoke: bool  # marks every figure as part of a smoke run
    seed: Seed  # determines samples, trainings and bootstraps
    model: Model
    trackers: list[Literal["tensorboard", "trackio"]] = _unless([])  # in addition to the log
    corpus: Corpus
    pretraining: Pretraining
    adaptation: Adaptation
    evaluation: Evaluation

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
                _check_drawable(key, owner.tasks, getattr(corpus, key).lengths)
        self._check_cells()
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
        missing = set(self.evaluation.counterfactual) - {cell.method for cell in self.trainings}
        if missing:
            raise ValueError("evaluation.counterfactual: expected methods that are trained, got "
                             f"{', '.join(sorted(missing))}")
        trained = {METHODS[cell.method].format for cell in self.trainings}
        if self.adaptation.equal == "trained_tokens" and "rfft" not in trained:
            raise ValueError("adaptation.equal: trained_tokens are those of the rule-following "
                             "samples: it needs vanilla_rfft or meta_rfft among the methods")
        if self.pretraining.in_context_share and not self.corpus.in_context:
            raise ValueError("pretraining.in_context_share needs samples: corpus.in_context is "
                             "missing")

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
                raise ValueError(f"corpus.{key}: task {task.id} cannot draw length {length}: "
                                 f"it allows {task.lengths[0]} to {task.lengths[-1]}")
