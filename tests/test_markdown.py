"""Text in reports and CSV files shows itself and does nothing else."""

import csv
import json
import re

import pandas
import pytest
from test_report import SHARES, parameters, write_all

from metarfft_core import evaluation
from metarfft_core.analysis import compare, report
from metarfft_core.system import files
from metarfft_core.system.markdown import Markup, csv_cell, plain, table

HOSTILE = ["<script>alert(1)</script>", "[here](https://x.y)", "![i](http://x.y/z.png)",
           "<https://x.y>", "see www.x.y and http://x.y", "<img src=x onerror=alert(1)>",
           "</td>|<b>", r"a\|b", r"\\|", "WWW.x.y HTTP://x.y", "write to me@x.y", "[a]: //x.y"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_in_a_table_makes_no_html_and_no_link(text):
    """No element begins, no link is closed, no address is complete, and no column is added."""
    line = table(["a", "b"], [[text, 1]]).split("\n")[2]
    assert not re.search(r"<|(?<!\\)\]\(|://|www\.|\w@\w", line, re.IGNORECASE)
    for bar in (r"(?<!\\)\|", r"(?<!\\)(?:\\\\)*\|"):  # as renderers find one, in two ways
        assert len(re.findall(bar, line)) == 3


def test_usual_text_stays():
    """Lists, intervals and arrows read as before; wanted links stay links."""
    for text in ("[1, 2]", "0.5 [0.4, 0.6]", "right -> wrong", "'a' > 'b'"):
        assert plain(text) == text
    assert "[a](https://b)" in table(["x"], [[Markup("[a](https://b)")]])


@pytest.mark.parametrize(("value", "kept"), [
    ("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"),
    ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"),
    ("\n=1", "'\n=1"), ("\uff1d1+1", "'\uff1d1+1"), ("\uff20A1", "'\uff20A1"),
    ("-", "'-"),
    ("-5", "-5"), ("+1.5e-3", "+1.5e-3"), (-5, -5), (-0.25, -0.25), (None, None), ("a=1", "a=1"),
    ("[-1]", "[-1]")])
def test_a_cell_is_no_formula(value, kept):
    """Only a text that a spreadsheet would compute gets an apostrophe; numbers are numbers."""
    assert csv_cell(value) == kept


def test_a_frame_is_read_back_with_its_numbers(tmp_path):
    """Pandas reads the numbers of a written table back as they were."""
    frame = pandas.DataFrame({"x": [-1, 2], "y": [-0.125, float("nan")], "z": ["=1", "-3"]})
    frame.map(csv_cell).to_csv(tmp_path / "a.csv", index=False)
    read = pandas.read_csv(tmp_path / "a.csv")
    assert read[["x", "y"]].equals(frame[["x", "y"]])
    assert list(read["z"]) == ["'=1", "-3"]


def test_the_report_of_hostile_answers(tmp_path, monkeypatch):
    """A model's answer is neither HTML in report.md nor a formula in flips.csv."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    one, two = parameters("one"), parameters("two")
    write_all(one, SHARES)
    write_all(two, SHARES)
    for cell in two.cells:
        path = evaluation.path(two, cell)
        rows = [json.loads(line) | {"answer": "=<script>", "outcome": "wrong"}
                for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        files.write_whole(path, "".join(f"{json.dumps(row)}\n" for row in rows))
        about = files.read_json(path.with_suffix(".json"))
        files.write_json(path.with_suffix(".json"), about | {"sha256": files.sha256(path)})
    folder = report.write(compare.compare(one, two))
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "=&lt;script>" in text
    assert "<script" not in text
    with open(folder / "flips.csv", encoding="utf-8", newline="") as file:
        answers = {row["other_answer"] for row in csv.DictReader(file)}
    assert answers == {"'=<script>"}
