"""The sections of a parameter file: each key, its type, its bounds and its meaning."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from metarfft_core.authoring import task_files
from metarfft_core.params.schema.kinds import Count, Lengths, Section, Seed, TaskIds, optional
from metarfft_core.params.schema.methods import METHODS
from metarfft_core.system import places

Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{1,16})*$")]
Adapted = Literal["direct", "scratchpad", "vanilla_rfft", "meta_rfft", "vanilla_rfft_nl",
                  "meta_rfft_nl"]
InContextMethod = Literal["base_1shot", "meta_1shot"]
Ruled = Literal["vanilla_rfft", "meta_rfft", "vanilla_rfft_nl", "meta_rfft_nl"]


class TaskFile(Section):
    """A Python file that declares tasks of yours, which this run may name. **Every process of the
    run executes it.**

    The path of a file can replace this section. The stored parameters of a run also have the
    file's hash, and a file that has changed since is refused.
    """

    file: str  # in the project's folder, or an absolute path
    # Of the file and of what it imports from its folder; computed if not given.
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _hashed(cls, data: Any) -> Any:
        data = {"file": data} if isinstance(data, str) else data
        if isinstance(data, dict) and isinstance(data.get("file"), str) and not data.get(
                "sha256"):
            return data | {"sha256": task_files.content_hash(_in_project(data["file"]))}
        return data

    @model_validator(mode="after")
    def _registered(self):
        self.register()
        return self

    def register(self) -> None:
        """Make its tasks known to this process."""
        task_files.register(_in_project(self.file), self.sha256)


def _in_project(file: str) -> Path:
    """Return the absolute path of a file that is given as absolute or within the project."""
    path = places.absolute(file, places.project())
    if not Path(file).expanduser().is_absolute() and not path.is_relative_to(places.project()):
        raise ValueError(f"expected a path in the project's folder or an absolute one, got {file}")
    return path


class Model(Section):
    """The language model: a Hub id, a local folder, or the embedded SmolLM2-135M-Instruct."""

    name: str  # a Hub id, a local folder, or SmolLM2-135M-Instruct, which comes with a package
    context: Count  # the most tokens of a prompt in its chat template and its completion together
    # The kit's chat template for a base model that has none; a model's own is never replaced.
    chat_template: Literal["plain"] | None = optional(None)


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


class Kept(Section):
    """The run that a training's weights come from; `keep_steps` makes runs with this key."""

    run: str  # the name of that run, whose folder is beside this one's
    digest: str  # of that run's parameters
    steps: Count  # of that run's whole training, which its schedule is made for


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
    save_every: Count  # steps between two checkpoints, which a killed training resumes from
    # Stop after this number of validations without a better loss.
    early_stopping_patience: Count | None = None
    mix: Mix | None = optional(None)  # general data mixed into the samples
    # Keep the weights after these steps, too, and evaluate each of them as a run of its own.
    keep_steps: list[Count] = optional([])
    # Take the weights that another run kept after `steps` steps; written by `keep_steps`.
    kept: Kept | None = optional(None)

    @model_validator(mode="after")
    def _consistent(self):
        if (self.method == "pissa") != (self.rank is not None):
            raise ValueError("expected a rank with method pissa and none with full: "
                             f"got method {self.method} and rank {self.rank}")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide "
                             f"batch_size {self.batch_size}")
        self._check_kept_steps()
        return self

    def _check_kept_steps(self) -> None:
        if self.keep_steps != sorted(set(self.keep_steps)) or any(
                step >= self.steps for step in self.keep_steps):
            raise ValueError("keep_steps: expected ascending steps before the last step, "
                             f"{self.steps}, without repeats, got {self.keep_steps}")
        if self.keep_steps and self.early_stopping_patience:
            raise ValueError("keep_steps: with early_stopping_patience a training may end before "
                             f"these steps: leave that key out, got {self.early_stopping_patience}")


class Pretraining(Training):
    """RF-pretraining, on the samples of many tasks at once (Section 3)."""

    # The share of the samples that come from corpus.in_context.
    in_context_share: Annotated[float, Field(ge=0, lt=1)] = optional(0.0)
    # Processes on a CPU that share each batch, each with its share of the cores. They divide
    # batch_size / micro_batch_size.
    workers: Count = optional(1)

    @model_validator(mode="after")
    def _shared(self):
        if self.batch_size % (self.micro_batch_size * self.workers):
            raise ValueError(f"workers {self.workers} x micro_batch_size {self.micro_batch_size} "
                             f"does not divide batch_size {self.batch_size}")
        return self


class Further(Section):
    """Trainings beyond every method on every task: each of these methods, tasks and seeds."""

    methods: list[Adapted]  # the methods to train
    tasks: TaskIds  # a part of corpus.adaptation.tasks
    seeds: list[Seed] | None = None  # the run's own seed if not given


class Adaptation(Training):
    """The adaptation to each downstream task, the same for every method (Section 4)."""

    methods: list[Adapted]  # each is adapted to every task of corpus.adaptation.tasks; can be []
    further: list[Further] = optional([])  # more trainings, such as other seeds
    workers: Count = optional(1)  # trainings at once on a CPU, each with its share of the cores
    # What is equal for all methods. `samples`: the samples and the steps, as in the paper.
    # `trained_tokens`: the number of trained tokens, which is that of the rule-following samples of
    # these steps; the other methods repeat their samples.
    equal: Annotated[Literal["samples", "trained_tokens"],
                     Field(exclude_if=lambda equal: equal == "samples")] = "samples"

    @model_validator(mode="after")
    def _methods(self):
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods: expected without repeats, got {self.methods}")
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
    temperature: Annotated[float, Field(ge=0, le=0)] | None = optional(0.0)  # null sends none
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
    tensor_parallel: Count = optional(1)  # GPUs that share one model (vllm)
    workers: Count = optional(1)  # engines at once on a CPU, each with its share of the cores
    in_context: list[InContextMethod] = optional([])  # 1-shot methods, evaluated without adaptation
    counterfactual: list[Ruled] = optional([])  # methods also evaluated with the changed rules
    api: list[Api] = optional([])  # models on a server to evaluate

    @model_validator(mode="after")
    def _named_once(self):
        names = [*self.in_context, *(settings.name for settings in self.api)]
        if len(set(names)) < len(names) or set(METHODS) & {settings.name for settings in self.api}:
            raise ValueError(f"in_context, api: expected names used once, got {names}")
        return self
