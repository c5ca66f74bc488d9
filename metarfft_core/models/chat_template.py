"""Chat templates: those that ask for the date get a fixed one, base models get one of the kit's.

A template that asks for the date, such as Llama 3.1's, must see the same date every day.

transformers gives a template one function that depends on the day, `strftime_now`. This module puts
a Jinja macro of that name in front of the template, which replaces the function. The template then
gives the same text in training today and in evaluation tomorrow. The macro is saved with the
template, so vLLM, lm-eval and trl, which read it from the model's folder, see the same date.
"""

import hashlib

DATE = "2024-07-26"
"""The date that templates see: the default of Llama 3.1's template."""

_DIRECTIVES = {
    "%Y": "2024", "%y": "24", "%m": "07", "%d": "26", "%-m": "7", "%-d": "26", "%e": "26",
    "%B": "July", "%b": "Jul", "%h": "Jul", "%A": "Friday", "%a": "Fri", "%j": "208", "%u": "5",
    "%w": "5", "%F": "2024-07-26", "%D": "07/26/24", "%x": "07/26/24", "%X": "00:00:00",
    "%T": "00:00:00", "%R": "00:00", "%H": "00", "%I": "12", "%M": "00", "%S": "00",
    "%f": "000000", "%p": "AM", "%Z": "", "%z": ""}

_REPLACED = "".join(f" | replace('{directive}', '{value}')"
                    for directive, value in _DIRECTIVES.items())

# Jinja removes the line end after the last block, so the template still begins on a new line.
_MACRO = ("{% macro strftime_now(format) -%}"
          f"{{%- set date = format{_REPLACED} -%}}"
          "{%- if '%' in date -%}"
          "{{- raise_exception('the date format ' ~ format ~ ' is not known') -}}"
          "{%- endif -%}"
          "{{- date -}}"
          "{%- endmacro %}\n")


FALLBACKS = {
    # The prompt, an empty line, the answer: how a model that only continues texts is asked.
    "plain": "{{- bos_token if bos_token is defined else '' -}}"
             "{%- for message in messages -%}"
             "{{- message['content'] -}}"
             "{{- (eos_token if eos_token is defined else '') if message['role'] == 'assistant' "
             "else '\n\n' -}}"
             "{%- endfor -%}"}
"""The kit's chat templates for models that have none, by their names in `model.chat_template`."""


def with_fixed_date(template: str) -> str:
    """The template, with a fixed date if it asks for one."""
    if "strftime_now" not in template or template.startswith(_MACRO):
        return template
    return _MACRO + template


def about(template: str) -> dict[str, str | None]:
    """What a manifest records about a model's chat template: its SHA-256 and its fixed date."""
    return {"sha256": hashlib.sha256(template.encode()).hexdigest(),
            "date": DATE if "strftime_now" in template else None}
