"""The page docs/parameters.md and the schema of the parameter files say the same."""

import re

import pytest

from metarfft_core.params import reference
from metarfft_core.params.schema import Params

SECTIONS = reference.sections(Params)
every_section = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)


def test_page_is_fresh():
    """The page in docs/ is the one that the schema makes."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), \
        "docs/parameters.md is stale: run `python -m metarfft_core.params.reference`"


@every_section
def test_every_key_has_a_row_with_its_meaning(section):
    """The table of a section has each of its keys once, in order, and no meaning is empty."""
    text = re.search(rf"^## {section.__name__}\n(.*?)(?=^## )", reference.page(),
                     re.DOTALL | re.MULTILINE)[1]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert [row[0].strip(" `") for row in rows] == list(section.model_fields)
    assert all(row[-1].strip() for row in rows)


@pytest.mark.parametrize(("key", "type", "default"), [
    ("context", "whole number, at least 1", "required"),
    ("learning_rate", "number, above 0, below 1", "required"),
    ("scheduler", "`constant` or `linear` or `cosine`", "required"),
    ("leave_out", "true or false", "`false`"),
    ("early_stopping_patience", "whole number, at least 1", "none"),
    ("mix", "[Mix](#mix)", "none"),
    ("seeds", "list: whole number, at least 0, below 4,294,967,296", "none"),
    ("timeout", "number, above 0, at most 1,000,000", "`1800.0`"),
    ("lengths", "a range such as `1-15`, or a list of lengths", "required"),
    ("max_tokens", "whole number, at least 1", "`24000`")])
def test_a_row_tells_type_bounds_and_default(key, type, default):
    """The row of a key says what the schema allows and what holds where the key is not given."""
    assert f"\n| `{key}` | {type} | {default} | " in reference.page()


def test_a_comment_above_a_field_and_one_over_several_lines_are_read():
    """A meaning may be above its field, on several lines, or beside it."""
    [adaptation] = [section for section in SECTIONS if section.__name__ == "Adaptation"]
    found = reference.meanings(adaptation)
    assert found["steps"] == "the maximum number of optimizer steps"
    assert found["equal"].startswith("What is equal for all methods. `samples`:")
    assert found["equal"].endswith("the other methods repeat their samples.")
