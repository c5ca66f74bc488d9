"""The parameter files: one YAML file is one run, checked before anything starts.

The schema refuses unknown keys (nested ones too), wrong types and impossible combinations, and
names the key, what is allowed and what was got. The paper's own values stand in `params/7b.yaml`
and `params/32b.yaml`; a value that the paper does not state is marked there as an assumption.
"""

import difflib
import hashlib
import json
import os
import types
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from metarfft_core import tasks


class Method(NamedTuple):
    """One of the compared ways to answer a downstream task."""

    label: str  # in figures and tables
    format: str  # of its samples
    start: Literal["base", "pretrained"]
    adapted: bool  # to each task, in weights
    in_context: bool  # with one exemplar in the prompt


METHODS = {
    "direct": Method("Direct answer", "direct", "base", True, False),
    "scratchpad": Method("Scratchpad", "scratchpad", "base", True, False),
    "vanilla_rfft": Method("Vanilla RFFT", "rfft", "base", True, False),
    "meta_rfft": Method("Meta-RFFT", "rfft", "pretrained", True, False),
    "vanilla_rfft_nl": Method("Vanilla RFFT, rule in words", "rfft_nl", "base", True, False),
    "meta_rfft_nl": Method("Meta-RFFT, rule in words", "rfft_nl", "pretrained", True, False),
    "base_1shot": Method("Base model, 1-shot", "rfft", "base", False, True),
    "meta_1shot": Method("RF-pretrained, 1-shot", "rfft", "pretrained", False, True)}
"""The compared methods: the paper's Table 2, its natural-language rules, and 1-shot prompts."""

Adapted = Literal["direct", "scratchpad", "vanilla_rfft", "meta_rfft", "vanilla_rfft_nl",
                  "meta_rfft_nl"]
InContextMethod = Literal["base_1shot", "meta_1shot"]
Ruled = Literal["vanilla_rfft", "meta_rfft", "vanilla_rfft_nl", "meta_rfft_nl"]

WITHOUT_EFFECT = {"corpus.workers", "adaptation.workers", "evaluation.workers", "trackers"}
"""Keys on which no result depends, but for rounding, as on a machine's cores: a run's folder may be
used again with others."""

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_FILE = ROOT / "params" / "smoke.yaml"
ENVIRONMENT_VARIABLE = "METARFFT_PARAMS"


class ParamsError(ValueError):
    """Something that the user gave is wrong; the message is meant for the user."""


def _expand_lengths(value: Any) -> Any:
    """Turn "1-15" into [1, ..., 15]; leave everything else to the schema."""
    if isinstance(value, str):
        first, dash, last = value.partition("-")
        if not (dash and first.strip().isdigit() and last.strip().isdigit()):
            raise ValueError(f"expected a range such as 1-15 or a list of lengths, got {value!r}")
        return list(range(int(first), int(last) + 1))
    return value


def _check_lengths(lengths: list[int]) -> list[int]:
    if not lengths or lengths != sorted(set(lengths)) or lengths[0] < 1:
        raise ValueError(f"expected ascending lengths from 1, none twice, got {lengths}")
    return lengths


def _expand_tasks(value: Any) -> Any:
    """Turn the name of a split into the ids of its tasks."""
    if isinstance(value, str):
        if value not in ("pretrain", "downstream"):
            raise ValueError(f"expected pretrain, downstream or a list of task ids, got {value!r}")
        return [task.id for task in tasks.select(split=value)]
    return value


def _check_tasks(ids: list[str]) -> list[str]:
    for task_id in ids:
        try:
            tasks.get(task_id)
        except KeyError as error:
            raise ValueError(error.args[0]) from None
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"expected at least one task, none twice, got {ids}")
    return ids


Lengths = Annotated[list[int], BeforeValidator(_expand_lengths), AfterValidator(_check_lengths)]
TaskIds = Annotated[list[str], BeforeValidator(_expand_tasks), AfterValidator(_check_tasks)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a parameter file: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Model(Section):
    """The language model: a Hub id, a local folder, or the embedded SmolLM2-135M-Instruct."""

    name: str
    context: Count  # tokens that a templated prompt and its completion may take together


class Held(Section):
    """Samples that are held out: lengths in the units of each task, samples for each of them."""

    lengths: Lengths
    samples_per_length: Count


class Samples(Held):
    """Samples of named tasks, or of all tasks of a split ("pretrain", "downstream").

    A length that a task cannot draw, or that does not fit the model's context, is refused; with
    `leave_out`, which the name of a split sets, it is left out and counted.
    """

    tasks: TaskIds
    leave_out: bool = False

    @model_validator(mode="before")
    @classmethod
    def _whole_split(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("tasks"), str):
            return {"leave_out": True} | data
        return data


class InContext(Samples):
    """Samples with one exemplar before the question, and such samples of synthetic rules."""

    synthetic_samples: Annotated[int, Field(ge=0)]


class Corpus(Section):
    """The data of the run (the paper's Section 3 and Appendix A).

    An optional key that changes nothing is not dumped: a run that was finished before the kit had
    that key keeps its digest.
    """

    workers: Count
    wording: Annotated[Literal["kit", "paper"],
                       Field(exclude_if=lambda wording: wording == "kit")] = "kit"  # of rfft
    pretrain: Samples
    validation: Held  # of the pre-training tasks; the paper stops early on length 31
    adaptation: Samples
    adaptation_validation: Held  # of the adaptation tasks, in distribution
    evaluation: Held  # of the adaptation tasks
    in_context: Annotated[InContext | None, Field(exclude_if=lambda part: part is None)] = None


class Mix(Section):
    """General data among the samples, so that general ability is kept (the paper's Appendix)."""

    file: str  # JSONL, a prompt and a completion a line; a relative path lies in the project
    share: Annotated[float, Field(gt=0, lt=1)]  # of the samples that are trained on


def _unless(value: Any) -> Any:
    """An optional key: it is not dumped where it has its default."""
    return Field(default=value, exclude_if=lambda given: given == value)


class Training(Section):
    """One supervised fine-tuning. Batches are counted in samples, over all devices together."""

    method: Literal["full", "pissa"]
    rank: Count | None = None
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    batch_size: Count
    micro_batch_size: Count  # samples a device computes at once, on average; see training.pack
    steps: Count  # optimizer steps, at the most
    epochs: Count = 1  # the most passes over the data
    scheduler: Literal["constant", "linear", "cosine"]
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    evaluate_every: Count  # steps between two looks at the validation loss
    save_every: Count  # steps between two checkpoints
    early_stopping_patience: Count | None = None  # looks without a better validation loss
    mix: Mix | None = _unless(None)

    @model_validator(mode="after")
    def _consistent(self):
        if (self.method == "pissa") != (self.rank is not None):
            raise ValueError("rank belongs to method pissa, and only to it: "
                             f"got method {self.method} and rank {self.rank}")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide "
                             f"batch_size {self.batch_size}")
        if self.early_stopping_patience and self.evaluate_every % self.save_every:
            raise ValueError(f"early stopping needs a checkpoint at every look: save_every "
                             f"{self.save_every} does not divide evaluate_every "
                             f"{self.evaluate_every}")
        return self


class Pretraining(Training):
    """RF-pretraining, on the samples of many tasks at once (Section 3)."""

    in_context_share: Annotated[float, Field(ge=0, lt=1)] = _unless(0.0)  # of corpus.in_context


class Further(Section):
    """More trainings than every method on every task: of some methods, on some tasks, by seed."""

    methods: list[Adapted]
    tasks: TaskIds
    seeds: list[Annotated[int, Field(ge=0)]] | None = None  # the run's own where it is not given


class Adaptation(Training):
    """The adaptation to each downstream task, the same for every method (Section 4)."""

    methods: list[Adapted]
    further: list[Further] = _unless([])
    workers: Count = _unless(1)  # trainings at once on a CPU, each with its share of the cores
    # What the methods have in common: the paper's samples and steps, or the trained tokens, as
    # many as the rule-following samples of these steps have; the others then repeat theirs.
    equal: Annotated[Literal["samples", "trained_tokens"],
                     Field(exclude_if=lambda equal: equal == "samples")] = "samples"

    @model_validator(mode="after")
    def _methods(self):
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods: expected at least one, none twice, got {self.methods}")
        return self


class Api(Section):
    """A model behind an OpenAI-compatible server, asked the same questions (the long
    chain-of-thought models of Section 4)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]  # of the method, in the results
    model: str  # its id at the server
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]  # up to and including /v1
    key_variable: str | None = "METARFFT_API_KEY"  # the environment variable that holds the key
    max_tokens: Count = 24000  # of an answer, thinking included
    requests_per_minute: Count = 60
    concurrency: Count = 8  # requests at once
    timeout: Annotated[float, Field(gt=0)] = 1800.0  # seconds without a word
    retries: Annotated[int, Field(ge=0)] = 8
    price_in: Annotated[float, Field(ge=0)] | None = None  # for a million prompt tokens
    price_out: Annotated[float, Field(ge=0)] | None = None  # for a million generated tokens
    currency: str = "USD"


class Evaluation(Section):
    """Generation and scoring, greedy (temperature 0)."""

    engine: Literal["vllm", "transformers"]
    batch_size: Count  # sequences generated at once
    limit_factor: Annotated[float, Field(ge=1)]  # decoding limit: factor x gold tokens + extra
    limit_extra: Annotated[int, Field(ge=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]  # of every interval
    bootstrap_samples: Count
    tensor_parallel: Count = _unless(1)  # GPUs that hold one model together (vllm)
    workers: Count = _unless(1)  # engines at once on a CPU, each with its share of the cores
    in_context: list[InContextMethod] = _unless([])
    counterfactual: list[Ruled] = _unless([])  # also asked with the changed rule of each task
    api: list[Api] = _unless([])

    @model_validator(mode="after")
    def _named_once(self):
        names = [*self.in_context, *(one.name for one in self.api)]
        if len(set(names)) < len(names) or set(METHODS) & {one.name for one in self.api}:
            raise ValueError(f"in_context, api: expected names used once, got {names}")
        return self


class Params(Section):
    """A whole parameter file, resolved."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]  # also the folder's name
    smoke: bool  # marks every figure as one of a smoke run
    seed: Annotated[int, Field(ge=0)]
    model: Model
    trackers: list[Literal["tensorboard", "trackio"]] = _unless([])  # beside the log
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
        """Whether what is to be trained and evaluated can be had, and is named once."""
        for number, further in enumerate(self.adaptation.further):
            other = set(further.tasks) - set(self.corpus.adaptation.tasks)
            if other:
                raise ValueError(f"adaptation.further.{number}.tasks: expected tasks of "
                                 f"corpus.adaptation.tasks, got {', '.join(sorted(other))}")
        twice = [cell for cell, times in Counter(self.trainings).items() if times > 1]
        if twice:
            raise ValueError("adaptation.further: task {}, method {}, seed {} stands there twice"
                             .format(*twice[0]))
        missing = set(self.evaluation.counterfactual) - {method for _, method, _ in self.trainings}
        if missing:
            raise ValueError("evaluation.counterfactual: expected methods that are trained, got "
                             f"{', '.join(sorted(missing))}")
        trained = {METHODS[method].format for _, method, _ in self.trainings}
        if self.adaptation.equal == "trained_tokens" and "rfft" not in trained:
            raise ValueError("adaptation.equal: trained_tokens are those of the rule-following "
                             "samples: it needs vanilla_rfft or meta_rfft among the methods")
        if self.pretraining.in_context_share and not self.corpus.in_context:
            raise ValueError("pretraining.in_context_share needs samples: corpus.in_context is "
                             "missing")

    @property
    def trainings(self) -> list[tuple[str, str, int]]:
        """(task, method, seed) of every adaptation, in their order."""
        cells = [(task, method, self.seed) for task in self.corpus.adaptation.tasks
                 for method in self.adaptation.methods]
        return cells + [(task, method, seed) for further in self.adaptation.further
                        for task in further.tasks for method in further.methods
                        for seed in further.seeds or [self.seed]]

    @property
    def cells(self) -> list[tuple[str, str, int]]:
        """(method, task, seed) of everything that is evaluated, in its order.

        The counterfactual of a task is a task of its own, `<id>_cf`.
        """
        order = list(METHODS)
        trained = sorted(((method, task, seed) for task, method, seed in self.trainings),
                         key=lambda cell: order.index(cell[0]))
        changed = [(method, f"{task}_cf", seed) for method, task, seed in trained
                   if method in self.evaluation.counterfactual and tasks.get(task).counterfactual]
        others = [*self.evaluation.in_context, *(one.name for one in self.evaluation.api)]
        return trained + changed + [(method, task, self.seed) for method in others
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
        """Where the run's results stand: outputs/<name>, or below $METARFFT_OUTPUTS."""
        return Path(os.environ.get("METARFFT_OUTPUTS") or ROOT / "outputs").resolve() / self.name


def _check_drawable(key: str, ids: list[str], lengths: list[int]) -> None:
    for task in map(tasks.get, ids):
        for length in lengths:
            if length not in task.lengths:
                raise ValueError(f"corpus.{key}: task {task.id} cannot draw length {length}: "
                                 f"it allows {task.lengths[0]} to {task.lengths[-1]}")


def load(path: str | os.PathLike) -> Params:
    """Read and check a parameter file; ParamsError says what is wrong with it."""
    return check(read(path), str(path))


def read(path: str | os.PathLike) -> dict:
    """The mapping in a parameter file, not yet checked."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def check(values: dict, origin: str = "parameters") -> Params:
    """Build the parameters from a mapping; ParamsError names every wrong key of `origin`."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ParamsError(f"{origin}: {problems}") from None


def _explain(problem: dict) -> str:
    """One problem of pydantic's in the kit's words: key, what is allowed, what was got."""
    keys = [str(part) for part in problem["loc"]]
    where, got = ".".join(keys), problem["input"]
    if problem["type"] == "extra_forbidden":
        allowed = _allowed_keys(keys[:-1])
        near = difflib.get_close_matches(keys[-1], allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{where}: unknown key{hint} (allowed: {', '.join(allowed)})"
    if problem["type"] == "missing":
        return f"{where}: this key is missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{where}: {message}" if where else message
    hint = ""
    if isinstance(got, str) and problem["type"].startswith(("float", "int")):
        hint = " (a string; in YAML write a small number as 1.0e-5)"
    return f"{where}: {message}, got {got!r}{hint}"


def _allowed_keys(keys: list[str]) -> list[str]:
    section = Params
    for key in keys:
        if key.isdigit():  # a place in a list
            continue
        annotation = section.model_fields[key].annotation
        section, *_ = get_args(annotation) or (annotation,)  # of an optional section: the section
    return list(section.model_fields)


def from_notebook(namespace: dict[str, Any]) -> Params:
    """The parameters of a notebook, out of its variables (call it with `globals()`).

    Papermill puts every top-level key of a parameter file into a variable of that name. Where
    `name` was given, those variables are the whole file. Otherwise the file named by
    $METARFFT_PARAMS (else params/smoke.yaml) holds, and a variable that is not None replaces
    its key. A variable that is no parameter was misspelt: papermill itself only warns.
    """
    given = {key: value for key, value in namespace.items()
             if not key.startswith("_") and key not in ("In", "Out", "exit", "quit", "open")
             and not isinstance(value, (types.ModuleType, types.FunctionType, types.MethodType))
             and not isinstance(value, type)}
    values = {key: value for key, value in given.items() if value is not None}
    if "name" in values:
        return check(values, "the notebook's parameters")
    path = os.environ.get(ENVIRONMENT_VARIABLE, DEFAULT_FILE)
    return check(read(path) | values, f"{path} and the notebook's parameters")


def open_folder(run: Params) -> Path:
    """Make the run's folder and write its resolved parameters there.

    Returns the folder. Raises ParamsError where it cannot be written, or where it holds a run
    made with other parameters (it names the keys that differ).
    """
    path = run.folder / "params.yaml"
    values = run.model_dump()
    if path.exists() and _holds_results(run.folder):
        other = read(path)
        differing = [key for key in _leaves(values) | _leaves(other)
                     if _leaves(values).get(key) != _leaves(other).get(key)
                     and key not in WITHOUT_EFFECT]
        if differing:
            raise ParamsError(f"{run.folder} was made with other parameters "
                              f"({', '.join(sorted(differing))}): give this run another name, "
                              "or delete that folder")
        return run.folder
    from metarfft_core.files import write_whole

    try:
        write_whole(path, "# The resolved parameters of this run.\n"
                    + yaml.safe_dump(values, sort_keys=False))
    except OSError as error:
        raise ParamsError(f"{run.folder} cannot be written: {error.strerror}") from None
    return run.folder


def _holds_results(folder: Path) -> bool:
    """Whether anything was made there; a run that was refused leaves only what is named here."""
    return any(entry.name not in ("params.yaml", "notebooks", "reports")
               and not entry.name.startswith(".") for entry in folder.iterdir())


def _leaves(values: dict, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by dots."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
