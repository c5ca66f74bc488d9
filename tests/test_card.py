"""The card of a corpus: it opens as a data set, and says what a recount finds."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import made_up_run
import pytest
import yaml

from metarfft_core import corpus, params, tasks
from metarfft_core.corpus import card

LOAD = """
import json, sys
from datasets import get_dataset_config_names, load_dataset
folder, cache = sys.argv[1:]
found = {}
for name in get_dataset_config_names(folder):
    data = load_dataset(folder, name, cache_dir=cache)
    found[name] = {split: [list(row.values()) for row in rows] for split, rows in data.items()}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small corpus with every split; one shard of it holds nothing."""
    values = made_up_run.plain()
    values["model"]["context"] = 8192
    values["corpus"] |= {
        "pretrain": {"tasks": ["lc_1275", "lc_896", "bbh_navigate"], "lengths": [1, 2, 3, 5],
                     "samples_per_length": 6, "leave_out": True},
        "validation": {"lengths": [10], "samples_per_length": 2},  # too long for lc_1275
        "adaptation": {"tasks": ["lc_2544"], "lengths": "1-2", "samples_per_length": 12},
        "in_context": {"tasks": ["lc_896"], "lengths": [2], "samples_per_length": 3,
                       "synthetic_samples": 1003},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        run = params.check(values)
        corpus.build(run)
        yield run


def text(run):
    """The card that the build wrote."""
    return (run.folder / "corpus" / "README.md").read_text()


def table(section, run):
    """The rows of the table under a heading, each a dict by the table's head."""
    lines = text(run).split(f"# {section}\n", 1)[1].split("\n#", 1)[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")]
                      for line in lines if line.startswith("|")]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_load_dataset_opens_every_configuration_offline(built, tmp_path):
    """By the card alone `datasets` finds each split in each format, with the rows of our reader."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", LOAD, str(built.folder / "corpus"), str(tmp_path)],
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    formats = ("direct", "scratchpad", "rfft")
    hub = {"pretrain-rfft": "train", "validation-rfft": "validation", "in_context-rfft": "train",
           **{f"adaptation-{name}": "train" for name in formats},
           **{f"adaptation_validation-{name}": "validation" for name in formats},
           **{f"evaluation-{name}": "test" for name in formats}}
    assert {name: list(splits) for name, splits in found.items()} == {
        name: [split] for name, split in hub.items()}
    for name, splits in found.items():
        expected = [list(row.values()) for row in corpus.read(built, *name.split("-"))]
        assert sorted(*splits.values()) == sorted(expected)


def test_the_front_matter_is_the_hubs(built):
    """The card opens with YAML that names licence, language and configurations."""
    _, front, _ = text(built).split("---\n", 2)
    values = yaml.safe_load(front)
    assert (values["license"], values["language"]) == ("apache-2.0", ["en"])
    assert {"config_name": "evaluation-direct",
            "data_files": [{"split": "test", "path": "evaluation/direct/*.parquet"}],
            } in values["configs"]


def test_each_column_is_explained(built):
    """The card explains the columns of the files, all of them, in their order."""
    assert list(card.COLUMNS) == corpus.SCHEMA.names
    assert [row["column"] for row in table("Columns", built)] == [
        f"`{name}`" for name in corpus.SCHEMA.names]


def test_the_configurations_are_counted(built):
    """Samples of each configuration, synthetic ones included, are those in the files."""
    rows = table("Configurations", built)
    for row in rows:
        split, format = row["configuration"].strip("`").split("-")
        assert int(row["samples"].replace(",", "")) == len(corpus.read(built, split, format))
    assert rows[-1]["samples"] == "1,006"


@pytest.mark.parametrize(("split", "format"), [
    ("pretrain", "rfft"), ("adaptation", "direct"), ("evaluation", "scratchpad")])
def test_a_recount_finds_what_the_card_says(built, split, format):
    """Samples, duplicates, overlaps and answers of each task are those of its rows."""
    rows = {row["task"].rpartition("(")[2].rstrip(")"): row for row in table(split, built)}
    known = set(corpus.read(built, "adaptation", "rfft")["inputs"])
    for task, row in rows.items():
        data = list(corpus.read(built, split, format, task))
        answers = Counter(one["answer"] for one in data)
        distinct = len({(one["length"], one["inputs"]) for one in data})
        assert int(row["duplicates"]) == len(data) - distinct
        overlaps = sum(one["inputs"] in known for one in data) if split == "evaluation" else 0
        assert int(row["overlaps"]) == overlaps
        assert row["commonest answer"] == f"{max(answers.values()) / len(data):.1%}"
        yes = f"{answers['True'] / len(data):.1%}" if set(answers) <= {"True", "False"} else ""
        assert row["yes"] == yes
    assert len(rows) == (3 if split == "pretrain" else 1)
    if split == "pretrain":
        assert rows["lc_896"]["yes"]


def test_counts_by_length_and_tokens(built):
    """Lengths of one count are together; tokens are the mean and maximum of every sample."""
    from metarfft_core import models

    [row] = table("adaptation", built)
    assert row["samples by length"] == "1-2: 12 each"
    assert table("pretrain", built)[0]["samples by length"] == "1-3: 6 each; 5: 6"
    count = models.token_counter(built.model.name)
    for format in ("direct", "scratchpad", "rfft"):
        tokens = [count(one["prompt"], one["completion"])
                  for one in corpus.read(built, "adaptation", format)]
        mean, maximum = re.fullmatch(r"([\d,]+) \(([\d,]+)\)", row[f"tokens {format}"]).groups()
        # Rounded twice: to tenths in the manifest, then to whole tokens.
        assert int(mean) == pytest.approx(sum(tokens) / len(tokens), abs=0.05 + 0.5)
        assert int(maximum) == max(tokens)


def test_synthetic_rules_are_one_row(built):
    """All shards of synthetic rules are together, after the tasks."""
    rows = table("in_context", built)
    assert [row["task"] for row in rows] == ["Monotonic array (lc_896)", "synthetic rules"]
    counts = re.findall(r"(\d+)(?:-(\d+))?: (\d+)", rows[1]["samples by length"])
    assert sum(int(count) * (int(last or first) - int(first) + 1)
               for first, last, count in counts) == 1003


def test_a_task_with_nothing_left_is_shown_as_such(built):
    """A task whose lengths were all left out has no counts, and the card says where to look."""
    [row] = [row for row in table("validation", built) if "lc_1275" in row["task"]]
    assert (row["samples by length"], row["tokens rfft"], row["commonest answer"]) == ("-",) * 3
    assert "model's context does not hold them: 1 (`left_out` in `manifest.json`)" in text(built)


def test_sources_name_and_link_the_problems(built):
    """Every task of the corpus occurs once under Sources, a LeetCode problem with its link."""
    rows = {row["id"]: row for row in table("Sources", built)}
    assert rows["lc_1275"]["task"] == "Find winner on a tic-tac-toe game"
    assert set(rows) == {"lc_1275", "lc_896", "bbh_navigate", "lc_2544"}
    assert "[monotonic-array](https://leetcode.com/problems/monotonic-array)" in (
        rows["lc_896"]["what it is"])
    for id, row in rows.items():
        assert row["what length counts"] == tasks.get(id).length_definition
    for task in tasks.select(source="leetcode"):
        assert re.search(r"leetcode\.com/problems/[\w-]+", task.summary), task.id


def test_a_lost_card_is_written_again(built):
    """Building a corpus that lacks its card alone gives the same card again."""
    before = text(built)
    (built.folder / "corpus" / "README.md").unlink()
    corpus.build(built)
    assert text(built) == before


def test_a_corpus_that_is_not_built_has_no_card(tmp_path, monkeypatch):
    """Without a manifest there is nothing to describe; the message says so."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    with pytest.raises(params.ParamsError, match="the corpus of run smoke is not built"):
        card.write(params.load(params.DEFAULT_FILE))
