"""Chat templates that ask for the date, as Llama 3.1's does, get one that never changes.

transformers gives a template one function that depends on the day, `strftime_now`. A Jinja macro
of that name in front of the template takes its place, so that the template says the same in
training today and in evaluation tomorrow, and everywhere else that it is saved to: vLLM, lm-eval
and trl read it out of the model's folder.
"""

import hashlib

DATE = "2024-07-26"
"""The date that templates see: the one that Llama 3.1's takes where it is told none."""

_DIRECTIVES = {
    "%Y": "2024", "%y": "24", "%m": "07", "%d": "26", "%-m": "7", "%-d": "26", "%e": "26",
    "%B": "July", "%b": "Jul", "%h": "Jul", "%A": "Friday", "%a": "Fri", "%j": "208", "%u": "5",
    "%w": "5", "%F": "2024-07-26", "%D": "07/26/24", "%x": "07/26/24", "%X": "00:00:00",
    "%T": "00:00:00", "%R": "00:00", "%H": "00", "%I": "12", "%M": "00", "%S": "00",
    "%f": "000000", "%p": "AM", "%Z": "", "%z": ""}

_REPLACED = "".join(f" | replace('{directive}', '{value}')"
                    for directive, value in _DIRECTIVES.items())

# The line's end behind the last block is Jinja's to take away: the template then begins a line.
_MACRO = ("{% macro strftime_now(format) -%}"
          f"{{%- set date = format{_REPLACED} -%}}"
          "{%- if '%' in date -%}"
          "{{- raise_exception('the date format ' ~ format ~ ' is not known') -}}"
          "{%- endif -%}"
          "{{- date -}}"
          "{%- endmacro %}\n")


def with_fixed_date(template: str) -> str:
    """The template, with a fixed date where it asks for one."""
    if "strftime_now" not in template or template.startswith(_MACRO):
        return template
    return _MACRO + template


def about(template: str) -> dict[str, str | None]:
    """What a manifest says of the template that a model is asked in."""
    return {"sha256": hashlib.sha256(template.encode()).hexdigest(),
            "date": DATE if "strftime_now" in template else None}
