"""Chat templates that ask for the date: the text is the same on every day, wherever it is read."""

import pytest
from transformers import AutoTokenizer

from metarfft_core import models
from metarfft_core.models import chat_template

LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- "Today Date: " + date_string + "\\n" }}
{%- for message in messages %}
    {{- message['role'] + ': ' + message['content'] }}
{%- endfor %}
"""
OTHER = """\n  {% for message in messages %}
{{ strftime_now('%A, %-d %B %y') }} {{ message['content'] }}
{% endfor %}
"""


def write(folder, template):
    """The embedded model's tokenizer with another chat template, in a model's folder."""
    tokenizer = AutoTokenizer.from_pretrained(models.resolve(models.EMBEDDED))
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def text(tokenizer):
    return tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)


@pytest.mark.parametrize(("template", "said"), [
    (LLAMA, "Today Date: 26 Jul 2024\nuser: x"), (OTHER, "Friday, 26 July 24 x\n")])
def test_a_template_that_asks_for_the_date_gets_a_fixed_one(tmp_path, template, said):
    """The kit, and transformers alone on what the kit has saved, say the same fixed date."""
    tokenizer = models.load_tokenizer(str(write(tmp_path / "base", template)))
    assert said in text(tokenizer)
    tokenizer.save_pretrained(tmp_path / "trained")
    (tmp_path / "trained" / "config.json").write_text('{"model_type": "llama"}')
    assert text(AutoTokenizer.from_pretrained(tmp_path / "trained")) == text(tokenizer)
    again = models.load_tokenizer(str(tmp_path / "trained"))
    assert again.chat_template == tokenizer.chat_template
    assert chat_template.about(again.chat_template)["date"] == "2024-07-26"


def test_the_counted_tokens_are_those_of_the_fixed_date(tmp_path, monkeypatch):
    """The counter, which uses no transformers, agrees with the encoders."""
    folder = str(write(tmp_path / "base", LLAMA))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    tokenizer = models.load_tokenizer(folder)
    expected = len(models.encode_prompt(tokenizer, "12 + 7")) + len(
        models.encode_completion(tokenizer, "19"))
    assert models.token_counter(folder)("12 + 7", "19") == expected
    [kept] = (tmp_path / "cache" / "templates").iterdir()
    assert "26 Jul 2024" in kept.read_text()


def test_a_template_around_the_macro_says_what_it_said_before(tmp_path):
    """But for the date, not a space of the text changes."""
    for template in (LLAMA, OTHER):
        plain = AutoTokenizer.from_pretrained(write(tmp_path / "base", template))
        fixed = text(models.load_tokenizer(str(tmp_path / "base")))
        plain.chat_template = plain.chat_template.replace(
            'strftime_now("%d %b %Y")', "'26 Jul 2024'").replace(
            "strftime_now('%A, %-d %B %y')", "'Friday, 26 July 24'")
        assert fixed == text(plain)


def test_a_template_without_a_date_is_left_alone():
    """The embedded model's template is the one of its file."""
    plain = AutoTokenizer.from_pretrained(models.resolve(models.EMBEDDED)).chat_template
    assert models.load_tokenizer(models.EMBEDDED).chat_template == plain
    assert chat_template.about(plain)["date"] is None


def test_an_unknown_part_of_a_date_is_refused(tmp_path):
    """A date format that has no fixed text is an error, not the date of the day."""
    tokenizer = models.load_tokenizer(str(write(tmp_path / "base", "{{ strftime_now('%G') }}")))
    with pytest.raises(Exception, match="date format %G is not known"):
        text(tokenizer)
