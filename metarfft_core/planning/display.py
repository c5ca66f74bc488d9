"""Formats a plan as text."""

from typing import TYPE_CHECKING, NamedTuple

from metarfft_core import tasks
from metarfft_core.planning import counting, memory
from metarfft_core.planning.plan import GENERATION, USABLE, Plan

if TYPE_CHECKING:
    import pandas as pd

CPU_GFLOPS = 110
"""Operations in 1e9 a second on two busy CPU cores: the trainings of the stored laptop runs."""


class Line(NamedTuple):
    """One figure of a plan, and what it rests on."""

    what: str
    value: str
    note: str


def summary(made: Plan) -> list[Line]:
    """The figures of a whole run: GPU hours, what fits, CPU time, disk, the paper's hours."""
    stages = made.stages
    seconds = (stages.flops.sum() + stages.validation_flops.sum()) / (CPU_GFLOPS * 1e9)
    share = stages.utilisation.max()
    running = made.starts + stages.checkpoints.max()
    return [
        Line("GPU hours", total(made),
             f"Operations at an assumed {share:.0%} of {made.peak_tflops:g} TFLOP/s in training, "
             f"{GENERATION:.0%} in generation. "
             + ("Tokens are counted on a sample." if made.counted else
                "Tokens are estimated from texts: the model's tokenizer is not at hand.")),
        Line("Fits", "no" if made.problems else "yes",
             " ".join(f"{problem}." for problem in made.problems) or
             f"At most {stages.total.max():.1f} of {made.gpu_memory_gib:g} GiB of a GPU. "
             f"GPUs for a stage: {_range(stages.processes)}."),
        Line("CPU time", _duration(seconds),
             f"Rough: the same operations on two CPU cores at {CPU_GFLOPS} GFLOP/s, as in the "
             "stored laptop runs. Loading and PiSSA starts come on top."),
        Line("Disk", f"{stages.kept.sum():,.1f} GB",
             f"What is kept. While it runs, up to {running:,.1f} GB more."),
        _paper(made)]


def total(made: Plan) -> str:
    """The GPU hours of a whole run."""
    return f"{made.stages.gpu_hours.sum():,.3g}"


def _paper(made: Plan) -> Line:
    """The paper's hours for the same trainings, and why they differ from the plan's."""
    trained = made.stages[made.stages.stage != "evaluation"]
    hours = trained[["paper_low", "paper_high"]].sum(min_count=1)
    if hours.isna().all():
        return Line("The paper's GPU hours", "none", "The paper does not train this model.")
    return Line("The paper's GPU hours", _range(hours.round()),
                f"For the trainings, which the plan puts at {trained.gpu_hours.sum():,.3g}. The "
                "paper's are measured, on H800 GPUs (Table 8). The plan counts operations alone: "
                "no attention, no recomputation, no loading, no waiting. The share of the peak is "
                "assumed.")


def _duration(seconds: float) -> str:
    """A time in the unit that a person would use."""
    for unit, size in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(1, seconds / 60):.0f} minutes"


def show(made: Plan) -> str:
    """Format a plan for the terminal."""
    config, stages = made.config, made.stages
    adaptations = stages[stages.stage == "adapt"]
    how = ("tokens counted with its tokenizer on a sample" if made.counted else
           "tokens ESTIMATED from the text of a sample, because its tokenizer is not available "
           f"({counting.TOKENS_PER_PIECE} for a word, a digit, a symbol or a newline)")
    parts = [
        f"Plan of run {config.name}: {config.model.name}, "
        f"{made.shape.parameters / 1e9:.2f} billion parameters; {how}.",
        _table(_costs(stages)),
        f"GPU hours are at that share of {made.peak_tflops:g} TFLOP/s (the share of generation is "
        "assumed). FLOPs and hours include neither attention nor what gradient checkpointing "
        f"recomputes. RF-pretraining may stop early. The whole run: {total(made)} GPU hours.",
        f"Memory of one GPU in GiB, of which {USABLE:.0%} of {made.gpu_memory_gib:g} can be used, "
        "at the fullest micro batch (tokens), which holds at least the longest sample.",
        _table(_memory(stages)),
        f"Disk in GB, at most: {stages.kept.sum():,.1f} for the results, {made.starts:,.1f} "
        f"for PiSSA starts, and during the run {stages.checkpoints.max():,.1f} for the checkpoints "
        "of a training or a merged model. Host memory of a node while a model loads: "
        f"{stages.host.max():,.1f} GB."]
    if len(adaptations):
        parts += ["Each adaptation: tokens, and minutes of a GPU at that share.",
                  _by_task(adaptations)]
    parts += [f"PROBLEM: {problem}" for problem in made.problems] or ["Everything fits."]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[dict[str, str]]) -> str:
    import pandas as pd

    return pd.DataFrame(rows).to_string(index=False)


def _groups(stages: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """Return the rows behind each line of a table.

    The lines are RF-pretraining, each method's adaptations and their sum, each method's evaluation
    and their sum.
    """
    groups = []
    for stage, rows in stages.groupby("stage", sort=False):
        if stage == "pretrain":
            groups.append(("RF-pretraining", rows))
            continue
        name = "adaptation" if stage == "adapt" else stage
        groups += [(f"{name}, {method}", part)
                   for method, part in rows.groupby("method", sort=False)]
        groups.append((f"{name}, total", rows))
    return groups


def _costs(stages: "pd.DataFrame") -> list[dict[str, str]]:
    return [{"stage": name if len(rows) == 1 else f"{name} ({len(rows)})",
             "GPUs": _range(rows.processes), "steps": _range(rows.steps),
             "samples": f"{rows.samples.sum():,}", "tokens": _short(rows.tokens.sum()),
             "trained on": _short(rows.trained_tokens.sum()),
             "validated on": _short(rows.validation_tokens.sum(min_count=1)),
             "FLOPs": f"{rows.flops.sum() + rows.validation_flops.sum():.2e}",
             "attention": f"{rows.attention_flops.sum():.1e}",
             "share": f"{rows.utilisation.iloc[0]:.0%}",
             "GPU hours": f"{rows.gpu_hours.sum():,.3g}",
             "the paper's": _range(rows[["paper_low", "paper_high"]].sum(min_count=1))}
            for name, rows in _groups(stages)]


def _memory(stages: "pd.DataFrame") -> list[dict[str, str]]:
    """Show, for each group, the training that takes the most memory."""
    lines = []
    for name, rows in _groups(stages):
        if name.endswith(", total"):
            continue
        row = rows.loc[rows.total.idxmax()]
        lines.append({"stage": name, "micro batch": _number(row.micro_batch, ",.0f"),
                      "longest": _number(row.longest, ",.0f"),
                      **{part: _number(row[part], ".2f") for part in _MEMORY},
                      "fits": "yes" if rows.fits.all() else "NO"})
    return lines


def _by_task(adaptations: "pd.DataFrame") -> str:
    first = adaptations.drop_duplicates(["task", "method"])  # other seeds cost the same
    cells = first.assign(cell=[f"{_short(tokens)} / {60 * hours:.2g}" for tokens, hours
                               in zip(first.tokens, first.gpu_hours, strict=True)])
    table = cells.pivot(index="task", columns="method", values="cell").fillna("")
    table.index = table.index.map(tasks.label)
    return table[list(first.method.unique())].rename_axis(index=None, columns=None).to_string()


def _number(value, form: str) -> str:
    import pandas as pd

    return "" if pd.isna(value) else format(value, form)


def _short(tokens) -> str:
    """Format a number of tokens in thousands or millions."""
    import pandas as pd

    if pd.isna(tokens):
        return ""
    return f"{tokens / 1e6:,.1f} M" if tokens >= 1e6 else f"{tokens / 1e3:,.1f} k"


def _range(values: "pd.Series") -> str:
    known = values.dropna()
    ends = (known.min(), known.max()) if len(known) else ()
    return "-".join(dict.fromkeys(f"{end:,g}" for end in ends))


_MEMORY = (*memory.PARTS, "total", "validation")
