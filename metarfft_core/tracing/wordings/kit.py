"""The kit's renderers of records: the rule-following trace and the scratchpad."""

from metarfft_core.tracing.steps import BETWEEN


def code(records) -> str:
    """The rule-following trace: one line for each executed line of the rule (Section 2)."""
    return "\n".join([site.template % values for site, values in records])


def scratchpad(records) -> str:
    """The values that changed, without the rule: one line for each pass of a loop."""
    lines: list[list[str]] = [[]]
    for site, values in records:
        if site.loops:
            lines.append([])
        lines[-1] += [change.format(*values) for change in site.changes]
    return "\n".join(BETWEEN.join(line) for line in lines if line)
