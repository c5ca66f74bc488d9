"""A plan beside what the run took: tokens, hours and memory of each stage.

Measured values come from the manifests of the trainings and the rows of the evaluation. On a GPU,
hours are compared in GPU hours; on a CPU, where a plan has none, in hours at the speed that the
parameter form assumes (`display.CPU_GFLOPS`). There the planned memory is of a GPU and not
compared. A second table has the hours beside the plan's and the paper's (its Table 8), from the
launch of each process to its last byte.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metarfft_core import params
from metarfft_core.planning import display, plan
from metarfft_core.system import files, places

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Run:
    """What a run's folder says of its finished parts."""

    folder: Path
    config: params.Params
    # of trainings, by "pretrain", "adapt/<task>/<method>", "rl/<task>/<start>_<reward>"
    manifests: dict[str, dict]
    cells: dict[str, dict]  # by "<method>/<file's stem>"; some are not finished

    @property
    def begun(self) -> bool:
        """Whether any part is finished."""
        return bool(self.manifests) or any(cell["finished"] for cell in self.cells.values())


def _open(source: str | os.PathLike) -> _Run:
    path = places.absolute(source)
    folder = path if path.is_dir() else params.load(source).folder
    config = params.of_folder(folder)
    found = [folder / "pretrain" / "manifest.json",
             *sorted(folder.glob("adapt/*/*/manifest.json")),
             *sorted(folder.glob("rl/*/*/manifest.json"))]
    manifests = {path.parent.relative_to(folder).as_posix(): files.read_json(path)
                 for path in found if path.exists()}
    cells = {f"{path.parent.name}/{path.stem}": files.read_json(path)
             for path in sorted((folder / "evaluation").glob("*/*.json"))}
    return _Run(folder, config, manifests, cells)


def report(source: str | os.PathLike) -> str:
    """Format the plan and what the run took, followed by the same of each kept step that began.

    Args:
        source: The parameter file or the folder of a run.

    Raises:
        ParamsError: As `compare` does.
    """
    run = _open(source)
    texts = [show(compare(run.folder))]
    for kept in params.kept_runs(run.config):
        if (kept.folder / "params.yaml").exists() and _open(kept.folder).begun:
            texts.append(f"Of the kept step, run {kept.name}\n\n{show(compare(kept.folder))}")
    return "\n\n".join(texts)


def compare(source: str | os.PathLike) -> "pd.DataFrame":
    """Compare a plan with a run that is finished, or as far as it is.

    Args:
        source: The parameter file or the folder of a run.

    Returns:
        A row for each stage and method that has finished parts, with the columns stage, method,
        parts (finished), tokens, took_tokens, trained, took_trained (tokens trained on or
        generated), hours, took_hours, memory, took_memory (GiB of one GPU). Only finished parts are
        counted, in the plan too. A value that is not known is NaN: a cell whose answers were made
        in more than one process has no hours, and a CPU no GPU memory. Further columns are devices
        (in words), whole_hours (of all devices, from the launches to the last bytes), least
        (whether some of that is not known), paper_low and paper_high (of as many trainings).

    Raises:
        ParamsError: If there is no such run, or if stored rows were changed.
    """
    import pandas as pd

    run = _open(source)
    stages = plan.plan(run.config).stages
    rows = [*_trainings(run, stages), *_evaluations(run, stages)]
    return pd.DataFrame(rows, columns=["stage", "method", "parts", *_COLUMNS, *_HOURS])


def show(compared: "pd.DataFrame") -> str:
    """Format what `compare` returns, in at most 100 columns; columns without a value are left out.

    Each column of the plan is followed by one of what the run took. The table of hours follows.
    """
    import pandas as pd

    names = {name: title for name, title in _COLUMNS.items() if compared[name].notna().any()}
    lines = [[f"{row.stage} {row.method}".rstrip(), row.parts,
              *(_number(getattr(row, name)) for name in names)] for row in compared.itertuples()]
    return (pd.DataFrame(lines, columns=["stage", "parts", *names.values()]).to_string(index=False)
            + "\n\nPlan, then what it took. Tokens in thousands; trained: trained on or written.\n"
            "Hours of GPUs, or of two CPU cores if there was no GPU. Memory: GiB of one GPU.\n\n"
            + _show_hours(compared))


def _show_hours(compared: "pd.DataFrame") -> str:
    """Format the hours of each stage beside the plan's and the paper's, if it states any.

    A stage of which nothing is known is left out.
    """
    import pandas as pd

    lines = [[f"{row.stage} {row.method}".rstrip(), row.parts, row.devices,
              ("at least " if row.least else "") + _number(row.whole_hours), _number(row.hours),
              _number(row.paper_low) + (f" to {_number(row.paper_high)}"
                                        if row.paper_high > row.paper_low else "")]
             for row in compared[compared["whole_hours"].notna()].itertuples()]
    titles = ["stage", "parts", "devices", "hours", "plan"]
    if compared["paper_low"].notna().any():
        titles.append("paper")
    shown = pd.DataFrame([line[:len(titles)] for line in lines], columns=titles)
    return (shown.to_string(index=False) + "\n\nHours of all devices, from the launch of a process "
            "to its last byte. At least: without what\ninterrupted processes took; or from a "
            "version of the kit that did not measure the launch.")


def _whole(parts: list[dict], devices: int) -> dict:
    """Return the columns of the second table that a stage's manifests or descriptions tell."""
    launched = [manifest.get("launch_seconds") for manifest in parts]
    known = [manifest.get("launch_seconds") or manifest.get("seconds") for manifest in parts]
    seconds = sum(filter(None, known)) if any(known) else _NONE
    gpu = next((manifest["gpu"] for manifest in parts if manifest.get("gpu")), None)
    on_gpu = gpu or parts[0].get("device", "cpu") != "cpu"
    return {"devices": f"{devices} x {gpu or 'GPU'}" if on_gpu else "CPU",
            "whole_hours": seconds * (devices if on_gpu else 1) / 3600, "least": None in launched}


_COLUMNS = {"tokens": "tokens", "took_tokens": "took", "trained": "trained", "took_trained": "took",
            "hours": "hours", "took_hours": "took", "memory": "memory", "took_memory": "took"}
_HOURS = ["devices", "whole_hours", "least", "paper_low", "paper_high"]
_NONE = float("nan")


def _number(value: float) -> str:
    return "" if value != value else f"{value:,.4g}"


def _hours(planned: "pd.DataFrame", on_gpu: bool) -> float:
    if on_gpu:
        return float(planned.gpu_hours.sum())
    operations = planned.flops.sum() + planned.validation_flops.fillna(0).sum()
    return float(operations) / (display.CPU_GFLOPS * 1e9) / 3600


def _trainings(run: _Run, stages: "pd.DataFrame") -> list[dict]:
    seeded = stages.assign(name=[_name(run, row) for row in stages.itertuples()])
    rows = []
    for (stage, method), planned in seeded[seeded.stage != "evaluation"].groupby(
            ["stage", "method"], sort=False, dropna=False):
        planned = planned[planned.name.isin(run.manifests)]
        took = [run.manifests[name] for name in planned.name]
        if not took:
            continue
        on_gpu = took[0]["device"] != "cpu"
        rows.append({
            "stage": stage, "method": "" if stage == "pretrain" else method, "parts": len(took),
            "tokens": planned.tokens.sum() / 1e3,
            "took_tokens": sum(made["tokens"] for made in took) / 1e3,
            "trained": planned.trained_tokens.sum() / 1e3,
            "took_trained": sum(made.get("completion_tokens", _NONE) for made in took) / 1e3,
            "hours": _hours(planned, on_gpu),
            "took_hours": sum(made["seconds"] * made["processes"] for made in took) / 3600,
            "memory": planned.total.max() if on_gpu else _NONE,
            "took_memory": max(made["peak_memory_gib"].get("gpu", _NONE) for made in took),
            **_whole(took, took[0]["processes"]),
            **{name: float(planned[name].astype(float).sum(min_count=1))
               for name in ("paper_low", "paper_high")}})
    return rows


def _name(run: _Run, row) -> str:
    """Return the name of a planned training among the manifests."""
    if row.stage == "rl":
        return f"rl/{row.task}/{row.method.replace(' ', '_')}"
    if row.stage != "adapt":
        return row.stage
    seed = "" if row.seed == run.config.seed else f"-seed{row.seed}"
    return f"adapt/{row.task}/{row.method}{seed}"


def _evaluations(run: _Run, stages: "pd.DataFrame") -> list[dict]:
    rows = []
    for planned in stages[stages.stage == "evaluation"].itertuples():
        cells = {name: about for name, about in run.cells.items()
                 if name.startswith(f"{planned.method}/") and about["finished"]}
        if not cells:
            continue
        whole = stages[(stages.stage == "evaluation") & (stages.method == planned.method)]
        read, written = map(sum, zip(*(_tokens(run, name) for name in cells), strict=True))
        share = sum(about["rows"] for about in cells.values()) / planned.samples
        on_gpu = any(about["gpu"] for about in cells.values())
        seconds = [about.get("seconds") or _NONE for about in cells.values()]
        rows.append({
            "stage": "evaluation", "method": planned.method, "parts": len(cells),
            "tokens": share * planned.tokens / 1e3, "took_tokens": (read + written) / 1e3,
            "trained": share * planned.trained_tokens / 1e3, "took_trained": written / 1e3,
            "hours": share * _hours(whole, on_gpu),
            "took_hours": sum(seconds) * (planned.processes if on_gpu else 1) / 3600,
            "memory": _NONE, "took_memory": _NONE,
            **_whole(list(cells.values()), planned.processes), "paper_low": _NONE,
            "paper_high": _NONE})
    return rows


def _tokens(run: _Run, name: str) -> tuple[int, int]:
    """Return the tokens that a cell's prompts and answers have."""
    path = run.folder / "evaluation" / f"{name}.jsonl"
    if files.changed(path, run.cells[name]["sha256"]):
        raise params.ParamsError(f"{path} is not what the evaluation finished: its hash differs")
    with open(path, encoding="utf-8", newline="\n") as file:
        rows = [json.loads(line) for line in file]
    return (sum(row["prompt_tokens"] for row in rows),
            sum(row["completion_tokens"] for row in rows))
