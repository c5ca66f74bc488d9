"""The gallery: the page docs/tasks.md and the registry say the same."""

import re

import pytest

from metarfft_core import tasks
from metarfft_core.authoring import gallery
from metarfft_core.cli import main

PAGE = gallery.PAGE.read_text()
SECTIONS = dict(re.findall(r'^<a id="(\w+)"></a>\n(.*?)(?=^<a id=|\Z)', PAGE,
                           re.DOTALL | re.MULTILINE))
SHOWN = [*tasks.select(), *map(tasks.get, tasks.OTHERS)]


def test_page_is_fresh():
    """The page in docs/ is the one that the registry makes."""
    assert gallery.page() == PAGE, "docs/tasks.md is stale: run `metarfft gallery`"


def test_command_writes_the_page(tmp_path, monkeypatch, capsys):
    """The command writes the whole page and prints where; a broken page is replaced."""
    path = tmp_path / "docs" / "tasks.md"
    monkeypatch.setattr(gallery.write, "__defaults__", (path,))
    for _ in range(2):
        assert main(["gallery"]) == 0
        assert capsys.readouterr().out == f"{path}\n"
        assert path.read_text() == gallery.page()
        path.write_text("broken")


def test_page_has_a_section_for_each_task():
    """The table of contents and the sections have the paper's tasks, each once, in its order; the
    contents link title, name and id to the anchor of the id."""
    assert re.findall(r"^\| \[(.+)\]\(#(\w+)\) \| (\w+) \| (\w+) \|", PAGE, re.MULTILINE) == [
        (task.title, task.id, task.name, task.id) for task in SHOWN]
    assert list(SECTIONS) == [task.id for task in SHOWN]


@pytest.mark.parametrize("task", SHOWN, ids=lambda task: task.id)
def test_section(task):
    """A section shows question, rule, length, and a whole completion in each format."""
    section = SECTIONS[task.id]
    assert f"## {task.title} (`{task.name}`, `{task.id}`)\n" in section
    assert task.summary in section
    assert task.length_definition in section
    assert f"```python\n{task.rule_source}```" in section
    instance = task.sample(length=3 if 3 in task.lengths else task.lengths[0], seed=0, index=0)
    assert f"```\n{task.ask(instance.inputs)}\n```" in section
    assert section.count(f"\nSo the answer is {instance.answer!r}\n```\n") == 4
    names = re.findall(r"<details><summary>(.+)</summary>", section)
    assert names == ["the rule in sentences", "direct", "scratchpad", "rfft", "rfft_nl"]
    assert section.count("</details>") == len(names)
    assert section.count("```") % 2 == 0
    assert ("\nCounterfactual `" in section) == (task.counterfactual is not None)
    assert not task.counterfactual or f"`{task.counterfactual.id}`" in section
