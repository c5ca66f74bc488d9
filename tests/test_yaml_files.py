"""YAML files: what is written is what is read, or it is refused with what to write instead."""

import re

import pytest
import yaml

from metarfft_core import params
from metarfft_core.system import places, yaml_files

FILES = sorted([*places.ROOT.glob("params/**/*.yaml"), *places.ROOT.glob("outputs/**/params.yaml"),
                *places.ROOT.glob("metarfft_core/data/**/*.yaml")])


def refused(folder, text):
    """The one line that refuses this file, without its name."""
    file = folder / "a.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(params.ParamsError) as caught:
        yaml_files.read(file)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(file))


@pytest.mark.parametrize(("text", "said"), [
    ("a: 1\nb: 2\na: 3", ", line 3: a: this key is given twice, the first time in line 1"),
    ("a:\n  b: {c: 1, 'c': 1}", ", line 2: a.b.c: this key is given twice"),
    ("a: [{b: 1}, {b: 1, b: 2}]", ", line 1: a.1.b: this key is given twice"),
    ("<<: {a: 1}\n<<: {b: 1}", ", line 2: <<: this key is given twice")])
def test_a_key_that_stands_twice_is_refused(tmp_path, text, said):
    """The key is named with both lines, however deep it lies."""
    assert refused(tmp_path, text).startswith(said)


@pytest.mark.parametrize(("value", "read"), [
    ("0100", "64"), ("-010", "-8"), ("0o100", "the text '0o100'"), ("08", "the text '08'"),
    ("0x10", "16"), ("0b11", "3"), ("1:30", "90"), ("1:30.5", "90.5"), ("1_000", "1000"),
    ("1_0.5", "10.5"), ("-.5", "the text '-.5'")])
def test_a_number_that_is_read_as_another_is_refused(tmp_path, value, read):
    """The message gives the value, what it is read as, and both ways to write it."""
    assert refused(tmp_path, f"a:\n  b: [1, {value}]") == (
        f", line 2: a.b.1: {value} is read as {read}: write the number in plain decimal digits, or "
        f'"{value}" in quotes for a text')


@pytest.mark.parametrize("value", ["1e-5", "1E5", "1.0e5", "2.5e3", "-1e-5"])
def test_a_power_of_ten_that_is_read_as_a_text_is_refused(tmp_path, value):
    """The message shows how it is written."""
    assert f"{value} is read as the text '{value}': write a small number as 1.0e-5" in refused(
        tmp_path, f"a: {value}")


@pytest.mark.parametrize(("value", "said"), [
    ("yes", "yes is read as true: write true or false, or \"yes\" in quotes"),
    ("No", "No is read as false"), ("on", "on is read as true"), ("OFF", "OFF is read as false"),
    (".inf", ".inf is read as inf: write a finite number"), ("-.INF", "-.INF is read as -inf"),
    (".nan", ".nan is read as nan"), ("2024-05-01", "2024-05-01 is read as a date: write \"2024"),
    ("2024-05-01 10:00:00", "is read as a datetime"), ("2024-99-99", "cannot be read in this form"),
    ("=", "cannot be read in this form"), ("!!int 0100", "the tag "), ("!!binary aa==", "the tag "),
    ("!!python/object/apply:os.getcwd []", "the tag ")])
def test_a_word_or_date_or_tag_that_is_read_as_something_else_is_refused(tmp_path, value, said):
    """The key is named, with what to write."""
    assert f", line 1: key: {said}" in refused(tmp_path, f"key: {value}") or said in refused(
        tmp_path, f"key: {value}")
    if not value.startswith("!"):
        assert "is read as" in refused(tmp_path, f"{value}: 1") or "cannot be read" in refused(
            tmp_path, f"{value}: 1")


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"])
def test_a_line_end_that_only_yaml_knows_is_refused(tmp_path, character):
    """It would end a comment, and what follows would be read."""
    assert f", line 2: the character U+{ord(character):04X} is a line break" in refused(
        tmp_path, f"a: 1\n# so it was before {character}seed: 5\n")


@pytest.mark.parametrize(("text", "said"), [
    ("a: 1\n---\nb: 1", "single document"), ("a: " + "9" * 5000, "5000 digits"),
    ("[" * 5000, "nested too deep"), ("a: [", "not a YAML file")])
def test_what_is_no_yaml_file_is_one_line(tmp_path, text, said):
    """The file is named with the reason."""
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize(("text", "value"), [
    ("100", 100), ("+5", 5), ("-0", 0), ("1.0e-5", 1e-5), ("2.", 2.0), (".5", 0.5),
    ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("1-15", "1-15"),
    ("7b", "7b"), ("1.2.3", "1.2.3"), ("\"0100\"", "0100"), ("'yes'", "yes"), ("y", "y"),
    ("http://localhost:8000/v1", "http://localhost:8000/v1"), ("[1, 2]", [1, 2])])
def test_what_is_read_as_it_looks_is_read(tmp_path, text, value):
    """Plain decimal numbers, true and false, null, and texts."""
    (tmp_path / "a.yaml").write_text(f"a: {text}\n")
    assert repr(yaml_files.read(tmp_path / "a.yaml")) == repr({"a": value})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(places.ROOT)))
def test_the_kits_files_are_read_by_everyone_alike(file):
    """Each file of the project gives what YAML 1.1 gives, as papermill and accelerate read it."""
    assert yaml_files.read(file) == yaml.safe_load(file.read_text(encoding="utf-8"))


TEXTS = ["0100", "0o17", "0x1f", "0b1", "08", "1:30", "1_000", "1e-5", "1.0e5", "-.5", "+1", "5.",
         "yes", "No", "on", "OFF", "y", "true", "null", "~", "", "=", "<<", ".inf", ".nan", "1.5",
         "2024-05-01", "a\u2028b", "a\x85b", "a\u2029", " x ", "a: b", "#x", "- a", "x\ny\n", "é",
         "😀", "!x", "&a", "*a", "[1]", "{a}", "%", "@x", "`", "'", '"', "\t", "\x00\x07", "1-15",
         "word " * 60, "x" * 300]


def test_every_value_that_is_written_is_read_back(tmp_path):
    """Texts that look like something else, as values and as keys, and numbers of every size."""
    values = {"texts": TEXTS, **{text: place for place, text in enumerate(TEXTS)},
              "numbers": [0, -5, 2**70, 1.0, 1e-5, 1e16, 1e20, 1e-300, 0.1, True, False, None]}
    file = tmp_path / "a.yaml"
    file.write_text(yaml_files.dump(values), encoding="utf-8")
    assert repr(yaml_files.read(file)) == repr(values)
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == values


def test_the_resolved_parameters_of_a_run_are_read_back(tmp_path, monkeypatch):
    """A run whose name looks like a number, and a model with an odd name, come back as they
    were."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    for name in ("1_000", "1e5", "0100", "2024-05-01", "no"):
        values = params.read(params.DEFAULT_FILE) | {
            "name": name, "model": {"name": f"{name}\u2028x", "context": 100}}
        run = params.check(values)
        again = params.load(params.open_folder(run) / "params.yaml")
        assert again == run
        assert again.digest == run.digest


def test_there_is_one_reader_of_yaml():
    """No other module of the kit reads YAML by itself."""
    readers = [path.name for path in (places.ROOT / "metarfft_core").rglob("*.py")
               if re.search(r"yaml\.(safe_|full_)?load|safe_load", path.read_text())]
    assert readers == ["yaml_files.py"]


def laughs(kind):
    """A file of nine lines whose last value is ten to the ninth values, by aliases or merges."""
    if kind == "aliases":
        lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        return "\n".join(lines + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]"
                                  for n in range(1, 9)])
    lines = ["a0: &a0 {k: 1}"]
    return "\n".join(lines + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: 1}}"
                              for n in range(1, 9)])


@pytest.mark.parametrize("kind", ["aliases", "merges"])
def test_aliases_that_grow_without_bound_are_refused(tmp_path, kind):
    """The message names the line that passes the bound, before anything is expanded."""
    said = refused(tmp_path, laughs(kind))
    assert re.match(r", line [4-6]: with its aliases this has more than 20,000 values", said)


@pytest.mark.parametrize("text", ["a: &a [1, *a]", "a: &a {b: *a}", "a: &a {<<: *a}"])
def test_an_alias_of_itself_is_refused(tmp_path, text):
    """A value without end is refused with its line."""
    assert "line 1: this value holds an alias of itself" in refused(tmp_path, text)


def test_a_few_aliases_are_read(tmp_path):
    """Aliases and merges of a usual size are read as before."""
    file = tmp_path / "a.yaml"
    file.write_text("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: [*a, *a]}")
    assert yaml_files.read(file) == {
        "a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": [{"b": 1}, {"b": 1}]}}


@pytest.mark.parametrize("text", ["a: " + "1" * 2_000_000, "a: [" + "1, " * 30_000 + "]",
                                  "a: " + "1" * 90_000 + "x"])
def test_a_huge_file_is_refused_or_read_at_once(tmp_path, text):
    """A file beyond the bounds is refused; a long value is read in linear time."""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    if text.endswith("x"):
        assert yaml_files.read(file)["a"] == text[3:]
    else:
        assert "more than" in refused(tmp_path, text)
