"""One process that evaluates many cells with one engine, which stays loaded.

The engine starts with the first cell that generates. On GPUs vLLM keeps one base model and answers
each cell with the plain LoRA of its adaptation. Everywhere else the engine gets the merged weights
of one cell after the other, in memory. The results of a cell do not depend on the other cells.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from metarfft_core import models, training
from metarfft_core.evaluation import api, engines
from metarfft_core.evaluation.cells import (
    api_settings,
    base_of,
    check_begun,
    check_lines,
    check_model,
    description,
    hashes,
    header,
    is_finished,
    job_of,
    line_hash,
    path,
    plan,
    sample_key,
)
from metarfft_core.models import chat_template
from metarfft_core.params import METHODS, Cell, Params, ParamsError
from metarfft_core.scoring import OUTCOMES, lenient_outcome, score
from metarfft_core.system import elapsed, files
from metarfft_core.system.processes import alone, gpu_name

_PROGRESS_EVERY = 5.0  # seconds between two lines of progress


def evaluate_all(config: Params, cells: list[Cell], taken: Path | None = None,
                 processes: int = 1, adapters: bool | None = None) -> int:
    """Evaluate cells one after the other in this process, each as `evaluate` does.

    A cell that the user has to mend, or whose files cannot be written, is named and left; the
    others go on. Any other error ends the process.

    Args:
        config: The resolved parameters of the run.
        cells: The cells; with adapters, all must have the same base model.
        taken: A file that processes with the same cells share. A cell that another one has entered
            is left to it.
        processes: How many these are.
        adapters: Whether the engine gets adapters; `engines.takes_adapters` decides by default.

    Returns:
        0; 1 if the system failed for a cell; 2 if only users' errors were met.
    """
    living = Resident(config, cells, adapters, processes)
    status, failed, count = 0, [], 0
    for cell in cells:
        if taken and not _take(taken, cell):
            living.progress.close(cell)
            continue
        count += 1
        try:
            evaluate(config, cell, living)
        except (ParamsError, OSError) as error:
            reason = files.explain(error) if isinstance(error, OSError) else error
            print(f"error: {cell}: {reason}", file=sys.stderr, flush=True)
            failed.append(str(cell))
            status = 1 if isinstance(error, OSError) or status == 1 else 2
        living.progress.close(cell)
    if failed:
        print(f"{len(failed)} of {count} failed: {', '.join(failed)}", file=sys.stderr)
    return status


def _take(taken: Path, cell: Cell) -> bool:
    """Enter a cell in the file; return whether no process had entered it before."""
    with alone(taken.parent / f".{taken.name}"):
        if cell in read_taken(taken):
            return False
        with open(taken, "a", encoding="utf-8") as file:
            file.write(json.dumps([cell.method, cell.task, cell.seed]) + "\n")
        return True


def read_taken(taken: Path) -> list[Cell]:
    """Return the cells that processes entered in a file as they began them."""
    if not taken.exists():
        return []
    lines = taken.read_text(encoding="utf-8").split("\n")
    return [Cell(*json.loads(line)) for line in lines if line]


def evaluate(config: Params, cell: Cell, living: "Resident | None" = None) -> Path:
    """Evaluate a cell in this process; returns the JSONL file.

    A finished evaluation is skipped. An interrupted one resumes after its last whole line.

    Args:
        config: The resolved parameters of the run.
        cell: The method, task and seed.
        living: What answers; by default, an engine for this cell alone.
    """
    engines.set_environment()  # before anything here imports torch
    results = path(config, cell)
    if is_finished(config, cell):
        print(f"{cell.method} on {results.stem}: finished before, skipped", flush=True)
        return results
    check_model(config, cell)
    living = living or Resident(config, [cell])
    rows, about = living.plan(cell), header(config, cell)
    # Another process, the child of a killed launcher, may still be writing here.
    with alone(results.parent / f".{results.stem}"):
        if is_finished(config, cell):
            print(f"{cell.method} on {results.stem}: finished meanwhile", flush=True)
            return results
        # The answers of an API model are paid for, so they are kept.
        if cell.method in METHODS and results.exists() and not (
                description(config, cell) and hashes(results).exists()):
            print(f"{results}: there is no record of what made it, so it is generated again",
                  flush=True)
            results.unlink()
        with files.naming(results), open(results, "a+b") as file:
            files.write_json(results.with_suffix(".json"), {**about, "finished": False})
            stored = stored_rows(file)
            check_lines(results)
            check_begun(results, stored, rows)
            done = {sample_key(row) for row in stored}
            missing = [row for row in rows if sample_key(row) not in done]
            print(f"{cell}: {len(missing)} of {len(rows)} samples to generate",
                  flush=True)
            began = time.monotonic()
            _generate(cell, missing, file, living,
                      any(row["finish_reason"] != "refused" for row in stored))
        files.write_json(results.with_suffix(".json"), {
            **about, "finished": True, "rows": len(rows), "sha256": files.sha256(results),
            "gpu": gpu_name(), "compute": models.compute() if cell.method in METHODS else None,
            **_counts(results, len(rows)),
            # with the engine's start, if this cell was its first; what interrupted processes took
            # is not known
            "seconds": None if stored else round(time.monotonic() - began, 2),
            "launch_seconds": None if stored else elapsed.lap()})
        hashes(results).unlink()
    return results


class Resident:
    """The engine of a process, which answers all cells of the process."""

    def __init__(self, config: Params, cells: list[Cell], adapters: bool | None = None,
                 processes: int = 1):
        self._config = config
        self._adapters = (engines.takes_adapters(config.evaluation.engine) if adapters is None
                          else adapters)
        self._cells = cells
        self._planned: dict[Cell, list[dict]] = {}
        self._engine: engines.Vllm | engines.Transformers | None = None
        self._held: training.Source | None = None  # the weights in the engine
        self.progress = _Progress(processes)

    def plan(self, cell: Cell) -> list[dict]:
        """Return the samples of a cell, as `cells.plan` lists them.

        The first call plans all cells of the process that are not finished, for the engine's size
        and for the time left. A cell that cannot be planned is left out until its turn comes.
        """
        if not self._planned:
            for one in self._cells:
                try:
                    if one != cell and not is_finished(self._config, one):
                        self._planned[one] = plan(self._config, one)
                except (ParamsError, OSError):
                    continue
            self._planned[cell] = plan(self._config, cell)
            for one, rows in self._planned.items():
                self.progress.expect(one, rows)
        if cell not in self._planned:
            self._planned[cell] = plan(self._config, cell)
        return self._planned[cell]

    def answer(self, cell: Cell, rows: list[dict],
               answered: bool) -> Iterator[list[tuple[int, Any]]]:
        """Yield what an engine, or the server of an API model, gives for these rows.

        Yields:
            Lists of (position in `rows`, generation or answer). The first list is empty and means
                that the engine holds the cell's weights.
        """
        prompts = [row["prompt"] for row in rows]
        if own := api_settings(self._config, cell.method):
            yield from api.generate(own, prompts, answered)
            return
        _check_template(job_of(self._config, cell), self._tokenizer.get_chat_template())
        tokens = models.encode_prompts(self._tokenizer, prompts)
        limits = [row["limit"] for row in rows]
        found = training.source(self._config, base_of(cell))
        engines.check_positions(found.base, tokens, limits)
        engine = self._ready(found)
        yield []
        if not self._adapters:
            yield from engine.generate(tokens, limits)
            return
        # The longest first: at the end of a cell, few short ones leave the GPU idle for a moment.
        order = sorted(range(len(rows)), key=lambda place: -limits[place])
        for finished in engine.generate([tokens[place] for place in order],
                                        [limits[place] for place in order], found.adapter):
            yield [(order[place], generated) for place, generated in finished]

    @cached_property
    def _tokenizer(self):
        return models.load_tokenizer(self._config.model.name, self._config.model.chat_template)

    def _ready(self, found: training.Source) -> engines.Vllm | engines.Transformers:
        """Return the engine; start it, or load the weights, if that is needed."""
        settings = self._config.evaluation
        if self._engine is None:
            most = max(row["prompt_tokens"] + row["limit"]
                       for rows in self._planned.values() for row in rows)
            positions = files.read_json(found.base / "config.json")["max_position_embeddings"]
            self._engine = engines.start(found.base, settings.engine, settings.batch_size,
                                         min(most, positions), settings.tensor_parallel,
                                         self._rank())
            self._held = training.Source(found.base)
        if self._adapters:
            if found.base != self._held.base:
                raise ParamsError(f"this process answers with {self._held.base}: evaluate cells of "
                                  f"{found.base} in another one")
        elif found != self._held:
            self._held = None
            self._engine.load(found.model())
            self._held = found
        return self._engine

    def _rank(self) -> int | None:
        """Return the largest rank of the plain LoRAs of all cells, if there are any."""
        if not self._adapters:
            return None
        sources = [training.source(self._config, base_of(cell)) for cell in self._planned
                   if cell.method in METHODS]
        return max((files.read_json(found.adapter / "adapter_config.json")["r"]
                    for found in sources if found.adapter), default=None)


def _counts(results: Path, expected: int) -> dict[str, Any]:
    """Count the rows of a results file by outcome.

    For an API model, also count the refused rows and those without a count of tokens, if any.
    Raises RuntimeError if the number of rows is not the expected one.
    """
    with open(results, "r+b") as file:
        rows = stored_rows(file)
    if len(rows) != expected:
        raise RuntimeError(f"{results} holds {len(rows)} rows, expected {expected}")
    outcomes = Counter(row["outcome"] for row in rows)
    flaws = {"refused": sum(row["finish_reason"] == "refused" for row in rows),
             "uncounted": sum(row["completion_tokens"] is None for row in rows)}
    return {"outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES},
            **{name: count for name, count in flaws.items() if count}}


def stored_rows(file: BinaryIO) -> list[dict]:
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
        except (ValueError, RecursionError):
            raise RuntimeError(f"{file.name}: line {number} is not JSON") from None
    return rows


def _generate(cell: Cell, rows: list[dict], file: BinaryIO, living: Resident,
              answered: bool) -> None:
    """Generate and append the rows; each batch is on the disk before the next one starts.

    The hashes of a batch are written before its rows, so no kill leaves a row without a hash.
    `answered` says whether the model has already answered other rows.
    """
    living.progress.expect(cell, rows)
    if not rows:
        return
    with (open(hashes(Path(file.name)), "ab") as hashed,
          closing(living.answer(cell, rows, answered)) as generations):
        for finished in generations:
            if not finished:
                living.progress.start()
                continue
            lines = [json.dumps(_scored(rows[position], generated), ensure_ascii=False).encode()
                     for position, generated in finished]
            _append(hashed, "".join(f"{line_hash(line)}\n" for line in lines).encode())
            _append(file, b"".join(line + b"\n" for line in lines))
            for position, generated in finished:
                if generated.finish_reason == "refused":
                    print("  length {length}, index {index}: refused by the server, ".format(
                        **rows[position]) + generated.refusal, flush=True)
            living.progress.report(
                cell, [(rows[position], generated) for position, generated in finished])


def _append(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _check_template(job: training.Job | None, template: str) -> None:
    """Raise ParamsError if a model was trained with another chat template than `template`."""
    trained = files.read_json(job.manifest).get("chat_template") if job else None
    if trained and trained != chat_template.about(template):
        raise ParamsError(f"{job.folder} was trained with another chat template than that of "
                          f"{job.config.model.name}: use the model of the training, or delete that "
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
    """Prints how much of a process's cells is done, how fast, and the time left.

    The time left is estimated by the gold completions. The engine's start does not count. Cells
    that have not begun are shared with `processes` - 1 other processes.
    """

    def __init__(self, processes: int):
        self._processes = processes
        self._expected: dict[Cell, Counter] = {}
        self._done: dict[Cell, Counter] = {}
        self._tokens, self._began, self._last = 0, None, 0.0

    def expect(self, cell: Cell, rows: list[dict]) -> None:
        """Say what is to be generated for a cell; a later call replaces an earlier one."""
        self._expected[cell] = _amount(rows)

    def close(self, cell: Cell) -> None:
        """Expect no more of a cell than is done."""
        self._expected[cell] = self._done.get(cell, Counter())

    def start(self) -> None:
        """Start the clock, if it does not run."""
        if self._began is None:
            self._began = self._last = time.monotonic()

    def report(self, cell: Cell,
               finished: list[tuple[dict, engines.Generation | api.Answer]]) -> None:
        """Count what is finished, and print a line if the last one was a while ago."""
        self._done.setdefault(cell, Counter()).update(_amount([row for row, _ in finished]))
        self._tokens += sum(generated.completion_tokens or 0 for _, generated in finished)
        done, expected = (sum(counts.values(), Counter())
                          for counts in (self._done, self._expected))
        now = time.monotonic()
        if now - self._last < _PROGRESS_EVERY and done["samples"] < expected["samples"]:
            return
        self._last, taken = now, now - self._began
        here = self._expected[cell]["gold"] - self._done[cell]["gold"]
        later = expected["gold"] - done["gold"] - here
        left = taken * (here + later / self._processes) / done["gold"]
        print(f"  {done['samples']} of {expected['samples']} samples, "
              f"{self._tokens / taken:.0f} tokens/s, about {left:.0f} s left", flush=True)


def _amount(rows: list[dict]) -> Counter:
    return Counter(samples=len(rows), gold=sum(row["gold_tokens"] for row in rows))
