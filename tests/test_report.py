"""Reports, on small made-up run folders written as the kit writes them."""

import csv
import json
import random
import shutil
from dataclasses import astuple

import made_up_run
import pytest
import yaml

from metarfft_core import corpus, evaluation, params, training
from metarfft_core.analysis import archive, compare, report, run_folder
from metarfft_core.evaluation import general, metrics
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system import files

TASKS = ("nupa_length", "lc_2544")
LENGTHS = (1, 2, 4)
SAMPLES = 12


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    """A folder of outputs for every test alone."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    return tmp_path


def parameters(name, **changes):
    """The parameters of a made-up run; changes are named `section__key`."""
    values = made_up_run.plain() | {"name": name}
    values["adaptation"]["methods"] = ["direct", "vanilla_rfft"]
    values["corpus"]["adaptation"] |= {"tasks": list(TASKS), "lengths": [1, 2]}
    values["corpus"]["evaluation"] = {"lengths": list(LENGTHS), "samples_per_length": SAMPLES}
    for keys, value in changes.items():
        *sections, last = keys.split("__")
        part = values
        for section in sections:
            part = part[section]
        part[last] = value
    return params.check(values)


def rows_of(run, method, task, seed, answer):
    """The rows of a cell, the prompts those of the run's seed; `answer` gives (text, outcome)."""
    lengths = run.corpus.evaluation.lengths
    return [{"method": method, "task": task, "seed": seed, "length": length, "index": index,
             "prompt": f"{task} {run.seed} {length} {index}", "inputs": "{}", "gold_answer": "7",
             "gold_tokens": 3, "prompt_tokens": 5, "limit": 9, "text": "So the answer is",
             "finish_reason": "stop", "completion_tokens": 4, "answer": text, "outcome": outcome}
            for length in lengths for index in range(run.corpus.evaluation.samples_per_length)
            for text, outcome in [answer(length, index)]]


def write_cell(run, method, task, seed, answer, finished=True):
    """A cell of the evaluation, as `evaluation.evaluate` leaves it."""
    path = evaluation.path(run, Cell(method, task, seed))
    rows = rows_of(run, method, task, seed, answer)
    files.write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
    about = {"params": run.digest, "training": "t", "corpus": "c", "engine": run.evaluation.engine,
             "versions": {"transformers": "5.19.0"}, "finished": finished}
    if finished:
        about |= {"rows": len(rows), "sha256": files.sha256(path), "gpu": "NVIDIA A100"}
    files.write_json(path.with_suffix(".json"), about)
    return rows


def random_answer(key, share):
    """Answers of which about `share` are right, drawn from `key`."""
    draw = random.Random(key)
    return lambda length, index: ("7", "right") if draw.random() < share else draw.choice(
        [("8", "wrong"), (None, "no_answer"), ("70", "cut")])


def write_run(run, commit="c0ffee", weights="w"):
    """Everything of a run but its evaluation; returns it."""
    params.open_folder(run)
    made = {"params_digest": run.digest, "git_commit": commit, "versions": {"python": "3.11.7"}}
    files.write_json(run.folder / "corpus" / "manifest.json", {
        **made, "params": run.model_dump(), "shards": {"a.parquet": {"sha256": run.digest}}})
    base = {"name": "SmolLM2", "sha256": "5" * 64}
    training_facts = {**made, "base_model": base, "device": "cuda", "gpu": "NVIDIA A100",
                      "processes": 1, "compute": "bfloat16", "seed": run.seed}
    folders = {None: training.Job(run, "pretrain").folder} | {
        cell: training.Job(run, "adapt", cell).folder for cell in run.trainings}
    for cell, folder in folders.items():
        files.write_json(folder / "manifest.json", {
            **training_facts, "task": cell and cell.task, "method": cell and cell.method,
            "weights": {"adapter/adapter_model.safetensors": f"{weights}{cell}"}})
    return run


def write_all(run, shares, key="", **kept):
    """A whole run; `shares` of right answers by method. Returns its rows by method."""
    write_run(run, **kept)
    rows = {}
    for method, task, seed in map(astuple, run.cells):
        answer = random_answer(f"{key} {method} {task} {seed}", shares[method])
        rows.setdefault(method, []).extend(write_cell(run, method, task, seed, answer))
    return rows


SHARES = {"direct": 0.5, "vanilla_rfft": 0.8}


def test_a_report_reads_the_rows_that_the_evaluation_stored():
    """The rows are those of evaluation.read, and a run without seeds in them has its own."""
    run = parameters("one")
    write_all(run, SHARES)
    stored = evaluation.read(run)
    found = run_folder.open_run(run).rows
    keys = ["method", "task", "seed", "length", "index", "outcome"]
    assert list(found) == ["direct", "vanilla_rfft"]
    assert (sorted(tuple(row[key] for key in keys) for rows in found.values() for row in rows)
            == sorted(stored[keys].itertuples(index=False, name=None)))
    path = evaluation.path(run, Cell("direct", TASKS[0], run.seed))
    old = [json.loads(line) for line in path.read_text().rstrip("\n").split("\n")]
    files.write_whole(path, "".join(json.dumps({key: value for key, value in row.items()
                                                if key != "seed"}) + "\n" for row in old))
    about = files.read_json(path.with_suffix(".json"))
    files.write_json(path.with_suffix(".json"), about | {"sha256": files.sha256(path)})
    assert run_folder.open_run(run).rows == found


def test_parameters_are_compared_leaf_by_leaf():
    """Exactly the leaves that differ are listed, lengths and long lists of tasks in short."""
    others = [{"methods": ["direct"], "tasks": [TASKS[0]], "seeds": [1]}]
    runs = [write_run(parameters("one", adaptation__learning_rate=1e-4)), write_run(parameters(
        "two", corpus__evaluation__lengths=list(range(1, 31)), evaluation__engine="vllm",
        corpus__pretrain__tasks=["sr_coin_flip"], adaptation__further=others))]
    assert compare.compare(*runs).parameters == [
        ("name", "one", "two"),
        ("corpus.pretrain.tasks", "sr_coin_flip, sr_last_letter", "sr_coin_flip"),
        ("corpus.evaluation.lengths", "1, 2, 4", "1-30"),
        ("adaptation.learning_rate", "0.0001", "0.0005"),
        ("evaluation.engine", "transformers", "vllm"),
        ("adaptation.further.0.methods", "-", "direct"),
        ("adaptation.further.0.tasks", "-", "nupa_length"),
        ("adaptation.further.0.seeds", "-", "1")]


def test_a_long_list_is_shown_by_what_the_other_lacks():
    """Of many tasks only those are named that the other run does not have."""
    every = ["sr_coin_flip", "sr_last_letter", "bbh_navigate", "bbh_reverse_list",
             "bbh_object_counting"]
    runs = [write_run(parameters("one", corpus__pretrain__tasks=every)),
            write_run(parameters("two", corpus__pretrain__tasks=[*every[1:], "bbh_word_sorting"]))]
    [line] = [line for line in compare.compare(*runs).parameters if line[0].startswith("corpus")]
    assert line == ("corpus.pretrain.tasks", "sr_coin_flip, and 4 that both have",
                    "bbh_word_sorting, and 4 that both have")


def test_provenance_says_what_made_each_result():
    """Commit, digest, hashes, versions, engine and GPU of both; what is the same, and what not."""
    one, two = parameters("one"), parameters("two", evaluation__engine="vllm")
    write_all(one, SHARES)
    write_all(two, SHARES, commit="decade", weights="v")
    stale = training.Job(two, "adapt", Cell("direct", TASKS[0], two.seed)).folder / "manifest.json"
    files.write_json(stale, files.read_json(stale) | {"git_commit": "facade"})
    found = {what: (first, other) for what, first, other in compare.compare(one, two).provenance}
    assert found["git commit"] == ("c0ffee", "decade (corpus, pretrain, adapt); facade (adapt)")
    assert found["parameters"] == (one.digest, two.digest)
    assert found["engine"] == ("transformers", "vllm")
    assert found["GPU"] == ("NVIDIA A100",) * 2
    assert found["version of python"] == ("3.11.7",) * 2
    assert found["version of transformers"] == ("5.19.0",) * 2
    assert found["starting model"] == ("SmolLM2 555555555555",) * 2
    for what in ("corpus (SHA-256 of its files)", "weights of RF-pretraining", "weights of direct",
                 "weights of vanilla_rfft"):
        assert found[what][0] != found[what][1]


def test_equal_files_have_equal_hashes():
    """The same weights and data give the same hashes under another name."""
    for name in ("one", "two"):
        write_run(parameters(name))
    shards = {"shards": {"a.parquet": {"sha256": "0"}}}
    for name in ("one", "two"):
        path = parameters(name).folder / "corpus" / "manifest.json"
        files.write_json(path, files.read_json(path) | shards)
    differing = [what for what, first, other in compare.compare(
        parameters("one"), parameters("two")).provenance if first != other]
    assert differing == ["parameters"]  # the name is one of them


def test_figures_are_those_of_the_metrics():
    """Values, intervals and paired differences of two runs are what the metrics say of them."""
    one, two = parameters("one"), parameters("two")
    rows = write_all(one, SHARES), write_all(two, SHARES, key="other")
    found = {(line.method, line.figure): line for line in compare.compare(one, two).figures}
    assert list(found) == [(method, figure) for method in SHARES for figure in
                           ("ACC_Len4", "Max_Len_90%", "accuracy, all lengths")]
    settings = (100, 0.95, 0)
    for (method, figure), line in found.items():
        statistic = {"ACC_Len4": metrics.acc_longest, "Max_Len_90%": metrics.mean_max_len_90,
                     "accuracy, all lengths": metrics.accuracy}[figure]
        answers = [[found for _, found in sorted(metrics.answers(side[method]).items())]
                   for side in rows]
        values = [statistic([cell.counts for cell in side]) for side in answers]
        assert line.basis == "paired"
        assert line.samples == (72, 72)
        assert [line.first[0], line.other[0]] == pytest.approx(values)
        assert line.difference[0] == pytest.approx(values[0] - values[1])
        assert line.first[1:] == metrics.bootstrap_seeds(answers[0], statistic, *settings)
        assert line.difference[1:] == metrics.bootstrap_difference(*answers, statistic, *settings)


def flip_all(run, other, flipped):
    """Two runs of the same answers, but for `flipped`: {(method, task, length, index): was}."""
    for side in (run, other):
        write_run(side)
        for method, task, seed in map(astuple, side.cells):
            def answer(length, index, method=method, task=task, second=side is other):
                right = index % 2 == 0
                was = flipped.get((method, task, length, index))
                right = right if was is None else was != second
                return ("7", "right") if right else ("8", "wrong")
            write_cell(side, method, task, seed, answer)


def test_the_samples_that_flipped_are_listed_and_counted():
    """Exactly the planted flips are found, in both directions, and are in flips.csv."""
    flipped = {("direct", TASKS[0], 1, 3): True, ("direct", TASKS[1], 4, 0): False,
               ("vanilla_rfft", TASKS[0], 2, 11): False}
    one, two = parameters("one"), parameters("two")
    flip_all(one, two, flipped)
    comparison = compare.compare(one, two)
    found = {(flip["method"], flip["task"], flip["length"], flip["index"]):
             flip["flip"] == "right -> wrong" for flip in comparison.flips}
    assert found == flipped
    groups = {(method, line.group): (line.first, line.other) for method, line in comparison.pairs}
    assert groups == {("direct", "all"): (1, 1), ("direct", "in distribution"): (1, 0),
                      ("direct", "out of distribution"): (0, 1), ("vanilla_rfft", "all"): (0, 1),
                      ("vanilla_rfft", "in distribution"): (0, 1),
                      ("vanilla_rfft", "out of distribution"): (0, 0)}
    folder = report.write(comparison)
    assert folder == one.folder / "reports" / "two"
    with open(folder / "flips.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [{key: str(value) for key, value in flip.items()} for flip in comparison.flips] == lines
    assert [(line["first_answer"], line["other_answer"]) for line in lines] == [
        ("8", "7"), ("7", "8"), ("8", "7")]
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text == report.show(comparison)
    assert text.count("| right -> wrong |") == 2  # the head of a table, and the flip
    assert text.count("| wrong -> right |") == 3


def test_the_cells_that_differ_are_counted_and_named():
    """Of two runs that agree but where one cell is all right and all wrong, that cell is named."""
    one, two = parameters("one"), parameters("two")
    write_all(one, SHARES)
    write_all(two, SHARES)
    for run, right in ((one, True), (two, False)):
        drawn = random_answer("", 0.5)
        write_cell(run, "direct", TASKS[1], run.seed, lambda length, index, right=right,
                   drawn=drawn: ("7" if right else "8", "right" if right else "wrong")
                   if length == 2 else drawn(length, index))
    comparison = compare.compare(one, two)
    [line] = [line for _, line in comparison.cells if line.first or line.other]
    assert (line.first, line.other) == (SAMPLES, 0)
    text = " ".join(report.show(comparison).split())
    assert "contains 0 in 11 of 12 cells" in text
    assert "| direct | Alternating digit sum (lc_2544) | 0 | 2 | 1.000 [" in text


def test_a_run_against_itself_differs_in_nothing():
    """No parameter, no provenance, no difference, no flip."""
    run = parameters("one")
    write_all(run, SHARES)
    comparison = compare.compare(run, run)
    assert comparison.parameters == comparison.flips == []
    assert all(first == other for _, first, other in comparison.provenance)
    assert all(line.difference == (0, 0, 0) for line in comparison.figures)
    assert all(line.p == 1 for _, line in comparison.pairs)


def test_runs_of_other_seeds_are_compared_unpaired():
    """Other seeds draw other samples: figures are compared, but no sample is called a flip."""
    one, two = parameters("one"), parameters("two", seed=1)
    rows = write_all(one, SHARES), write_all(two, SHARES)
    comparison = compare.compare(one, two)
    assert {line.basis for line in comparison.figures} == {"unpaired"}
    assert comparison.pairs == comparison.flips == []
    line = comparison.figures[2]
    answers = [[found for _, found in sorted(metrics.answers(side["direct"]).items())]
               for side in rows]
    assert line.difference[1:] == metrics.bootstrap_difference(
        *answers, metrics.accuracy, 100, 0.95, 0, paired=False)
    assert "unpaired" in report.show(comparison)


def test_other_prompts_are_other_samples():
    """Where the prompts differ, nothing is paired, though task, length and index are the same."""
    one, two = parameters("one"), parameters("two")
    write_all(one, SHARES)
    write_run(two)
    for cell in two.cells:
        path = evaluation.path(two, cell)
        write_cell(two, *astuple(cell), random_answer("", 0.5))
        files.write_whole(path, path.read_text().replace('"prompt": "', '"prompt": "Please: '))
        about = files.read_json(path.with_suffix(".json"))
        files.write_json(path.with_suffix(".json"), about | {"sha256": files.sha256(path)})
    comparison = compare.compare(one, two)
    assert {line.basis for line in comparison.figures} == {"unpaired"}
    assert comparison.pairs == comparison.flips == []


def test_runs_are_compared_over_what_they_have_in_common():
    """Where a run has more lengths, or more samples, the figures are over those of both."""
    one = parameters("one", corpus__evaluation__lengths=[1, 2, 4, 6])
    two = parameters("two", corpus__evaluation__samples_per_length=5)
    write_all(one, {"direct": 1.0, "vanilla_rfft": 1.0})
    write_all(two, {"direct": 0.0, "vanilla_rfft": 1.0})
    lines = compare.compare(one, two).figures
    assert [line.figure for line in lines][:3] == ["ACC_Len4", "Max_Len_90%",
                                                   "accuracy, all lengths"]
    assert {line.samples for line in lines} == {(2 * 3 * 5, 2 * 3 * 5)}
    assert [line.difference[0] for line in lines] == [1, 4, 1, 0, 0, 0]


def test_seeds_of_adaptation_are_drawn_too():
    """With several seeds the pairs are those of a seed, and there is no exact test."""
    further = [{"methods": ["direct"], "tasks": list(TASKS), "seeds": [1, 2]}]
    one, two = (parameters(name, adaptation__further=further) for name in ("one", "two"))
    write_all(one, SHARES)
    write_all(two, SHARES, key="other")
    comparison = compare.compare(one, two)
    pairs = {method: line for method, line in comparison.pairs if line.group == "all"}
    assert sum(pairs["direct"][1:5]) == 3 * 72
    assert pairs["direct"].p is None
    assert sum(pairs["vanilla_rfft"][1:5]) == 72
    assert pairs["vanilla_rfft"].p is not None
    assert len(comparison.flips) == sum(line.first + line.other for line in pairs.values())


def test_missing_parts_are_named():
    """A run of parameters alone, and one with a cell that is not finished, can be reported."""
    one, two = parameters("one"), parameters("two")
    write_run(one)
    write_cell(one, "direct", TASKS[0], 0, random_answer("", 0.5))
    write_cell(one, "direct", TASKS[1], 0, random_answer("", 0.5), finished=False)
    params.open_folder(two)
    comparison = compare.compare(one, two)
    lines = {tuple(cell.strip() for cell in line.strip("| ").split("|"))
             for line in report.show(comparison).splitlines()}
    assert ("corpus", "finished", "not run") in lines
    assert ("RF-pretraining", "finished", "not run") in lines
    assert ("adaptation", "4 of 4 finished", "not run") in lines
    assert ("evaluation", "1 of 4 finished", "not run") in lines
    assert ("git commit", "c0ffee", "-") in lines
    assert [(line.method, line.other, line.difference, line.samples)
            for line in comparison.figures] == [("direct", None, None, (36, 0))] * 3
    assert comparison.pairs == comparison.flips == []
    turned = compare.compare(two, one)
    assert [line.first for line in turned.figures] == [None] * 3
    assert "not run" in report.summary(two)


def test_a_run_folder_may_lie_anywhere(outputs, tmp_path_factory):
    """A folder that was moved away is compared by its path, a parameter file by its run."""
    one, two = parameters("one"), parameters("two")
    for run in (one, two):
        write_all(run, SHARES)
    expected = compare.compare(one, two)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "kept"
    shutil.move(two.folder, elsewhere)
    given = outputs / "one.yaml"
    given.write_text(yaml.safe_dump(one.model_dump()), encoding="utf-8")
    found = compare.compare(given, elsewhere)
    assert found.figures == expected.figures
    assert found.first.folder == one.folder
    assert report.write(found) == one.folder / "reports" / "kept"


def test_what_is_no_run_is_refused(outputs):
    """A folder without parameters, and a file of other parameters than the run's, are errors."""
    run = parameters("one")
    write_all(run, SHARES)
    with pytest.raises(ParamsError, match=r"there is no params\.yaml"):
        run_folder.open_run(outputs)
    with pytest.raises(ParamsError, match=r"there is no params\.yaml"):
        run_folder.open_run(parameters("never"))
    with pytest.raises(ParamsError, match="made with other parameters"):
        run_folder.open_run(parameters("one", adaptation__learning_rate=1e-5))
    with pytest.raises(ParamsError, match="No such file"):
        run_folder.open_run(outputs / "nothing.yaml")


def test_changed_results_are_refused():
    """A results file that was edited after it was finished is an error that names it."""
    run = parameters("one")
    write_all(run, SHARES)
    path = evaluation.path(run, Cell("direct", TASKS[0], run.seed))
    files.write_whole(path, path.read_text().replace('"wrong"', '"right"'))
    with pytest.raises(ParamsError, match=f"{path.name} is missing or changed"):
        compare.compare(run, run)


def test_what_a_model_writes_keeps_the_tables():
    """Answers with bars, newlines and control characters stay in their cell; long ones are cut."""
    odd = "a|b\nc\x1b[31m\u202e" + "9" * 5000
    one, two = parameters("one"), parameters("two")
    for run, answer in ((one, ("7", "right")), (two, (odd, "wrong"))):
        write_run(run)
        for cell in run.cells:
            write_cell(run, *astuple(cell), lambda length, index, answer=answer: answer)
    comparison = compare.compare(one, two)
    assert len(comparison.flips) == 4 * 36
    text = report.show(comparison)
    table = [line for line in text.splitlines() if "| right -> wrong | 7 " in line]
    assert all(r" a\|b c [31m 999" in line for line in table)
    assert {line.replace(r"\|", "").count("|") for line in table} == {10}
    assert max(map(len, table)) < 200
    assert len(table) == 2 * report.LISTED  # of two methods
    assert f"{4 * 36 - 2 * report.LISTED} more are in flips.csv" in text
    with open(report.write(comparison) / "flips.csv", encoding="utf-8", newline="") as file:
        assert {line["other_answer"] for line in csv.DictReader(file)} == {odd}


def test_a_summary_says_what_made_a_run():
    """Every part of one run's provenance is in its summary, and so is that it is a smoke run."""
    run = parameters("one")
    write_all(run, SHARES)
    text = report.summary(run.folder)
    for expected in ("SMOKE RUN", str(run.folder), "c0ffee", run.digest, "SmolLM2 555555555555",
                     "NVIDIA A100", "3.11.7", "transformers", "4 of 4 finished"):
        assert expected in text


def test_the_kits_own_provenance_is_read():
    """The commit and the versions that a corpus records are those in the report."""
    run = parameters("one")
    params.open_folder(run)
    made = corpus.provenance(run)
    files.write_json(run.folder / "corpus" / "manifest.json", made | {"shards": {}})
    found = {what: first for what, first, _ in compare.compare(run, run).provenance}
    assert found["parameters"] == run.digest
    assert found.get("git commit") == made["git_commit"]
    assert {name: found[f"version of {name}"] for name in made["versions"]} == made["versions"]


def test_kept_results_are_compared_as_the_run_itself(tmp_path):
    """What is kept of a run gives the same figures, pairs and flips, and holds no weights and,
    of each length, the texts of two samples."""
    first, other = parameters("one"), parameters("two")
    write_all(first, SHARES, "first")
    write_all(other, SHARES, "other")
    (other.folder / "pretrain" / "model.safetensors").write_bytes(b"0" * 100)
    kept = archive.write(other, tmp_path / "kept" / "two")
    whole, small = compare.compare(first, other), compare.compare(first, kept)
    for part in ("figures", "pairs", "cells", "flips", "provenance"):
        assert getattr(whole, part) == getattr(small, part)
    assert whole.flips, "two runs that agree everywhere would prove nothing"
    assert not list(kept.rglob("*.safetensors"))
    for cell in other.cells:
        path = evaluation.path(other, cell)
        lines = (kept / path.relative_to(other.folder)).read_text().rstrip("\n").split("\n")
        rows = [json.loads(line) for line in lines]
        assert len(rows) == SAMPLES * len(LENGTHS)
        assert [row["length"] for row in rows if "text" in row] == [1, 1, 2, 2, 4, 4]
        assert all(("prompt" in row) == ("text" in row) for row in rows)


def write_general(run, weights, limit):
    """A result of general ability, with texts."""
    model = run.folder.parent / "model"
    files.write_whole(model / "model.safetensors", "")
    return general.write(run, weights, "gsm8k", [
        {"question": number, "score": number % 2, "written": "many words", "read": "1"}
        for number in range(limit or 9)], model, limit, {"data": {"source": "the Hub"}})


def test_general_ability_is_kept_with_few_texts(tmp_path):
    """The kept results give the same scores and intervals as the run's, and are refused if changed
    there; of two questions the texts are kept, of the others the scores."""
    run = parameters("one")
    write_all(run, SHARES)
    whole = {name: general.read(run, name, "gsm8k", limit) for name, limit in (
        ("base", None), ("pretrain", 4)) if write_general(run, name, limit)}
    kept = params.of_folder(archive.write(run, tmp_path / "kept" / "one"))
    assert {name: general.read(kept, name, "gsm8k", limit) for name, limit in (
        ("base", None), ("pretrain", 4))} == whole
    assert whole["base"].questions == 9
    target = general.path(kept, "base", "gsm8k")
    rows = [json.loads(line) for line in target.with_suffix(".jsonl").read_text().splitlines()]
    assert ["written" in row for row in rows] == [True] * 2 + [False] * 7
    about = files.read_json(target)
    assert about["data"] == {"source": "the Hub"}
    original = general.path(run, "base", "gsm8k")
    assert about["whole_sha256"] == files.sha256(original.with_suffix(".jsonl"))
    with open(target.with_suffix(".jsonl"), "a") as file:
        file.write('{"question": 9, "score": 1}\n')
    with pytest.raises(ParamsError, match=r"gsm8k\.jsonl is missing or changed"):
        general.read(kept, "base", "gsm8k")


def test_changed_general_ability_is_not_kept(tmp_path):
    """Lines that are not those of the result, or a result of another run, stop the export, and
    nothing is written."""
    run = parameters("one")
    write_all(run, SHARES)
    target = write_general(run, "base", None)
    about = files.read_json(target)
    files.write_json(target, about | {"params": "another"})
    with pytest.raises(ParamsError, match="was made with other parameters"):
        archive.write(run, tmp_path / "kept")
    files.write_json(target, about)
    with open(target.with_suffix(".jsonl"), "a") as file:
        file.write('{"question": 9, "score": 1}\n')
    with pytest.raises(ParamsError, match=r"gsm8k\.jsonl is missing or changed"):
        archive.write(run, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_only_finished_results_are_kept_and_nothing_is_overwritten(tmp_path):
    """An unfinished cell and a folder that exists are refused, and nothing is written."""
    run = parameters("one")
    write_all(run, SHARES)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ParamsError, match="mine exists: name a folder that does not"):
        archive.write(run, tmp_path / "mine")
    write_cell(run, "direct", TASKS[0], run.seed, random_answer("x", 0.5), finished=False)
    with pytest.raises(ParamsError, match="the evaluation of direct on nupa_length is not fin"):
        archive.write(run, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
