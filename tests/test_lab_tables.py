"""Tables of the notebooks: names for ids, numbers that say enough, a caption and header cells."""

import math
import re

import pandas
import pytest
from IPython.core.formatters import DisplayFormatter

from metarfft_core.lab import tables


def _body(frame):
    return tables.show(frame, "A caption").body


@pytest.mark.parametrize(("column", "value", "shown"), [
    ("task", "nupa_length", "Integer length"), ("task", "unknown", "unknown"),
    ("method", "meta_rfft", "Meta-RFFT"), ("right", "meta_rfft answers", "Meta-RFFT answers"),
    ("format", "direct", "direct"),
    ("format", "scratchpad", "scratchpad"), ("p", 1.679464e-22, "< 0.001"), ("p", 0.0213, "0.021"),
    ("p", math.nan, "-"), ("p", None, "-"), ("difference", 0.402778, "0.403"),
    ("difference", -0.25, "-0.25"), ("seconds", 1154.42, "1,154"), ("rows", 239739, "239,739"),
    ("learning_rate", 0.0005, "0.0005"), ("share", 1.0, "1"), ("share", 0.0, "0"),
    ("scheduler", "linear", "linear"), ("smoke", True, "True")])
def test_a_cell_is_shown_as_a_reader_needs_it(column, value, shown):
    """Ids get names, small p a bound, missing numbers a dash, others three decimals."""
    assert _body(pandas.DataFrame({column: [value]}, dtype=object)) == [[shown]]


def test_the_index_is_shown_if_it_says_something():
    """An index of methods is the first column; the numbers of rows are not shown."""
    frame = pandas.DataFrame({"method": ["direct"], "right_answers": [3]})
    assert tables.show(frame, "c").head == ["method", "right answers"]
    assert tables.show(frame.set_index("method"), "c").body == [["Direct answer", "3"]]


def test_a_column_has_decimals_or_none():
    """Mean tokens of 56.7 and 283.3 are 57 and 283."""
    assert _body(pandas.DataFrame({"tokens": [56.667, 283.333]})) == [["57"], ["283"]]


def test_methods_in_the_head_have_names_too():
    """Of a cross table, and of a column that says against what a method is held."""
    frame = pandas.DataFrame({"kind": ["cut"], "meta_rfft": [1], "meta_rfft against": ["direct"]})
    assert tables.show(frame, "c").head == ["kind", "Meta-RFFT", "Meta-RFFT against"]
    unnamed = pandas.Series({"steps": 3}, name="RF-pretraining").to_frame()
    assert tables.show(unnamed, "c").head == ["", "RF-pretraining"]


def test_a_notebook_shows_a_table_with_caption_and_header_cells():
    """IPython takes HTML that reads back to the same cells, and plain text that has the caption."""
    frame = pandas.DataFrame({"method": ["direct", "<b>"], "p": [0.5, math.nan]})
    data, _ = DisplayFormatter().format(tables.show(frame, "Two & two"))
    assert "<caption>Two &amp; two</caption>" in data["text/html"]
    assert re.findall(r'<th scope="(\w+)">([^<]*)</th>', data["text/html"]) == [
        ("col", "method"), ("col", "p"), ("row", "Direct answer"), ("row", "&lt;b&gt;")]
    assert re.findall("<td>(.*?)</td>", data["text/html"]) == ["0.5", "-"]
    assert data["text/plain"].splitlines() == [
        "Two & two", "method         p", "Direct answer  0.5", "<b>            -"]
