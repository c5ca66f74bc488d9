"""One reinforcement learning of a run: what it is, and where its results are."""

from argparse import Namespace
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from metarfft_core import models, tasks
from metarfft_core.params import Params, ParamsError
from metarfft_core.params.schema.reinforcement import Reinforcement
from metarfft_core.system.files import changed, read_json
from metarfft_core.system.processes import gpus
from metarfft_core.training import job

STAGE = "rl"


@dataclass(frozen=True)
class Arm:
    """A reinforcement learning on one task, from one start and for one reward.

    Attributes:
        config: The resolved parameters of the run.
        task: A task id; a task's name is also accepted and becomes the id.
        start: "base" or "pretrained".
        reward: "outcome" or "process".
    """

    config: Params
    task: str
    start: str
    reward: str

    stage = STAGE

    def __post_init__(self):
        if self.config.rl is None:
            raise ParamsError(f"stage {STAGE}: run {self.config.name} has no section rl in its "
                              "parameter file")
        object.__setattr__(self, "task", tasks.id_of(self.task))
        for key, allowed in (("task", self.settings.tasks), ("start", self.settings.starts),
                             ("reward", self.settings.rewards)):
            if getattr(self, key) not in allowed:
                raise ParamsError(f"{key}: expected one of {', '.join(allowed)}, got "
                                  f"{getattr(self, key)!r}")

    @property
    def settings(self) -> Reinforcement:
        return self.config.rl

    @property
    def name(self) -> str:
        return f"{STAGE} {self.task} {self.start} {self.reward}"

    @property
    def folder(self) -> Path:
        """The folder with its log, its answers, its model and its manifest."""
        return self.config.folder / STAGE / self.task / f"{self.start}_{self.reward}"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def format(self) -> str:
        """The format of its samples in the corpus."""
        return self.settings.prompt.removesuffix("_1shot")

    @property
    def command(self) -> list[str]:
        """The module that runs it, and its options."""
        return ["metarfft_core.training.rl", "--task", self.task, "--start", self.start,
                "--reward", self.reward]


def arms(config: Params) -> list[Arm]:
    """Return every reinforcement learning of a run, in order; none without a section rl."""
    if config.rl is None:
        return []
    return [Arm(config, task, start, reward) for task in config.rl.tasks
            for start in config.rl.starts for reward in config.rl.rewards]


def base_folder(arm: Arm) -> str:
    """Return the folder of the model that a training starts from."""
    return models.resolve(str(job.model_folder(arm.config)) if arm.start == "pretrained"
                          else arm.config.model.name)


def finished(arm: Arm) -> bool:
    """Return whether a training is done and everything that it made is there with its hash.

    Raises:
        ParamsError: If the training cannot be started, or if the folder holds another one.
    """
    manifest = read_json(arm.manifest) if arm.manifest.exists() else None
    if manifest and manifest["params_digest"] != arm.config.digest:
        raise ParamsError(f"{arm.folder} was trained with other parameters (digest "
                          f"{manifest['params_digest']}, this run has {arm.config.digest}): give "
                          "this run another name, or delete that folder")
    if manifest and any(manifest.get(key, getattr(arm, key)) != getattr(arm, key)
                        for key in ("stage", "task", "start", "reward")):
        raise ParamsError(f"{arm.folder} holds another training, by its manifest.json: put back "
                          f"{arm.name}, or delete that folder")
    if arm.start == "pretrained" and not job.finished(job.Job(arm.config, "pretrain")):
        raise ParamsError(f"{arm.name} starts from the RF-pretrained model: finish the stage "
                          f"pretrain of run {arm.config.name} first")
    if manifest is None or any(changed(arm.folder / name, expected) for name, expected in
                               (manifest["weights"] | manifest["files"]).items()):
        return False
    if manifest["base_model"]["sha256"] != models.weights_hash(base_folder(arm)):
        raise ParamsError(f"{arm.folder} was trained from other weights than "
                          f"{base_folder(arm)}: delete {arm.folder} to train it again")
    return True


def check_engine(config: Params) -> None:
    """Refuse an engine that cannot generate beside a training here, before anything long starts.

    What is finished needs none.

    Raises:
        ParamsError: The engine is vLLM, and it is not installed or there is no GPU for it.
    """
    left = [arm for arm in arms(config) if not arm.manifest.exists()]
    if left and config.rl.engine == "vllm" and not (gpus() and find_spec("vllm")):
        raise ParamsError("rl.engine: vllm needs a GPU and the package vllm on this machine; set "
                          "transformers")


def chosen(config: Params, options: Namespace) -> list[Arm]:
    """Return the reinforcement learnings that the options of `metarfft train` name.

    Raises:
        ParamsError: The run has none, or an option is not of this stage.
    """
    for option in ("method", "seed"):
        if getattr(options, option) is not None:
            raise ParamsError(f"stage {STAGE} takes no {option}, got {getattr(options, option)!r}")
    found = [arm for arm in arms(config) if options.task is None
             or arm.task == tasks.id_of(options.task)]
    if not found:
        raise ParamsError(f"stage {STAGE}: run {config.name} has no reinforcement learning"
                          + (f" on {options.task!r}" if options.task and config.rl else "")
                          + "; the section rl of its parameter file names the tasks")
    return found
