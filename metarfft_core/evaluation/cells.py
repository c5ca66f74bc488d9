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


def path(run: Params, method: str, task: str, seed: int | None = None) -> Path:
    """The JSONL file of one method on one task; `seed` is the run's where it is not given.

    Here and below `task` is an id or a name; what is stored holds the id.
    """
    suffix = "" if seed in (None, run.seed) else f"-seed{seed}"
    return run.folder / "evaluation" / method / f"{tasks.id_of(task)}{suffix}.jsonl"


def _asked(run: Params, method: str, task: str) -> tuple[str, str, str]:
    """The split and format of a cell's samples in the corpus, and their task."""
    if method not in METHODS:  # an API model gets the question alone
        return "evaluation", "direct", task
    if METHODS[method].in_context:
        return "evaluation_1shot", METHODS[method].format, task
    changed = tasks.get(task).is_counterfactual
    split = "evaluation_counterfactual" if changed else "evaluation"
    return split, METHODS[method].format, task


def plan(run: Params, method: str, task: str, seed: int | None = None) -> list[dict]:
    """What is to be generated: the evaluation samples, shortest first, each with its limit.

    The decoding limit of a sample is limit_factor x the tokens of its own gold completion (end
    token included), rounded up, + limit_extra, or what the model's context leaves for it where
    that is less; an API model has a limit of its own. Raises ParamsError where a prompt and its
    gold completion do not fit.
    """
    task = tasks.id_of(task)
    asked, own = _asked(run, method, task), api_settings(run, method)
    count = models.token_counter(run.model.name)
    rows = []
    for sample in corpus.read(run, *asked):
        prompt = api.question(sample["prompt"]) if own else sample["prompt"]
        prompt_tokens = count(prompt, "") - 1  # without the end token
        gold_tokens = count(prompt, sample["completion"]) - prompt_tokens
        if prompt_tokens + gold_tokens > run.model.context:
            raise ParamsError(f"evaluation of {method} on {task} at length {sample['length']}: "
                              f"the prompt takes {prompt_tokens} tokens, its gold completion "
                              f"{gold_tokens}; model.context allows {run.model.context} together")
        limit = math.ceil(run.evaluation.limit_factor * gold_tokens) + run.evaluation.limit_extra
        limit = own.max_tokens if own else min(limit, run.model.context - prompt_tokens)
        rows.append({"method": method, "task": task, "seed": run.seed if seed is None else seed,
                     "length": sample["length"], "index": sample["index"], "prompt": prompt,
                     "inputs": sample["inputs"], "gold_answer": sample["answer"],
                     "gold_tokens": gold_tokens, "prompt_tokens": prompt_tokens, "limit": limit})
    return sorted(rows, key=sample_key)


def header(run: Params, method: str, task: str, seed: int | None = None) -> dict[str, Any]:
    """What the results of one method on one task depend on; ParamsError where it is missing."""
    [samples] = corpus.files(run, *_asked(run, method, task))
    about = {"params": run.digest, "corpus": files.sha256(samples)}
    if own := api_settings(run, method):
        return {**about, "training": None, "engine": own.base_url, "versions": {}}
    return {**about, "training": _origin(run, method, task, seed),
            "engine": run.evaluation.engine, "versions": engines.versions()}


def _origin(run: Params, method: str, task: str, seed: int | None) -> str:
    """A hash that stands for the model: of the weights that a training left, or of the base's.

    A training that is made again, and comes to the same weights, is the same one.
    """
    job = job_of(run, method, task, seed)
    if job is None:
        return models.weights_hash(models.resolve(run.model.name))
    if not job.manifest.exists():
        raise ParamsError(f"the evaluation of {method} on {task} needs a finished training: "
                          f"there is no {job.manifest}")
    weights = files.read_json(job.manifest)["weights"]
    return hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()


def job_of(run: Params, method: str, task: str, seed: int | None) -> training.Job | None:
    """The training that makes the model of a cell; None for the base model and an API's."""
    if method not in METHODS:
        return None
    if METHODS[method].adapted:
        return training.Job(run, "adapt", tasks.get(task).base.id, method, seed)
    return training.Job(run, "pretrain") if METHODS[method].start == "pretrained" else None


def description(run: Params, method: str, task: str, seed: int | None) -> dict | None:
    """What the .json beside a results file says; None where nothing says what made the results.

    Where it is lost, the manifest of the whole evaluation says the same of finished results.
    """
    results, every = path(run, method, task, seed), run.folder / "evaluation" / "manifest.json"
    about = results.with_suffix(".json")
    if not about.exists() and every.exists() and results.exists():
        kept = files.read_json(every).get(method, {}).get(results.stem)
        if kept and kept["sha256"] == files.sha256(results):
            files.write_json(about, kept)
    return files.read_json(about) if about.exists() else None


def is_finished(run: Params, method: str, task: str, seed: int | None = None) -> bool:
    """Whether the results are complete; ParamsError where they were made with something else.

    A finished result holds under other versions of the engine too, a half-finished one is only
    continued with those that it was begun with.
    """
    results = path(run, method, task, seed)
    stored = description(run, method, task, seed)
    if stored is None:
        return False
    now = header(run, method, task, seed)
    keys = ["params", "training", "corpus"] if stored["finished"] else list(now)
    differing = [key for key in keys if stored[key] != now[key]]
    job = job_of(run, method, task, seed)
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


def api_settings(run: Params, method: str) -> params.Api | None:
    return next((one for one in run.evaluation.api if one.name == method), None)


def sample_key(row: Mapping) -> tuple[int, int]:
    return row["length"], row["index"]


def check_model(run: Params, method: str, task: str, seed: int | None = None) -> None:
    """Refuse (ParamsError) a model that is not there as its training left it."""
    job = job_of(run, method, task, seed)
    if job and not training.finished(job):
        raise ParamsError(f"the evaluation of {method} on {task} needs a finished training: "
                          f"{training.lost(job) or job.manifest} is missing or changed; "
                          f"`metarfft train --stage {job.stage}` makes it again")
