"""The grid of method x task x length: generates, scores and stores every answer (Section 4).

`launch` shares the cells, each a method on a task, among processes (`resident`). Every generation
becomes a line of evaluation/<method>/<task>.jsonl as soon as it finishes; <task>.json beside it
records how the file was made. A killed evaluation resumes where it stopped.

The outcome of a row is "right", "wrong", "no_answer" (no "So the answer is" in the text) or "cut"
(the decoding limit came first, whatever the text says so far). Accuracy is right / all. The row's
"outcome_lenient" is the outcome by the lenient score (docs/metrics.md). If the server of an API
model refuses a prompt, the row has the finish reason "refused" and the outcome "no_answer".
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metarfft_core import params, training
from metarfft_core.evaluation import api, engines
from metarfft_core.evaluation.cells import (
    base_of,
    check_model,
    description,
    finished_rows,
    hashes,
    header,
    is_finished,
    path,
    plan,
)
from metarfft_core.evaluation.kept import note, with_prompt
from metarfft_core.evaluation.resident import evaluate, evaluate_all, read_taken
from metarfft_core.params import METHODS, Cell, Params, ParamsError
from metarfft_core.planning import overheads
from metarfft_core.scoring import lenient_outcome
from metarfft_core.system import elapsed, files, progress
from metarfft_core.system.processes import Command, follow_all, places

if TYPE_CHECKING:
    import pandas


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


def launch(config: Params) -> Path:
    """Evaluate every cell of the run in processes of their own; returns the folder.

    A process has one engine and takes cell after cell, the longest first. On GPUs with vLLM each
    base model has processes of its own, at least one, and as many run at once as there are groups
    of evaluation.tensor_parallel GPUs. On a CPU, evaluation.workers processes share the cells.
    Each API model's cell has a process. Finished cells are skipped. All others are checked before
    the first engine starts. For an archive (see `params.is_archive`) nothing is evaluated.

    Raises:
        ParamsError: If a cell cannot be evaluated.
        RuntimeError: If processes fail; holds their last lines and names the cells that are not
            finished. The others are.
    """
    parameters = params.open_folder(config) / "params.yaml"
    folder = config.folder / "evaluation"
    if params.is_archive(config.folder):
        print(note(config), flush=True)
        return folder
    engines.check_engine(config.evaluation.engine, config.evaluation.tensor_parallel)
    training.clean(config)
    left = [cell for cell in config.cells if not is_finished(config, cell)]
    for check in (header, check_model):
        for cell in left:
            check(config, cell)
    sizes = {cell: sum(row["gold_tokens"] for row in plan(config, cell)) for cell in left}
    for settings in config.evaluation.api:
        if any(cell.method == settings.name for cell in left):
            api.read_key(settings)
    if left:
        with progress.work("evaluation", config.folder / "logs" / "evaluation.log"):
            _evaluate(config, sizes, parameters)
    manifest: dict[str, dict] = {}
    for cell in config.cells:
        results = path(config, cell)
        manifest.setdefault(cell.method, {})[results.stem] = \
            files.read_json(results.with_suffix(".json"))
        hashes(results).unlink(missing_ok=True)  # of an evaluation that was killed at its end
        _say_flaws(results)
    files.write_json(folder / "manifest.json", manifest)
    for one in params.kept_runs(config):
        launch(one)
    return folder


def _evaluate(config: Params, sizes: dict[Cell, int], parameters: Path) -> None:
    """Run the cells of our methods, then those of API models, even if some of ours fail."""
    own = {cell: size for cell, size in sizes.items() if cell.method in METHODS}
    failed = []
    if own:
        at = places(config.evaluation.tensor_parallel, config.evaluation.workers)
        failed += _follow(config, queues(config, own, len(at)), at, parameters)
    # A server's rate limit applies to one process.
    failed += _follow(config, [Queue([cell]) for cell in sizes if cell not in own], [], parameters)
    if failed:
        unfinished = [_name(config, cell) for cell in sizes
                      if not (description(config, cell) or {}).get("finished")]
        if unfinished and len(sizes) > 1:
            failed.append(f"{len(unfinished)} of {len(sizes)} cells failed: "
                          + ", ".join(unfinished))
        raise RuntimeError("\n".join(failed))


def _name(config: Params, cell: Cell) -> str:
    return str(cell) + ("" if cell.seed == config.seed else f" with seed {cell.seed}")


class Queue(NamedTuple):
    """Cells that processes take one after the other, each with an engine of its own."""

    cells: list[Cell]
    processes: int = 1


def queues(config: Params, sizes: dict[Cell, int], count: int) -> list[Queue]:
    """Return a queue of cells for each base model; without adapters, one for all cells.

    The longest cells come first. Cells of the same model follow each other, because a process then
    loads it once.

    Args:
        config: The resolved parameters of the run.
        sizes: The tokens to generate for each cell.
        count: How many engines run at once; there are more if there are more base models.
    """
    def base(cell: Cell) -> Path | None:
        adapters = engines.takes_adapters(config.evaluation.engine)
        return training.source(config, base_of(cell)).base if adapters else None

    bases: dict[Path | None, list[Cell]] = {}
    for cell in sorted(sizes, key=sizes.get, reverse=True):
        bases.setdefault(base(cell), []).append(cell)
    started = overheads.engines_of({one: [sizes[cell] for cell in cells]
                                    for one, cells in bases.items()}, count)
    return [Queue(_together(cells), started[one]) for one, cells in bases.items()]


def _together(cells: list[Cell]) -> list[Cell]:
    """Move cells of the same model to the first of them."""
    def model(cell: Cell) -> object:
        method = METHODS[cell.method]
        return base_of(cell) if method.adapted else method.start

    order = list(dict.fromkeys(map(model, cells)))
    return sorted(cells, key=lambda cell: order.index(model(cell)))


def _follow(config: Params, waiting: list[Queue], at: list[dict[str, str]],
            parameters: Path) -> list[str]:
    """Run the processes of each queue; returns what is said of those that failed.

    If all processes of a queue end within a cell, new ones continue with the remaining cells.
    """
    failed = []
    while waiting:
        with tempfile.TemporaryDirectory() as folder:
            taken = {Path(folder) / str(number): queue for number, queue in enumerate(waiting)}
            try:
                follow_all([command for file, queue in taken.items()
                            for command in _commands(config, queue, parameters, file)], at)
            except RuntimeError as error:
                failed.append(str(error))
            waiting = [left for file, queue in taken.items() if (left := _left(queue, file)).cells]
    return failed


def _left(queue: Queue, taken: Path) -> Queue:
    """Return the cells that no process took; none if every process failed before its first."""
    known = read_taken(taken)
    cells = [cell for cell in queue.cells if cell not in known] if known else []
    return Queue(cells, min(queue.processes, len(cells)))


def _commands(config: Params, queue: Queue, parameters: Path, taken: Path) -> list[Command]:
    line = [sys.executable, "-m", "metarfft_core.evaluation", "--params", str(parameters),
            "--taken", str(taken), "--processes", str(queue.processes)]
    for cell in queue.cells:
        line += ["--cell", cell.method, cell.task, str(cell.seed)]
    others = f" and {len(queue.cells) - 1} more" if len(queue.cells) > 1 else ""
    name = f"evaluation of {_name(config, queue.cells[0])}{others}"
    if queue.processes == 1:
        return [Command(line, name)]
    return [Command(line, f"{name}, engine {number} of {queue.processes}")
            for number in range(1, queue.processes + 1)]


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
    parser.add_argument("--cell", nargs=3, action="append", metavar=("METHOD", "TASK", "SEED"),
                        help="one of several cells for one engine; can be given again")
    parser.add_argument("--taken", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if (options.method is None) != (options.task is None):
        parser.error("--method and --task belong together")
    if options.cell and options.method:
        parser.error("--cell and --method exclude each other")
    try:
        config = params.load(options.params)
        cells = _asked(config, options)
        if not cells:
            launch(config)
            return 0
        params.open_folder(config)
        if len(cells) > 1:
            return evaluate_all(config, cells, options.taken, options.processes)
        evaluate(config, cells[0])
    except (ParamsError, api.ServerError, OSError) as error:
        reason = files.explain(error) if isinstance(error, OSError) else error
        print(f"error: {reason}", file=sys.stderr)
        return 2 if isinstance(error, ParamsError) else 1
    return 0


def _asked(config: Params, options: argparse.Namespace) -> list[Cell]:
    """Return the cells that the options of the command name; none means the whole grid."""
    for *_, seed in options.cell or []:
        if not seed.isdecimal():
            raise ParamsError(f"--cell: expected a method, a task and a whole number, got {seed!r} "
                              "as the seed")
    cells = [Cell(method, task, int(seed)) for method, task, seed in options.cell or []]
    if options.method is not None:
        cells = [Cell(options.method, options.task,
                      config.seed if options.seed is None else options.seed)]
    for cell in cells:
        if cell not in config.cells:
            raise ParamsError(f"this run does not evaluate {cell} with seed {cell.seed}")
    return cells
