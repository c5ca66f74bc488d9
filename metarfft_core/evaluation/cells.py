"""One method on one task: its samples, its results file, and whether it is finished."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metarfft_core import corpus, models, params, tasks, training
from metarfft_core.evaluation import api, engines
from metarfft_core.params import METHODS, Cell, Params, ParamsError
from metarfft_core.scoring import score
from metarfft_core.system import files


def path(config: Params, cell: Cell) -> Path:
    """Return the JSONL file of a cell; its name has the seed if that is not the run's own."""
    suffix = "" if cell.seed == config.seed else f"-seed{cell.seed}"
    return config.folder / "evaluation" / cell.method / f"{cell.task}{suffix}.jsonl"


def asked(cell: Cell) -> dict[str, str]:
    """Return the split, format and task of a cell's samples, as `corpus.read` takes them."""
    method = METHODS.get(cell.method)
    if method is None:  # an API model gets the question alone
        return {"split": "evaluation", "format": "direct", "task": cell.task}
    split = ("evaluation_1shot" if method.in_context else
             "evaluation_counterfactual" if tasks.get(cell.task).is_counterfactual else
             "evaluation")
    return {"split": split, "format": method.format, "task": cell.task}


def plan(config: Params, cell: Cell) -> list[dict]:
    """List the evaluation samples to generate, shortest first, each with its decoding limit.

    The limit of a sample is limit_factor x the tokens of its own gold completion (with the end
    token), rounded up, + limit_extra. It is at most what the model's context leaves for the sample.
    An API model has its own limit.

    Raises:
        ParamsError: If a prompt and its gold completion do not fit the model's context.
    """
    own = api_settings(config, cell.method)
    count = models.token_counter(config.model.name, config.model.chat_template)
    rows = []
    for sample in corpus.read(config, **asked(cell)):
        prompt = api.question(sample["prompt"]) if own else sample["prompt"]
        prompt_tokens = count(prompt, "") - 1  # without the end token
        gold_tokens = count(prompt, sample["completion"]) - prompt_tokens
        if prompt_tokens + gold_tokens > config.model.context:
            raise ParamsError(f"evaluation of {cell} at length {sample['length']}: "
                              f"the prompt takes {prompt_tokens} tokens, its gold completion "
                              f"{gold_tokens}; model.context allows {config.model.context} "
                              "together")
        settings = config.evaluation
        limit = math.ceil(settings.limit_factor * gold_tokens) + settings.limit_extra
        limit = own.max_tokens if own else min(limit, config.model.context - prompt_tokens)
        rows.append({"method": cell.method, "task": cell.task, "seed": cell.seed,
                     "length": sample["length"], "index": sample["index"], "prompt": prompt,
                     "inputs": sample["inputs"], "gold_answer": sample["answer"],
                     "gold_tokens": gold_tokens, "prompt_tokens": prompt_tokens, "limit": limit})
    return sorted(rows, key=sample_key)


def header(config: Params, cell: Cell) -> dict[str, Any]:
    """Return what the results of a cell depend on.

    Raises:
        ParamsError: If a required file or a finished training is missing.
    """
    [samples] = corpus.files(config, **asked(cell))
    about = {"params": config.digest, "corpus": files.sha256(samples)}
    if own := api_settings(config, cell.method):
        return {**about, "training": None, "engine": own.base_url, "versions": {}}
    if job_of(config, cell) is None:
        about["model"] = models.model_hash(models.resolve(config.model.name))
    return {**about, "training": _origin(config, cell),
            "engine": config.evaluation.engine, "versions": engines.versions()}


def _origin(config: Params, cell: Cell) -> str:
    """Return a hash that identifies the model: of the trained weights, or of the base model's.

    A repeated training that produces the same weights counts as the same training.
    """
    job = job_of(config, cell)
    if job is None:
        return models.weights_hash(models.resolve(config.model.name))
    if not job.manifest.exists():
        raise ParamsError(f"the evaluation of {cell} needs a finished training: "
                          f"there is no {job.manifest}")
    weights = files.read_json(job.manifest)["weights"]
    return hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()


def job_of(config: Params, cell: Cell) -> training.Job | None:
    """Return the training that makes the model of a cell; None for the base and API models."""
    method = METHODS.get(cell.method)
    if method is None:
        return None
    if method.adapted:
        return training.Job(config, "adapt", base_of(cell))
    return training.Job(config, "pretrain") if method.start == "pretrained" else None


def base_of(cell: Cell) -> Cell:
    """Return the cell whose training answers this one: that of the task with the unchanged rule."""
    return replace(cell, task=tasks.get(cell.task).base.id)


def description(config: Params, cell: Cell) -> dict | None:
    """Return the content of the .json beside a results file; None if nothing describes the results.

    If that file is lost, it is restored from the manifest of the whole evaluation, which describes
    finished results in the same way.
    """
    results = path(config, cell)
    every = config.folder / "evaluation" / "manifest.json"
    about = results.with_suffix(".json")
    if not about.exists() and every.exists() and results.exists():
        kept = files.read_json(every).get(cell.method, {}).get(results.stem)
        if kept and kept["sha256"] == files.sha256(results):
            files.write_json(about, kept)
    return files.read_json(about) if about.exists() else None


def is_finished(config: Params, cell: Cell) -> bool:
    """Return whether the results of a cell are complete.

    A finished result stays valid under other versions of the engine. An unfinished result is only
    continued with the versions that it was started with.

    Raises:
        ParamsError: If the results were made with something else.
    """
    results, stored = path(config, cell), description(config, cell)
    if stored is None:
        return False
    now = header(config, cell)
    keys = ["params", "training", "corpus", "model"] if stored["finished"] else list(now)
    differing = [key for key in keys if key in now and stored.get(key) != now[key]
                 and not (key == "model" and key not in stored)]  # from before it was recorded
    job = job_of(config, cell)
    if job and stored["training"] == files.sha256(job.manifest):  # an earlier format of the kit
        differing = [key for key in differing if key != "training"]
    if differing:
        raise ParamsError(f"{results} was made with other {', '.join(differing)}: give this run "
                          "another name, or delete that file and the .json beside it")
    if not (stored["finished"] and results.exists()):
        return False
    check_rows(results, stored)
    return True


def finished_rows(results: Path, about: Mapping, own_seed: int) -> list[dict]:
    """Read finished results, in the order of `sample_key`.

    A process reads each file once for its hash, at about a gigabyte a second, and each time for
    its rows.

    Args:
        results: The JSONL file.
        about: The content of the .json beside it.
        own_seed: The run's own seed, which the file's name leaves out.

    Raises:
        ParamsError: The file is not the one that was finished, its rows belong to another cell, or
            they are not as many, with the outcomes, as were counted.
    """
    check_rows(results, about)
    rows = []
    with open(results, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                seed = row.get("seed", own_seed)
                name = row["task"] + ("" if seed == own_seed else f"-seed{seed}")
                rows.append((sample_key(row), row["method"], name, row["outcome"], row))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise _changed(results, f"line {number} is no row") from None
    own = results.parent.name, results.stem
    if any(row[1:3] != own for row in rows):
        raise _changed(results, "it has rows of another method, task or seed")
    if len({row[0] for row in rows}) < len(rows):
        raise _changed(results, "it has a sample twice")
    outcomes = Counter(row[3] for row in rows)
    if len(rows) != about.get("rows", len(rows)) or outcomes != Counter(
            about.get("outcomes", outcomes)):
        raise _changed(results, "its rows are not those that were counted")
    return [row[-1] for row in sorted(rows, key=lambda row: row[0])]


def hashes(results: Path) -> Path:
    """Return the file beside unfinished results with a line for each of theirs, its hash."""
    return results.with_suffix(".hashes")


def line_hash(line: bytes) -> str:
    """Return the SHA-256 of a line of results, as hex; `line` has no end of line."""
    return hashlib.sha256(line).hexdigest()


def check_lines(results: Path) -> None:
    """Check the lines of unfinished results against their hashes, and write these anew.

    Hashes of lines that are not there are dropped: their samples are generated again. An earlier
    version wrote no hashes; its lines are taken as they are.

    Raises:
        ParamsError: A line has no hash.
    """
    found = [line_hash(line) for line in results.read_bytes().split(b"\n")[:-1]]
    if hashes(results).exists():
        written = set(hashes(results).read_text(encoding="utf-8").split("\n"))
        for number, line in enumerate(found, start=1):
            if line not in written:
                raise ParamsError(f"{results}: line {number} was changed after it was written: "
                                  "delete that line, and its sample is generated again")
    elif found:
        print(f"{results}: an earlier version wrote no hashes, so its {len(found)} answers are "
              "taken as they are", flush=True)
    files.write_whole(hashes(results), "".join(f"{line}\n" for line in found))


def check_begun(results: Path, begun: Iterable[Mapping], rows: Iterable[Mapping]) -> None:
    """Check that the rows of unfinished results are answers to samples of their cell.

    Args:
        results: The JSONL file.
        begun: Its rows.
        rows: The samples of the cell, from `plan`.

    Raises:
        ParamsError: A row is not of these samples, is there twice, or has another outcome than its
            text.
    """
    wanted = {sample_key(row): row for row in rows}
    for number, row in enumerate(begun, start=1):
        try:
            asked_for = wanted.pop(sample_key(row))
            scored = score(row["text"], row["finish_reason"], row["gold_answer"])
            same = (row["answer"], row["outcome"]) == scored and all(
                row[key] == asked_for[key]
                for key in ("method", "task", "seed", "prompt", "inputs", "gold_answer"))
        except (KeyError, TypeError):
            same = False
        if not same:
            raise ParamsError(f"{results}: line {number} is not an answer to a sample of this "
                              "cell, or occurs twice, or has another score: delete that line, "
                              "and its sample is generated again")


def _changed(results: Path, how: str) -> ParamsError:
    return ParamsError(f"{results} is missing or changed ({how}): restore it, or delete it and the "
                       ".json beside it to generate it again")


def check_rows(results: Path, about: Mapping) -> None:
    """Raise ParamsError if finished results are not the ones that were written."""
    if "sha256" not in about:
        raise _changed(results, f"{results.stem}.json has no hash")
    if files.changed(results, about["sha256"]):
        raise _changed(results, "its hash is another")


def api_settings(config: Params, method: str) -> params.Api | None:
    return next((settings for settings in config.evaluation.api if settings.name == method), None)


def sample_key(row: Mapping) -> tuple[int, int]:
    return row["length"], row["index"]


def check_model(config: Params, cell: Cell) -> None:
    """Raise ParamsError if the model is missing or has changed since its training."""
    job = job_of(config, cell)
    if job and not training.finished(job):
        raise ParamsError(f"the evaluation of {cell} needs a finished training: "
                          f"{training.lost(job) or job.manifest} is missing or changed; "
                          f"`metarfft train --stage {job.stage}` makes it again")
