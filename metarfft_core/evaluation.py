"""The grid of method x task x length: every generation, scored and kept (the paper's Section 4).

`launch` evaluates each method on each task in a process of its own, for an engine does not give
its memory back. Every generation is a line of evaluation/<method>/<task>.jsonl, written as it
comes; <task>.json beside it says what it was made with. A killed evaluation goes on where it was.

The outcome of a row is "right", "wrong", "no_answer" (no "So the answer is" in the text) or "cut"
(the decoding limit came first, whatever the text says so far). Accuracy is right / all.
"""

import argparse
import ast
import fcntl
import json
import math
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from metarfft_core import corpus, files, formats, generation, models, params, training
from metarfft_core.params import METHODS, Params, ParamsError
from metarfft_core.processes import follow

if TYPE_CHECKING:
    import pandas

OUTCOMES = ("right", "wrong", "no_answer", "cut")
_PROGRESS_EVERY = 5.0  # seconds between two lines


def same_answer(answer: str, gold: str) -> bool:
    """Whether a parsed answer is the stored one (a repr): the one rule of scoring.

    They are the same text, white space around it aside, or both are Python literals with the
    same repr: "[1,2]" is "[1, 2]", but "1" is neither "1.0" nor "True" nor "'1'".
    """
    if answer.strip() == gold.strip():
        return True
    literal = _literal(answer.strip())
    return literal is not None and literal == _literal(gold.strip())


def _literal(text: str) -> str | None:
    """The repr of the Python literal in `text`, None where it holds none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model may write what Python warns about
            return repr(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def score(text: str, finish_reason: str, gold: str) -> tuple[str | None, str]:
    """The parsed answer (None where there is none) and the outcome of a generated text."""
    answer = formats.parse_answer(text)
    if finish_reason == "length":
        return answer, "cut"
    if answer is None:
        return None, "no_answer"
    return answer, "right" if same_answer(answer, gold) else "wrong"


def recompute(rows: Iterable[Mapping]) -> list[str]:
    """The outcomes of stored rows once more, from text, finish reason and stored answer alone."""
    return [score(row["text"], row["finish_reason"], row["gold_answer"])[1] for row in rows]


def path(run: Params, method: str, task: str) -> Path:
    """The JSONL file of one method on one task."""
    return run.folder / "evaluation" / method / f"{task}.jsonl"


def plan(run: Params, method: str, task: str) -> list[dict]:
    """What is to be generated: the evaluation samples, shortest first, each with its limit.

    The decoding limit of a sample is limit_factor x the tokens of its own gold completion (end
    token included), rounded up, + limit_extra, or what the model's context leaves for it where
    that is less. Raises ParamsError where a prompt and its gold completion do not fit.
    """
    samples = corpus.read(run, "evaluation", METHODS[method], task)
    count = models.token_counter(run.model.name)
    rows = []
    for sample in samples:
        prompt_tokens = count(sample["prompt"], "") - 1  # without the end token
        gold_tokens = count(sample["prompt"], sample["completion"]) - prompt_tokens
        if prompt_tokens + gold_tokens > run.model.context:
            raise ParamsError(f"evaluation of {task} ({METHODS[method]}) at length "
                              f"{sample['length']}: the prompt takes {prompt_tokens} tokens, its "
                              f"gold completion {gold_tokens}; model.context allows "
                              f"{run.model.context} together")
        limit = math.ceil(run.evaluation.limit_factor * gold_tokens) + run.evaluation.limit_extra
        limit = min(limit, run.model.context - prompt_tokens)
        rows.append({"method": method, "task": task, "length": sample["length"],
                     "index": sample["index"], "prompt": sample["prompt"],
                     "gold_answer": sample["answer"], "gold_tokens": gold_tokens,
                     "prompt_tokens": prompt_tokens, "limit": limit})
    return sorted(rows, key=_key)


def _key(row: Mapping) -> tuple[int, int]:
    return row["length"], row["index"]


def header(run: Params, method: str, task: str) -> dict[str, Any]:
    """What the results of one method on one task depend on; ParamsError where it is missing."""
    trained = training.stage_folder(run, "adapt", task, method) / "manifest.json"
    if not trained.exists():
        raise ParamsError(f"the evaluation of {method} on {task} needs a finished training: "
                          f"there is no {trained}")
    [samples] = corpus.files(run, "evaluation", METHODS[method], task)
    return {"params": run.digest, "training": files.sha256(trained),
            "corpus": files.sha256(samples), "engine": run.evaluation.engine,
            "versions": generation.versions()}


def is_finished(run: Params, method: str, task: str) -> bool:
    """Whether the results are complete; ParamsError where they were made with something else.

    A finished result holds under other versions of the engine too, a half-finished one is only
    continued with those that it was begun with.
    """
    results = path(run, method, task)
    if not results.with_suffix(".json").exists():
        return False
    stored, now = files.read_json(results.with_suffix(".json")), header(run, method, task)
    keys = ["params", "training", "corpus"] if stored["finished"] else list(now)
    differing = [key for key in keys if stored[key] != now[key]]
    if differing:
        raise ParamsError(f"{results} was made with other {', '.join(differing)}: give this run "
                          "another name, or delete that file and the .json beside it")
    return stored["finished"]


def evaluate(run: Params, method: str, task: str) -> Path:
    """Evaluate one method on one task in this process; returns the JSONL file.

    What is finished is skipped, what was interrupted goes on after its last whole line.
    """
    generation.set_environment()  # before anything here imports torch
    results = path(run, method, task)
    if is_finished(run, method, task):
        print(f"{method} on {task}: finished before, skipped", flush=True)
        return results
    rows, about = plan(run, method, task), header(run, method, task)
    results.parent.mkdir(parents=True, exist_ok=True)
    with open(results, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another process may still be writing here
        files.write_json(results.with_suffix(".json"), {**about, "finished": False})
        stored = _stored(file)
        done = {_key(row) for row in stored}
        missing = [row for row in rows if _key(row) not in done]
        print(f"{method} on {task}: {len(missing)} of {len(rows)} samples to generate", flush=True)
        _generate(run, missing, file)
        outcomes = Counter(row["outcome"] for row in _stored(file))
    if sum(outcomes.values()) != len(rows):
        raise RuntimeError(f"{results} holds {sum(outcomes.values())} rows, expected {len(rows)}")
    files.write_json(results.with_suffix(".json"), {
        **about, "finished": True, "rows": len(rows), "sha256": files.sha256(results),
        "outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES}})
    return results


def _stored(file: BinaryIO) -> list[dict]:
    """The rows in an open results file; a last line that a kill cut off is taken away."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        print(f"{file.name}: the last line was cut off, {len(content) - whole} bytes of it "
              "taken away", flush=True)
        file.truncate(whole)
    rows = []
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise RuntimeError(f"{file.name}: line {number} is no JSON") from None
    return rows


def _generate(run: Params, rows: list[dict], file: BinaryIO) -> None:
    """Generate and append the rows, each batch on the disk before the next one is begun."""
    if not rows:
        return
    model = training.model_folder(run, "adapt", rows[0]["task"], rows[0]["method"])
    tokenizer = models.load_tokenizer(run.model.name)
    prompts = models.encode_prompts(tokenizer, [row["prompt"] for row in rows])
    progress = None
    for finished in generation.generate(model, prompts, [row["limit"] for row in rows],
                                        run.evaluation.engine, run.evaluation.batch_size):
        if progress is None:  # the engine has started, which takes its own time
            progress = _Progress(rows)
            continue
        lines = [json.dumps(_scored(rows[position], generated), ensure_ascii=False) + "\n"
                 for position, generated in finished]
        file.write("".join(lines).encode())
        file.flush()
        os.fsync(file.fileno())
        progress.report([(rows[position], generated) for position, generated in finished])


def _scored(row: dict, generated: generation.Generation) -> dict:
    answer, outcome = score(generated.text, generated.finish_reason, row["gold_answer"])
    return {**row, "prompt_tokens": generated.prompt_tokens, "text": generated.text,
            "finish_reason": generated.finish_reason,
            "completion_tokens": generated.completion_tokens, "answer": answer,
            "outcome": outcome}


class _Progress:
    """Lines on the output: how far, how fast, how long still (by the gold completions)."""

    def __init__(self, rows: list[dict]):
        self.samples, self.gold = len(rows), sum(row["gold_tokens"] for row in rows)
        self.done = self.done_gold = self.tokens = 0
        self.start = self.last = time.monotonic()

    def report(self, finished: list[tuple[dict, generation.Generation]]) -> None:
        self.done += len(finished)
        self.done_gold += sum(row["gold_tokens"] for row, _ in finished)
        self.tokens += sum(generated.completion_tokens for _, generated in finished)
        now = time.monotonic()
        if now - self.last < _PROGRESS_EVERY and self.done < self.samples:
            return
        self.last, taken = now, now - self.start
        left = taken * (self.gold - self.done_gold) / self.done_gold
        print(f"  {self.done} of {self.samples} samples, {self.tokens / taken:.0f} tokens/s, "
              f"about {left:.0f} s left", flush=True)


def launch(run: Params) -> Path:
    """Evaluate every method on every task, each in a process of its own; returns the folder.

    What is finished is skipped; all that is left is checked before the first engine starts.
    Raises ParamsError for what cannot be evaluated, RuntimeError with its last lines where a
    process failed.
    """
    parameters = params.open_folder(run) / "params.yaml"
    grid = [(method, task) for method in run.adaptation.methods
            for task in run.corpus.adaptation.tasks]
    left = [cell for cell in grid if not is_finished(run, *cell)]
    for check in (header, plan):
        for cell in left:
            check(run, *cell)
    for method, task in left:
        follow([sys.executable, "-m", "metarfft_core.evaluation", "--params", str(parameters),
                "--method", method, "--task", task], f"evaluation of {method} on {task}")
    folder = run.folder / "evaluation"
    files.write_json(folder / "manifest.json", {
        method: {task: files.read_json(path(run, method, task).with_suffix(".json"))
                 for task in run.corpus.adaptation.tasks} for method in run.adaptation.methods})
    return folder


def read(run: Params) -> "pandas.DataFrame":
    """Every stored row of the run, by method, task, length and index, in the run's order.

    Columns: method, task, length, index, prompt, gold_answer, gold_tokens, prompt_tokens, limit,
    text, finish_reason, completion_tokens, answer, outcome. Raises ParamsError where a part of
    the grid is not finished.
    """
    import pandas

    rows = []
    for method in run.adaptation.methods:
        for task in run.corpus.adaptation.tasks:
            if not is_finished(run, method, task):
                raise ParamsError(f"the evaluation of {method} on {task} is not finished: "
                                  f"{path(run, method, task)}")
            with open(path(run, method, task), encoding="utf-8") as file:
                rows += sorted(map(json.loads, file), key=_key)
    return pandas.DataFrame(rows)


def main(arguments: list[str] | None = None) -> int:
    """Evaluate the whole grid, or one method on one task; 0, or 2 for a user's error."""
    parser = argparse.ArgumentParser(prog="metarfft_core.evaluation", description=main.__doc__)
    parser.add_argument("--params", required=True, metavar="FILE", help="a parameter file")
    parser.add_argument("--method", choices=list(METHODS))
    parser.add_argument("--task", help="a task's id; with --method, and only with it")
    options = parser.parse_args(arguments)
    if (options.method is None) != (options.task is None):
        parser.error("--method and --task belong together")
    try:
        run = params.load(options.params)
        if options.method is None:
            launch(run)
        else:
            params.open_folder(run)
            evaluate(run, options.method, options.task)
    except ParamsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
