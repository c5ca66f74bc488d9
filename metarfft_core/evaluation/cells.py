"""One method on one task: its samples, its results file, and whether it is finished."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metarfft_core import corpus, models, params, tasks, training
from metarfft_core.evaluation import api, engines
from metarfft_core.params import METHODS, Params, ParamsError
from metarfft_core.system import files


def path(config: Params, method: str, task: str, seed: int | None = None) -> Path:
    """Return the JSONL file of one method on one task; `seed` is the run's by default.

    Here and below `task` is an id or a name. Stored results hold the id.
    """
    suffix = "" if seed in (None, config.seed) else f"-seed{seed}"
    return config.folder / "evaluation" / method / f"{tasks.id_of(task)}{suffix}.jsonl"


def asked(config: Params, method: str, task: str) -> tuple[str, str, str]:
    """Return the split and format of a cell's samples in the corpus, and their task."""
    if method not in METHODS:  # an API model gets the question alone
        return "evaluation", "direct", task
    if METHODS[method].in_context:
        return "evaluation_1shot", METHODS[method].format, task
    changed = tasks.get(task).is_counterfactual
    split = "evaluation_counterfactual" if changed else "evaluation"
    return split, METHODS[method].format, task


def plan(config: Params, method: str, task: str, seed: int | None = None) -> list[dict]:
    """List the evaluation samples to generate, shortest first, each with its decoding limit.

    The limit of a sample is limit_factor x the tokens of its own gold completion (with the end
    token), rounded up, + limit_extra. It is at most what the model's context leaves for the sample.
    An API model has its own limit.

    Raises:
        ParamsError: If a prompt and its gold completion do not fit the model's context.
    """
    task = tasks.id_of(task)
    samples, own = asked(config, method, task), api_settings(config, method)
    count = models.token_counter(config.model.name)
    rows = []
    for sample in corpus.read(config, *samples):
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
    """Return what the results of one method on one task depend on.

    Raises:
        ParamsError: If a required file or a finished training is missing.
    """
    [samples] = corpus.files(config, *asked(config, method, task))
    about = {"params": config.digest, "corpus": files.sha256(samples)}
    if own := api_settings(config, method):
        return {**about, "training": None, "engine": own.base_url, "versions": {}}
    return {**about, "training": _origin(config, method, task, seed),
            "engine": config.evaluation.engine, "versions": engines.versions()}


def _origin(config: Params, method: str, task: str, seed: int | None) -> str:
    """Return a hash that identifies the model: of the trained weights, or of the base model's.

    A repeated training that produces the same weights counts as the same training.
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
    """Return the training that makes the model of a cell; None for the base and API models."""
    if method not in METHODS:
        return None
    if METHODS[method].adapted:
        return training.Job(config, "adapt", tasks.get(task).base.id, method, seed)
    return training.Job(config, "pretrain") if METHODS[method].start == "pretrained" else None


def description(config: Params, method: str, task: str, seed: int | None) -> dict | None:
    """Return the content of the .json beside a results file; None if nothing describes the results.

    If that file is lost, it is restored from the manifest of the whole evaluation, which describes
    finished results in the same way.
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
    """Return whether the results are complete.

    A finished result stays valid under other versions of the engine. An unfinished result is only
    continued with the versions that it was started with.

    Raises:
        ParamsError: If the results were made with something else.
    """
    results = path(config, method, task, seed)
    stored = description(config, method, task, seed)
    if stored is None:
        return False
    now = header(config, method, task, seed)
    keys = ["params", "training", "corpus"] if stored["finished"] else list(now)
    differing = [key for key in keys if stored[key] != now[key]]
    job = job_of(config, method, task, seed)
    if job and stored["training"] == files.sha256(job.manifest):  # an earlier format of the kit
        differing = [key for key in differing if key != "training"]
    if differing:
        raise ParamsError(f"{results} was made with other {', '.join(differing)}: give this run "
                          "another name, or delete that file and the .json beside it")
    if not (stored["finished"] and results.exists()):
        return False
    check_rows(results, stored)
    return True


def check_rows(results: Path, about: Mapping) -> None:
    """Raise ParamsError if finished results are not the ones that were written."""
    if "sha256" in about and files.changed(results, about["sha256"]):
        raise ParamsError(f"{results} is missing or changed: put it back, or delete it and the "
                          ".json beside it, and it is generated again")


def api_settings(config: Params, method: str) -> params.Api | None:
    return next((one for one in config.evaluation.api if one.name == method), None)


def sample_key(row: Mapping) -> tuple[int, int]:
    return row["length"], row["index"]


def check_model(config: Params, method: str, task: str, seed: int | None = None) -> None:
    """Raise ParamsError if the model is missing or has changed since its training."""
    job = job_of(config, method, task, seed)
    if job and not training.finished(job):
        raise ParamsError(f"the evaluation of {method} on {task} needs a finished training: "
                          f"{training.lost(job) or job.manifest} is missing or changed; "
                          f"`metarfft train --stage {job.stage}` makes it again")
