"""Writes the GPU tables of docs/performance.md from the results of a sitting.

    python benchmarks/gpu_report.py DIR [--page FILE]

DIR is the folder that benchmarks/gpu.py wrote. What stands in the page between the two markers is
replaced. Without results the page says that it was not run. If a case was measured twice, the
last one counts; results of a rehearsal are used only if there are no others, and are marked.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from sitting import ITEMS, record

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- gpu_report.py: begins -->", "<!-- gpu_report.py: ends -->"
NOT_RUN = "**Not run: we had no GPU.**"
REHEARSAL = ("**A rehearsal at toy size. Its figures mean nothing**; they show that every item "
             "runs and what the tables will look like.")
_READING = """\
*Measured*: all rows but those that say otherwise. *Estimated*: the memory of the plan
(`metarfft_core/models/memory.py`), and the rows that are extrapolated from 8 layers and 4 to all
28 on 8 GPUs, without what the GPUs send each other. *Assumed*: the peak that MFU is a share of
(989 TFLOP/s for an H100). MFU counts what the training needs, not what is recomputed."""


class Sitting:
    """The lines of a sitting, by item and case."""

    def __init__(self, lines: list[dict]):
        real = [line for line in lines if not line["rehearsal"]]
        self.lines = real or lines
        self.rehearsal = not real
        self._last = {(line["item"], line["case"]): line for line in self.lines}

    def measured(self, item: int, *beginnings: str) -> dict[str, dict]:
        """The values of an item's measured cases whose name begins so."""
        return {case: line["values"] for (number, case), line in self._last.items()
                if number == item and case and line["status"] == record.MEASURED
                and case.startswith(beginnings or ("",))}

    def missing(self) -> list[str]:
        """A line for each item and case that was not measured, with the reason."""
        found = []
        for item in ITEMS:
            lines = [line for (number, _), line in self._last.items() if number == item.number]
            if not lines:
                found.append(f"{item.number} {item.name}: not run")
            for line in lines:
                if line["status"] not in (record.MEASURED, record.FINISHED):
                    case = f", {line['case']}" if line["case"] else ""
                    why = " ".join(str(line.get("error", "")).split())
                    found.append(f"{item.number} {item.name}{case}: {line['status']}: {why[:300]}")
        return found


def table(heads: list[str], rows: Iterable[list]) -> list[str]:
    """A Markdown table as one block of text; no block without rows."""
    lines = [_row([_cell(value) for value in row]) for row in rows]
    return ["\n".join([_row(heads), _row(["---"] * len(heads)), *lines])] if lines else []


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def report(lines: list[dict]) -> str:
    """The text between the markers."""
    if not any(line["status"] == record.MEASURED for line in lines):
        return NOT_RUN
    sitting = Sitting(lines)
    blocks = [REHEARSAL] if sitting.rehearsal else []
    for section in (_machine, _trainings, _attention, _profile, _decompositions, _whole_run,
                    _smollm2):
        blocks += section(sitting)
    if missing := sitting.missing():
        blocks += ["Not measured:", "\n".join(f"- {line}" for line in missing)]
    return "\n\n".join([*blocks, _READING])


def _machine(sitting: Sitting) -> list[str]:
    began = [line["values"] for line in sitting.lines if line["status"] == record.BEGAN]
    held = [f"Held at {values['time']}, at commit {(values['commit'] or 'unknown')[:12]}."
            for values in began]
    for values in sitting.measured(0, "versions").values():
        packages = ", ".join(f"{name} {version}" for name, version in values["packages"].items())
        held.append(f"{values['gpu'] or 'No GPU'}, Python {values['python']}, {packages}.")
    for values in sitting.measured(0, "matrix products").values():
        held.append(f"Matrix products of {values['size']:,} x {values['size']:,} in bfloat16: "
                    f"{_cell(values['tflops'])} TFLOP/s.")
    for values in sitting.measured(0, "copies").values():
        held.append(f"Copies: {_cell(values['within_gb_per_second'])} GB/s within the device, "
                    f"{_cell(values['from_host_gb_per_second'])} GB/s from the host.")
    return ["\n".join(held)]


def _trainings(sitting: Sitting) -> list[str]:
    rows = []
    for item in (3, 4, 5):
        for case, values in sitting.measured(item).items():
            kind = "extrapolated" if "extrapolated" in case else "measured"
            rows.append([case, kind, values.get("micro_batch_tokens"), values["tokens_per_second"],
                         values.get("mfu"), values.get("memory_gib"), values.get("plan_gib")])
    hours = [f"At the extrapolated rate the RF-pretraining of `params/7b.yaml` computes for "
             f"{_cell(values['run_gpu_hours'])} GPU hours."
             for values in sitting.measured(4).values() if "run_gpu_hours" in values]
    return table(["7B: training, attention", "", "tokens of a micro batch", "tokens a second",
                  "MFU", "memory, GiB", "memory by the plan"], rows) + hours


def _attention(sitting: Sitting) -> list[str]:
    rows = [[case, values["loss"], values["loss_compared"], values["gradients_apart"],
             values["compared_to_float32"]]
            for case, values in sitting.measured(1, "packed", "fused").items()]
    costs = [[case.rpartition(", ")[2], values["tokens"], values["milliseconds"],
              values.get("memory_gib")]
             for case, values in sitting.measured(1, "one layer").items()]
    return (table(["tiny model, bfloat16", "loss", "of what it is compared with",
                   "gradients apart", "what bfloat16 itself changes"], rows)
            + table(["one layer of 7B, forward and backward", "tokens", "milliseconds",
                     "memory, GiB"], costs))


def _profile(sitting: Sitting) -> list[str]:
    return table(["where the time of a step goes", "milliseconds", "shares"], (
        [case, values["milliseconds"],
         ", ".join(f"{kind} {share:.0%}" for kind, share in values["shares"].items())]
        for case, values in sitting.measured(6).items()))


def _decompositions(sitting: Sitting) -> list[str]:
    return table(["decomposition", "seconds", "error of rank 8", "of rank 32"], (
        [case, values["seconds"], values["errors"]["8"], values["errors"]["32"]]
        for case, values in sitting.measured(7).items()))


def _whole_run(sitting: Sitting) -> list[str]:
    said = []
    for values in sitting.measured(2, "RF-pretraining killed").values():
        said.append(f"A tiny training on {values['device']} with the attention "
                    f"{values['attention']}, killed after {', '.join(values['killed_at'])} and "
                    f"resumed: the losses of its {values['steps']} steps differ from those of a "
                    f"training in one go by at most {values['losses_apart']:.3g}.")
    for values in sitting.measured(2, "adaptation").values():
        said.append("Adaptation and evaluation after it: "
                    f"{sum(values['outcomes'].values())} answers.")
    for values in sitting.measured(8).values():
        said.append(f"The transformers engine on {values['device']} and on the CPU: "
                    f"{values['identical']} of {values['prompts']} outputs are identical, "
                    f"{values['near_ties']} differ by a near-tie, {values['other']} otherwise.")
    return ["\n".join(said)] if said else []


def _smollm2(sitting: Sitting) -> list[str]:
    said = []
    for values in sitting.measured(9, "RF-pretraining").values():
        said.append(f"SmolLM2-135M, RF-pretraining: {values['tokens']:,} tokens in "
                    f"{values['training_seconds']:,.0f} s; held-out loss "
                    f"{values['first_validation_loss']:.3f} to "
                    f"{values['last_validation_loss']:.3f}.")
    cells = sitting.measured(9, "accuracy")
    lengths = sorted({length for values in cells.values() for length in values["answers"]},
                     key=int)
    rows = [[case.partition(", ")[2]] + [
        f"{values['right'][length]} of {values['answers'][length]}"
        if length in values["answers"] else None for length in lengths]
        for case, values in cells.items()]
    return said + table(["right answers at length", *lengths], rows)


def replaced(page: str, text: str) -> str:
    """The page with the text between the markers.

    Raises:
        ValueError: The page lacks a marker.
    """
    before, found, rest = page.partition(BEGIN)
    _, also, after = rest.partition(END)
    if not (found and also):
        raise ValueError(f"expected {BEGIN} and, after it, {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> int:
    """Write the tables.

    Returns:
        0, or 2 for a user's error.
    """
    parser = argparse.ArgumentParser(description="The GPU tables of docs/performance.md.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the sitting")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE",
                        help="docs/performance.md")
    options = parser.parse_args()
    try:
        page = options.page.read_text(encoding="utf-8")
        new = replaced(page, report(record.read(options.folder)))
    except (OSError, ValueError) as error:
        print(f"error: {options.page}: {error}", file=sys.stderr)
        return 2
    options.page.write_text(new, encoding="utf-8")
    print(options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
