"""Item 3: PiSSA steps of a random 7B model at 8.7k tokens: the old attention, then the new one."""

from sitting import attentions
from sitting.record import Record
from sitting.steps import RANK, Setting, measure


def run(record: Record) -> None:
    for attention in (attentions.NEW, attentions.OLD):
        setting = Setting(RANK, attention=attention)
        with record.case(setting.name) as values:
            values |= measure(record, setting)
