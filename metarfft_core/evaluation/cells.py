"""One method on one task: its samples, its results file, and whether it is finished."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarfft_core import corpus, models, params, tasks, training
from metarfft_core.evaluation import api, engines
from metarfft_core.params import METHODS, Params, ParamsError
from metarfft_core.system import files

if TYPE_CHECKING:
    pass


def path(config: Params, method: str, task: str, seed: int | None = None) -> Path:
    """The JSONL file of one method on one task; `seed` is the run's where it is not given.

    Here and below `task` is an id or a name; what is stored holds the id.
    """
    suffix = "" if seed in (None, config.seed) else f"-seed{seed}"
    return config.folder / "evaluation" / method / f"{tasks.id_of(task)}{suffix}.jsonl"


def _asked(config: Params, method: str, task: str) -> tuple[str, str, str]:
    """The split and format of a cell's samples in the corpus, and their task."""
    if method not in METHODS:  # an API model gets the question alone
        return "evaluation", "direct", task
    if METHODS[method].in_context:
        return "evaluation_1shot", METHODS[method].format, task
    changed = tasks.get(task).is_counterfactual
    split = "evaluation_counterfactual" if changed else "evaluation"
    return split, METHODS[method].format, task


def plan(config: Params, method: str, task: str, seed: int | None = None) -> list[dict]:
    """What is to be generated: the evaluation samples, shortest first, each with its limit.

    The decoding limit of a sample is limit_factor x the tokens of its own gold completion (end
    token included), rounded up, + limit_extra, or what the model's context leaves for it where
    that is less; an API model has a limit of its own. Raises ParamsError where a prompt and its
    gold completion do not fit.
    """
    task = tasks.id_of(task)
    asked, own = _asked(config, method, task), api_settings(config, method)
    count = models.token_counter(config.model.name)
    rows = []
    for sample in corpus.read(config, *asked):
        prompt = api.question(sample["prompt"]) if own else sample["prompt"]
        prompt_tokens = count(prompt, "") - 1  # without the end token
        gold_tokens = count(prompt, sample["completion"]) - prompt_tokens
        if prompt_tokens + gold_tokens > config.model.context:
            raise ParamsError(f"evaluation of {method} on {task} at length {sample['length']}: "
                              f"the prompt takes {prompt_tokens} tokens, its gold completion "
                              f"{gold_tokens}; model.context allows {config.model.context} "
                              "together")
        settings = config.evaluation
        limit = math.ceil(settings.limit_factor * gold_tokens) + settings.limit_extra
        limit = own.max_tokens if own else min(limit, config.model.context - prompt_tokens)
        rows.append({"method": method, "task": task, "seed": config.seed if seed is None else seed,
                     "length": sample["length"], "index": sample["index"], "prompt": prompt,
                     "inputs": sample["inputs"], "gold_answer": sample["answer"],
                     "gold_tokens": gold_tokens, "prompt_tokens": prompt_tokens, "limit": limit})
    return sorted(rows, key=sample_key)


def header(config: Params, method: str, task: str, seed: int | None = None) -> dict[str, Any]:
    """What the results of one method on one task depend on; ParamsError where it is missing."""
    [samples] = corpus.files(config, *_asked(config, method, task))
    about = {"params": config.digest, "corpus": files.sha256(samples)}
    if own := api_settings(config, method):
        return {**about, "training": None, "engine": own.base_url, "versions": {}}
    return {**about, "training": _origin(config, method, task, seed),
            "engine": config.evaluation.engine, "versions": engines.versions()}


def _origin(config: Params, method: str, task: str, seed: int | None) -> str:
    """A hash that stands for the model: of the weights that a training left, or of the base's.

    A training that is made again, and comes to the same weights, is the same one.
    """
    job = job_of(config, method, task, seed)
    if job is None:
        return models.weights_hash(models.resolve(config.model.name))
    if not job.manifest.exists():
        raise ParamsError(f"the evaluation of {method} on {task} needs a finished training: "
                          f"there is no {job.manifest}")
    weights = files.read_json(job.manifest)["weights"]
    return hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()


def job_of(config: Params, method: str, task: str, seed: int | None) -> training.Job | None:
    """The training that makes the model of a cell; None for the base model and an API's."""
    if method not in METHODS:
        return None
    if METHODS[method].adapted:
        return training.Job(config, "adapt", tasks.get(task).base.id, method, seed)
    return training.Job(config, "pretrain") if METHODS[method].start == "pretrained" else None


def description(config: Params, method: str, task: str, seed: int | None) -> dict | None:
    """What the .json beside a results file says; None where nothing says what made the results.

    Where it is lost, the manifest of the whole evaluation says the same of finished results.
    """
    results = path(config, method, task, seed)
    every = config.folder / "evaluation" / "manifest.json"
    about = results.with_suffix(".json")
    if not about.exists() and every.exists() and results.exists():
        kept = files.read_json(every).get(method, {}).get(results.stem)
        if kept and kept["sha256"] == files.sha256(results):
            files.write_json(about, kept)
    return files.read_json(about) if about.exists() else None


def is_finished(config: Params, method: str, task: str, seed: int | None = None) -> bool:
    """Whether the results are complete; ParamsError where they were made with something else.

    A finished result holds under other versions of the engine too, a half-finished one is only
    continued with those that it was begun with.
    """
    results = path(config, method, task, seed)
    stored = description(config, method, task, seed)
    if stored is None:
        return False
    now = header(config, method, task, seed)
    keys = ["params", "training", "corpus"] if stored["finished"] else list(now)
    differing = [key for key in keys if stored[key] != now[key]]
    job = job_of(config, method, task, seed)
    if job and stored["training"] == files.sha256(job.manifest):  # as the kit once wrote it
        differing = [key for key in differing if key != "training"]
    if differing:
        raise ParamsError(f"{results} was made with other {', '.join(differing)}: give this run "
                          "another name, or delete that file and the .json beside it")
    if not (stored["finished"] and results.exists()):
        return False
    check_rows(results, stored)
    return True


def check_rows(results: Path, about: Mapping) -> None:
    """Raise ParamsError where finished results are not the ones that were written."""
    if "sha256" in about and files.changed(results, about["sha256"]):
        raise ParamsError(f"{results} is missing or changed: put it back, or delete it and the "
                          ".json beside it, and it is generated again")


def api_settings(config: Params, method: str) -> params.Api | None:
    return next((one for one in config.evaluation.api if one.name == method), None)


def sample_key(row: Mapping) -> tuple[int, int]:
    return row["length"], row["index"]


def check_model(config: Params, method: str, task: str, seed: int | None = None) -> None:
    """Refuse (ParamsError) a model that is not there as its training left it."""
    job = job_of(config, method, task, seed)
    if job and not training.finished(job):
        raise ParamsError(f"the evaluation of {method} on {task} needs a finished training: "
                          f"{training.lost(job) or job.manifest} is missing or changed; "
                          f"`metarfft train --stage {job.stage}` makes it again")
