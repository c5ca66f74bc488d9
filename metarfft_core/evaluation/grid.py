"""The grid of method x task x length: generates, scores and stores every answer (Section 4).

`launch` evaluates each method on each task in a process of its own, because an engine does not
release its memory. Every generation becomes a line of evaluation/<method>/<task>.jsonl as soon as
it finishes; <task>.json beside it describes what it was made with. A killed evaluation resumes
where it stopped.

The outcome of a row is "right", "wrong", "no_answer" (no "So the answer is" in the text) or "cut"
(the decoding limit came first, whatever the text says so far). Accuracy is right / all. The row's
"outcome_lenient" is the same by the lenient score (docs/metrics.md). If the
server of an API model refuses a prompt, the row has the finish reason "refused" and the outcome
"no_answer".
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from metarfft_core import models, params, training
from metarfft_core.evaluation import api, engines
from metarfft_core.evaluation.cells import (
    api_settings,
    base_of,
    check_begun,
    check_model,
    description,
    finished_rows,
    header,
    is_finished,
    job_of,
    path,
    plan,
    sample_key,
)
from metarfft_core.evaluation.kept import note, with_prompt
from metarfft_core.models import chat_template
from metarfft_core.params import METHODS, Cell, Params, ParamsError
from metarfft_core.scoring import OUTCOMES, lenient_outcome, score
from metarfft_core.system import elapsed, files, progress
from metarfft_core.system.processes import Command, alone, follow_all, gpu_name, places

if TYPE_CHECKING:
    import pandas

_PROGRESS_EVERY = 5.0  # seconds between two lines of progress


def evaluate(config: Params, cell: Cell) -> Path:
    """Evaluate a cell in this process; returns the JSONL file.

    A finished evaluation is skipped. An interrupted one resumes after its last whole line.
    """
    engines.set_environment()  # before anything here imports torch
    results = path(config, cell)
    if is_finished(config, cell):
        print(f"{cell.method} on {results.stem}: finished before, skipped", flush=True)
        return results
    check_model(config, cell)
    rows, about = plan(config, cell), header(config, cell)
    # Another process, the child of a killed launcher, may still be writing here.
    with alone(results.parent / f".{results.stem}"):
        if is_finished(config, cell):
            print(f"{cell.method} on {results.stem}: finished meanwhile", flush=True)
            return results
        # The answers of an API model are paid for, so they are kept.
        if cell.method in METHODS and results.exists() and not description(config, cell):
            print(f"{results}: there is no record of what made it, so it is generated again",
                  flush=True)
            results.unlink()
        with files.naming(results), open(results, "a+b") as file:
            files.write_json(results.with_suffix(".json"), {**about, "finished": False})
            stored = _stored(file)
            check_begun(results, stored, rows)
            done = {sample_key(row) for row in stored}
            missing = [row for row in rows if sample_key(row) not in done]
            print(f"{cell}: {len(missing)} of {len(rows)} samples to generate",
                  flush=True)
            began = time.monotonic()
            _generate(config, cell, missing, file,
                      any(row["finish_reason"] != "refused" for row in stored))
        files.write_json(results.with_suffix(".json"), {
            **about, "finished": True, "rows": len(rows), "sha256": files.sha256(results),
            "gpu": gpu_name(), **_counts(results, len(rows)),
            # with the engine's start; what interrupted processes took is not known
            "seconds": None if stored else round(time.monotonic() - began, 2),
            "launch_seconds": None if stored else elapsed.lap()})
    return results


def _counts(results: Path, expected: int) -> dict[str, Any]:
    """Count the rows of a results file by outcome.

    For an API model, also count the refused rows and those without a count of tokens, if any.
    Raises RuntimeError if the number of rows is not the expected one.
    """
    with open(results, "r+b") as file:
        rows = _stored(file)
    if len(rows) != expected:
        raise RuntimeError(f"{results} holds {len(rows)} rows, expected {expected}")
    outcomes = Counter(row["outcome"] for row in rows)
    flaws = {"refused": sum(row["finish_reason"] == "refused" for row in rows),
             "uncounted": sum(row["completion_tokens"] is None for row in rows)}
    return {"outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES},
            **{name: count for name, count in flaws.items() if count}}


def _say_flaws(results: Path) -> None:
    """Print what is missing from an API model's finished results."""
    about = files.read_json(results.with_suffix(".json"))
    cell = f"{results.parent.name} on {results.stem}"
    if count := about.get("refused"):
        print(f"{cell}: the server refused {count} of {about['rows']} samples, which count as not "
              f"right; to ask them again, delete their lines (finish_reason refused) in {results}, "
              "and the .json beside it", flush=True)
    if count := about.get("uncounted"):
        print(f"{cell}: {count} of {about['rows']} answers came without a count of tokens, so "
              "their cost is not known", flush=True)


def _stored(file: BinaryIO) -> list[dict]:
    """Read the rows of an open results file; removes a last line that a kill interrupted."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        print(f"{file.name}: the last line was cut off; removed its {len(content) - whole} bytes",
              flush=True)
        file.truncate(whole)
    rows = []
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise RuntimeError(f"{file.name}: line {number} is not JSON") from None
    return rows


def _generate(config: Params, cell: Cell, rows: list[dict], file: BinaryIO,
              answered: bool) -> None:
    """Generate and append the rows; each batch is on the disk before the next one starts.

    `answered` says whether the model has already answered other rows.
    """
    if not rows:
        return
    progress = None
    for finished in _generations(config, cell, rows, answered):
        if progress is None:  # the engine has started; do not count the time that this took
            progress = _Progress(rows)
            continue
        lines = [json.dumps(_scored(rows[position], generated), ensure_ascii=False) + "\n"
                 for position, generated in finished]
        file.write("".join(lines).encode())
        file.flush()
        os.fsync(file.fileno())
        for position, generated in finished:
            if generated.finish_reason == "refused":
                print("  length {length}, index {index}: refused by the server, ".format(
                    **rows[position]) + generated.refusal, flush=True)
        progress.report([(rows[position], generated) for position, generated in finished])


def _generations(config: Params, cell: Cell, rows: list[dict],
                 answered: bool) -> Iterator[list[tuple[int, Any]]]:
    """Yield what `engines.generate`, or the server of an API model, yields for these rows."""
    prompts = [row["prompt"] for row in rows]
    if own := api_settings(config, cell.method):
        yield from api.generate(own, prompts, answered)
        return
    tokenizer = models.load_tokenizer(config.model.name)
    _check_template(job_of(config, cell), tokenizer.get_chat_template())
    with training.weights(config, base_of(cell)) as folder:
        yield from engines.generate(folder, models.encode_prompts(tokenizer, prompts),
                                    [row["limit"] for row in rows], config.evaluation.engine,
                                    config.evaluation.batch_size,
                                    config.evaluation.tensor_parallel)


def _check_template(job: training.Job | None, template: str) -> None:
    """Raise ParamsError if a model was trained with another chat template than `template`."""
    trained = files.read_json(job.manifest).get("chat_template") if job else None
    if trained and trained != chat_template.about(template):
        raise ParamsError(f"{job.folder} was trained with another chat template than that of "
                          f"{job.config.model.name}: use the model of that time, or delete that "
                          "folder and train again")


def _scored(row: dict, generated: engines.Generation | api.Answer) -> dict:
    answer, outcome = score(generated.text, generated.finish_reason, row["gold_answer"])
    own = ({"reasoning": generated.reasoning, "refusal": generated.refusal}
           if isinstance(generated, api.Answer) else {})
    scored = {**row, "prompt_tokens": generated.prompt_tokens, "text": generated.text, **own,
              "finish_reason": generated.finish_reason,
              "completion_tokens": generated.completion_tokens, "answer": answer,
              "outcome": outcome}
    return {**scored, "outcome_lenient": lenient_outcome(scored)}


class _Progress:
    """Prints how much is done, how fast, and the time left (estimated by the gold completions)."""

    def __init__(self, rows: list[dict]):
        self.samples, self.gold = len(rows), sum(row["gold_tokens"] for row in rows)
        self.done = self.done_gold = self.tokens = 0
        self.start = self.last = time.monotonic()

    def report(self, finished: list[tuple[dict, engines.Generation | api.Answer]]) -> None:
        self.done += len(finished)
        self.done_gold += sum(row["gold_tokens"] for row, _ in finished)
        self.tokens += sum(generated.completion_tokens or 0 for _, generated in finished)
        now = time.monotonic()
        if now - self.last < _PROGRESS_EVERY and self.done < self.samples:
            return
        self.last, taken = now, now - self.start
        left = taken * (self.gold - self.done_gold) / self.done_gold
        print(f"  {self.done} of {self.samples} samples, {self.tokens / taken:.0f} tokens/s, "
              f"about {left:.0f} s left", flush=True)


def launch(config: Params) -> Path:
    """Evaluate every cell of the run, each in a process of its own; returns the folder.

    On GPUs, as many cells run at once as there are groups of evaluation.tensor_parallel GPUs; on a
    CPU, evaluation.workers of them. Finished cells are skipped. All others are checked before the
    first engine starts. For an archive (see `params.is_archive`) nothing is evaluated.

    Raises:
        ParamsError: If a cell cannot be evaluated.
        RuntimeError: If processes fail; holds their last lines and names them. The others are
            finished.
    """
    parameters = params.open_folder(config) / "params.yaml"
    folder = config.folder / "evaluation"
    if params.is_archive(config.folder):
        print(note(config), flush=True)
        return folder
    engines.check_engine(config.evaluation.engine, config.evaluation.tensor_parallel)
    training.clean(config)
    left = [cell for cell in config.cells if not is_finished(config, cell)]
    for check in (header, check_model, plan):
        for cell in left:
            check(config, cell)
    for settings in config.evaluation.api:
        if any(cell.method == settings.name for cell in left):
            api.read_key(settings)
    commands: dict[bool, list[Command]] = {False: [], True: []}
    for cell in left:
        commands[cell.method not in METHODS].append(Command(
            [sys.executable, "-m", "metarfft_core.evaluation", "--params", str(parameters),
             "--method", cell.method, "--task", cell.task, "--seed", str(cell.seed)],
            f"evaluation of {cell}"
            + ("" if cell.seed == config.seed else f" with seed {cell.seed}")))
    if left:
        with progress.work("evaluation", config.folder / "logs" / "evaluation.log"):
            _follow(config, commands[False], commands[True])
    manifest: dict[str, dict] = {}
    for cell in config.cells:
        results = path(config, cell)
        manifest.setdefault(cell.method, {})[results.stem] = \
            files.read_json(results.with_suffix(".json"))
        _say_flaws(results)
    files.write_json(folder / "manifest.json", manifest)
    for one in params.kept_runs(config):
        launch(one)
    return folder


def _follow(config: Params, own: list[Command], asked: list[Command]) -> None:
    """Run the cells of our methods, then those of API models, even if some of ours fail."""
    size, workers = config.evaluation.tensor_parallel, config.evaluation.workers
    failed = []
    for commands, at in ((own, places(size, workers) if own else []),
                         (asked, [])):  # a server's rate limit applies to one process
        try:
            follow_all(commands, at)
        except RuntimeError as error:
            failed.append(str(error))
    if failed:
        raise RuntimeError("\n".join(failed))


def read(config: Params, partial: bool = False) -> "pandas.DataFrame":
    """Read every stored row of the run, ordered by method, task, seed, length and index.

    This needs only the run's evaluation folder. Methods and tasks have the run's own order.

    Args:
        config: The resolved parameters of the run.
        partial: Whether to leave out unfinished cells.

    Returns:
        The columns method, task, seed, length, index, prompt, inputs, gold_answer, gold_tokens,
            prompt_tokens, limit, text, finish_reason, completion_tokens, answer, outcome,
            outcome_lenient. The last is computed here for rows of an earlier format; it is None
            where the text was not kept. An API model also has reasoning and refusal (why its
            server refused the prompt, else ""), and its counts of tokens may be missing. In an
            archive (see `params.is_archive`) the prompts are made again, and a text that is not
            kept is missing.

    Raises:
        ParamsError: If a cell is unfinished and `partial` is false, or if stored rows were changed
            or made with other parameters.
    """
    import pandas

    rows = []
    for cell in config.cells:
        results = path(config, cell)
        about = results.with_suffix(".json")
        if not (about.exists() and files.read_json(about)["finished"]):
            if partial:
                continue
            raise ParamsError(f"the evaluation of {cell} is not finished: {results}")
        if files.read_json(about)["params"] != config.digest:
            raise ParamsError(f"{results} was made with other params: give this run another name, "
                              "or delete that file and the .json beside it")
        rows += [{**with_prompt(config, row), "outcome_lenient": lenient_outcome(row)} for row in
                 finished_rows(results, files.read_json(about), config.seed)]
    return pandas.DataFrame(rows)


def main(arguments: list[str] | None = None) -> int:
    """Evaluate the whole grid, or one method on one task.

    Returns:
        0, 1 if a server gave no answer or the system failed, 2 for a user's error.
    """
    elapsed.begin()
    parser = argparse.ArgumentParser(
        prog="metarfft_core.evaluation",
        description="Evaluate the whole grid, or one method on one task.")
    parser.add_argument("--params", required=True, metavar="FILE", help="a parameter file")
    parser.add_argument("--method")
    parser.add_argument("--task", help="a task's name or id; with --method, and only with it")
    parser.add_argument("--seed", type=int, help="of the training; the run's by default")
    options = parser.parse_args(arguments)
    if (options.method is None) != (options.task is None):
        parser.error("--method and --task belong together")
    try:
        config = params.load(options.params)
        if options.method is None:
            launch(config)
        else:
            params.open_folder(config)
            seed = config.seed if options.seed is None else options.seed
            cell = Cell(options.method, options.task, seed)
            if cell not in config.cells:
                raise ParamsError(f"this run does not evaluate {cell} with seed {cell.seed}")
            evaluate(config, cell)
    except (ParamsError, api.ServerError, OSError) as error:
        reason = files.explain(error) if isinstance(error, OSError) else error
        print(f"error: {reason}", file=sys.stderr)
        return 2 if isinstance(error, ParamsError) else 1
    return 0
