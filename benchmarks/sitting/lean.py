"""Item 5: the trainings of items 3 and 4 without recomputation, and with liger-kernel's layers.

By the plan's formula PiSSA steps without either take 70 GiB, more than the kit takes of 80 GB. So
that case has half of the samples.
"""

from importlib.util import find_spec

from sitting.record import Record
from sitting.steps import RANK, Setting, measure


def run(record: Record) -> None:
    layers = record.pick(8, 1)
    # liger-kernel changes the classes of this process, so what goes without it comes first.
    for setting in (Setting(RANK, recompute=False, samples=4),
                    Setting(None, layers, recompute=False),
                    Setting(RANK, recompute=False, liger=True),
                    Setting(None, layers, recompute=False, liger=True),
                    Setting(RANK, liger=True)):
        if setting.liger and (find_spec("liger_kernel") is None or record.device == "cpu"):
            record.leave_out(setting.name, "liger-kernel is not installed, or there is no GPU")
            continue
        with record.case(setting.name) as values:
            values |= measure(record, setting)
