"""The attentions of packed samples that run on a device, by the kit's names."""

import runpy

from sitting.record import Record
from sitting.runner import ROOT

OLD, NEW = "sdpa", "varlen"
"""What the kit used on a GPU before, and what it uses now."""


def usable(record: Record) -> dict[str, str]:
    """What transformers calls each attention that runs here, the old one first.

    On the CPU of a rehearsal, `varlen` has the kernel of the tests.
    """
    from metarfft_core.models import packed_attention

    packed_attention.register()
    names = packed_attention.NAMES
    if record.device == "cpu":
        runpy.run_path(str(ROOT / "tests" / "varlen_on_a_cpu.py"))["register"]()
        return {name: names[name] for name in (OLD, NEW)}
    return {name: names[name] for name in (OLD, NEW, "flex")}
