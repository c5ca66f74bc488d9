"""Formats a plan as text of at most 100 columns."""

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from metarfft_core.models import memory
from metarfft_core.planning import assumptions, counting, recomputation
from metarfft_core.planning.assumptions import GENERATION
from metarfft_core.planning.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

CPU_GFLOPS = 110
"""Operations in 1e9 a second on two busy CPU cores: the trainings of the stored laptop runs."""


NOTHING = ("Nothing is computed on this machine: the run trains nothing, and all its answers come "
           "from servers.")


class Estimate(NamedTuple):
    """One number of a plan, and what it rests on."""

    what: str
    value: str
    note: str


def summary(made: Plan) -> list[Estimate]:
    """The numbers of a whole run: GPU hours, what fits, CPU time, disk, the paper's hours."""
    stages = made.whole
    if stages.empty:
        return [Estimate("GPU hours", "0", NOTHING)]
    # A CPU recomputes nothing.
    seconds = (stages.flops.sum() + stages.validation_flops.sum()) / (CPU_GFLOPS * 1e9)
    share = stages.utilisation.max()
    running = made.starts + stages.checkpoints.max()
    return [
        Estimate("GPU hours", total(made),
             f"Operations at an assumed {share:.0%} of {made.peak_tflops:g} TFLOP/s in training, "
             f"{GENERATION:.0%} in generation; {stages.waiting_hours.sum():,.3g} hours are assumed "
             "for starts, loading, merges and checkpoints. "
             + ("Tokens are counted on a sample." if made.counted else
                "Tokens are estimated from texts: the model's tokenizer is not at hand.")),
        Estimate("Fits", "no" if made.problems else "yes",
             " ".join(f"{problem}." for problem in made.problems) or
             f"At most {stages.total.max():.1f} of {made.gpu_memory_gib:g} GiB of a GPU. "
             f"GPUs for a stage: {_range(stages.processes)}."),
        Estimate("CPU time", _duration(seconds),
             f"Rough: the same operations on two CPU cores at {CPU_GFLOPS} GFLOP/s, as in the "
             "stored laptop runs. Loading and PiSSA starts come on top."),
        Estimate("Disk", f"{stages.kept.sum():,.1f} GB",
             f"What is kept. While it runs, up to {running:,.1f} GB more."),
        _paper(made)]


def total(made: Plan) -> str:
    """The GPU hours of a whole run, with those of its kept steps."""
    return f"{made.whole.gpu_hours.sum():,.3g}"


def _paper(made: Plan) -> Estimate:
    """The paper's hours for the same trainings, and why they differ from the plan's."""
    trained = made.stages[made.stages.stage != "evaluation"]
    hours = trained[["paper_low", "paper_high"]].sum(min_count=1)
    if hours.isna().all():
        return Estimate("The paper's GPU hours", "none", "The paper does not train this model.")
    return Estimate("The paper's GPU hours", _range(hours.round()),
                f"For the trainings, which the plan puts at {trained.gpu_hours.sum():,.3g}. The "
                "paper's are measured, on H800 GPUs (Table 8). The plan's share of the peak is "
                "assumed, and so are its times for starts, loading and checkpoints.")


def _duration(seconds: float) -> str:
    """A time in the unit that a person would use."""
    for unit, size in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(1, seconds / 60):.0f} minutes"


def show(made: Plan) -> str:
    """Format a plan for the terminal."""
    stages = made.stages
    if stages.empty:
        return f"{NOTHING}\n"
    adaptations = stages[stages.stage == "adapt"]
    parts = [
        _totals(made), _about(made), _table(_tokens(stages)),
        "RF-pretraining may stop early. What the tokens take, in GPU hours:",
        _table(_costs(stages)), _reading(made),
        f"Memory of one GPU in GiB, of which {memory.USABLE:.0%} of {made.gpu_memory_gib:g} "
        "can be used, at the fullest micro batch (tokens), which holds at least the longest sample "
        "(tokens):",
        _table(_memory(stages)), *_recomputation(stages), _storage(made)]
    if len(adaptations):
        parts += ["Each adaptation: millions of tokens / minutes in which a GPU computes:",
                  _by_task(adaptations)]
    if (stages.stage == "rl").any():
        parts.append("Reinforcement learning is an estimate: the length of answers is not known in "
                     "advance, so the plan uses the right completions. Its memory is that "
                     "of weights, gradients, optimizer and vLLM's share, without activations.")
    if made.kept:
        parts += ["Each kept step is evaluated as a run of its own. The total includes these runs, "
                  "the tables above do not. Their GPU hours, and the GB that they keep:",
                  _table([{"run": one.config.name, **_hours(one.stages),
                           "disk": f"{one.stages.kept.sum():,.1f}"} for one in made.kept])]
    parts += [f"PROBLEM: {problem}" for problem in made.problems] or ["Everything fits."]
    return "\n\n".join(text if "\n" in text else textwrap.fill(
        text, _WIDTH, break_on_hyphens=False) for text in parts) + "\n"


def _totals(made: Plan) -> str:
    stages = made.whole
    hours = _hours(stages)
    return (f"Total: {total(made)} GPU hours: training {hours['training']}, evaluation "
            f"{hours['evaluation']}. On nodes of {memory.NODE} GPUs: {node_hours(made):,.3g} "
            "hours.")


def _hours(stages: "pd.DataFrame") -> dict[str, str]:
    evaluated = stages.stage == "evaluation"
    return {name: f"{stages[which].gpu_hours.sum():,.3g}"
            for name, which in (("training", ~evaluated), ("evaluation", evaluated))}


def node_hours(made: Plan) -> float:
    """Return the hours of a run: RF-pretraining on its GPUs, all else on one node's at once."""
    stages = made.whole
    alone = stages.stage == "pretrain"
    return float(stages[alone].hours.sum() + stages[~alone].gpu_hours.sum() / memory.NODE)


def _about(made: Plan) -> str:
    how = ("tokens counted with its tokenizer on a sample" if made.counted else
           "tokens ESTIMATED from the text of a sample, because its tokenizer is not available "
           f"({counting.TOKENS_PER_PIECE} for a word, a digit, a symbol or a newline)")
    return (f"Plan of run {made.config.name}: {made.config.model.name}, "
            f"{made.shape.parameters / 1e9:.2f} billion parameters; {how}.")


def _reading(made: Plan) -> str:
    return (
        f"FLOPs hold layers, output head and attention (its share beside them), as MFU does. "
        "Recomputed: what gradient checkpointing adds to them. Computing: both and the validations "
        f"at that share of {made.peak_tflops:g} TFLOP/s. Waiting: starts, loading, checkpoints, "
        f"merges, decompositions, at {assumptions.TRAINING_START:g} s for a training, "
        f"{assumptions.ENGINE_START:g} s for an engine, {assumptions.READ / 1e9:g} GB/s read, "
        f"{assumptions.WRITE / 1e9:g} GB/s written, {assumptions.COPY / 1e9:g} GB/s from a GPU to "
        f"its host, {assumptions.DECOMPOSITION / 1e12:g} TFLOP/s "
        "in decompositions. Shares, times and rates are assumed "
        "(metarfft_core/planning/assumptions.py).")


def _recomputation(stages: "pd.DataFrame") -> list[str]:
    # On a GPU, reinforcement learning always recomputes.
    trained = [(name, rows) for name, rows in _groups(stages[stages.stage.isin(
        ["pretrain", "adapt"])]) if not name.endswith(", all")]
    if not trained:
        return []
    return [
        "Activations are recomputed only where a GPU does not hold them with room to spare "
        f"({memory.ROOMY * memory.USABLE:.0%} of its memory). GiB without recomputation, at the "
        "fullest micro batch; the largest micro_batch_size that would need none:",
        _table(recomputation.lines(trained))]


def _storage(made: Plan) -> str:
    stages = made.stages
    return (
        f"Disk in GB, at most: {stages.kept.sum():,.1f} for the results, {made.starts:,.1f} for "
        f"PiSSA starts, and during the run {stages.checkpoints.max():,.1f} for the checkpoints of "
        "a training or the merged weights of the cells that a node evaluates at once. Host memory "
        f"of a node in GB: {_most(stages[stages.stage != 'evaluation'].host)} while trainings "
        f"load, {_most(stages[stages.stage == 'evaluation'].host)} while cells merge and load.")


def _most(values: "pd.Series") -> str:
    return f"{values.max():,.1f}" if len(values) else "0"


def _table(rows: list[dict[str, str]]) -> str:
    import pandas as pd

    return pd.DataFrame(rows).to_string(index=False)


def _groups(stages: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """Return the rows for each line of a table.

    The lines are RF-pretraining, each method's adaptations and their sum, each method's evaluation
    and their sum.
    """
    groups = []
    for stage, rows in stages.groupby("stage", sort=False):
        if stage == "pretrain":
            groups.append(("RF-pretraining", rows))
            continue
        name = {"adapt": "adapt", "rl": "rl", "evaluation": "eval"}[stage]
        groups += [(f"{name} {method}", group)
                   for method, group in rows.groupby("method", sort=False)]
        groups.append((f"{name}, all", rows))
    return groups


def _tokens(stages: "pd.DataFrame") -> list[dict[str, str]]:
    return [{"stage": name if len(rows) == 1 else f"{name} ({len(rows)})",
             "GPUs": _range(rows.processes), "steps": _range(rows.steps),
             "samples": f"{rows.samples.sum():,}", "tokens": _short(rows.tokens.sum()),
             "trained on": _short(rows.trained_tokens.sum()),
             "validated on": _short(rows.validation_tokens.sum(min_count=1))}
            for name, rows in _groups(stages)]


def _costs(stages: "pd.DataFrame") -> list[dict[str, str]]:
    lines = []
    for name, rows in _groups(stages):
        flops = rows.flops.sum()
        lines.append({
            "stage": name, "FLOPs": f"{flops:.2e}",
            "attention": f"{rows.attention_flops.sum() / flops:.0%}",
            "recomputed": f"{rows.recomputed_flops.sum() / flops:.0%}",
            "share": f"{rows.utilisation.iloc[0]:.0%}",
            "computing": f"{rows.compute_hours.sum():,.3g}",
            "waiting": f"{rows.waiting_hours.sum():,.3g}",
            "GPU hours": f"{rows.gpu_hours.sum():,.3g}",
            "paper's": _range(rows[["paper_low", "paper_high"]].sum(min_count=1))})
    return lines


def _memory(stages: "pd.DataFrame") -> list[dict[str, str]]:
    """Show, for each group, the training that takes the most memory."""
    lines = []
    for name, rows in _groups(stages):
        if name.endswith(", all"):
            continue
        row = rows.loc[rows.total.idxmax()]
        lines.append({"stage": name, "batch": _number(row.micro_batch, ",.0f"),
                      "longest": _number(row.longest, ",.0f"),
                      **{short: _number(row[column], ".2f") for column, short in _MEMORY.items()},
                      "fits": "yes" if rows.fits.all() else "NO"})
    return lines


def _by_task(adaptations: "pd.DataFrame") -> str:
    first = adaptations.drop_duplicates(["task", "method"])  # other seeds cost the same
    cells = first.assign(cell=[f"{tokens / 1e6:.2g} / {60 * hours:.2g}" for tokens, hours
                               in zip(first.tokens, first.compute_hours, strict=True)])
    table = cells.pivot(index="task", columns="method", values="cell").fillna("")
    return table[list(first.method.unique())].rename_axis(index=None, columns=None).to_string(
        line_width=_WIDTH)


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


_WIDTH = 100
_MEMORY = dict(zip((*memory.PARTS, "total", "validation"),
                   ("weights", "grads", "AdamW", "activ.", "loss", "FSDP", "total", "valid."),
                   strict=True))
"""The columns of memory, and their short names."""
