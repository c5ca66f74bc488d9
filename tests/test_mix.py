"""The builder of general data: what it writes is what a training mixes in."""

import json

import pytest

from metarfft_core import models, params, training
from metarfft_core.bridges import mix
from metarfft_core.params import Mix, ParamsError
from metarfft_core.system import files
from metarfft_core.system.places import ROOT
from metarfft_core.training import batches

ARC = [{"id": "1", "question": "Which one is a planet?", "answerKey": "2",
        "choices": {"text": ["A stone", "The Earth", "A cloud"], "label": ["1", "2", "3"]}},
       {"id": "2", "question": "What falls?", "answerKey": "A",
        "choices": {"text": ["Rain", "Light"], "label": ["A", "B"]}}]
ALPACA = [{"instruction": f"Say {word}.", "input": given, "output": output} for word, given, output
          in (("one", "", "One."), ("it again", "two", "Two."), ("nothing", "", ""))]


@pytest.fixture(scope="module")
def run():
    return params.load(ROOT / "params" / "smoke.yaml")


def written(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("kind", "rows", "pairs"), [
    ("arc", ARC, [
        ("Choose the best answer to the question.\nQuestion: Which one is a planet?\nA. A stone\n"
         'B. The Earth\nC. A cloud\nEnd with "The best answer is X", X being the letter.',
         "The best answer is B"),
        ("Choose the best answer to the question.\nQuestion: What falls?\nA. Rain\nB. Light\n"
         'End with "The best answer is X", X being the letter.', "The best answer is A")]),
    ("alpaca", ALPACA, [("Say one.", "One."), ("Say it again.\n\ntwo", "Two.")])])
def test_a_training_reads_what_is_written(run, tmp_path, kind, rows, pairs):
    """The file of prompts and completions is general data as `mix:` takes it, and what it was made
    from is beside it."""
    target = tmp_path / f"{kind}.jsonl"
    arguments = [kind, "--params", str(ROOT / "params" / "smoke.yaml"), "--to", str(target),
                 "--from", str(written(tmp_path / "rows.json", rows))]
    assert mix.main(arguments) == 0
    data = batches.general(Mix(file=str(target), share=0.1))
    assert list(zip(data["prompt"], data["completion"], strict=True)) == pairs
    about = files.read_json(target.with_suffix(".json"))
    assert about["sha256"] == files.sha256(target)
    assert (about["source"], about["questions"], about["samples"]) == (
        "rows.json", len(rows), len(pairs))


def test_lines_and_a_list_are_the_same_questions(run, tmp_path):
    """JSON and JSONL give the same file, and the seed draws the same part of it."""
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in ARC), encoding="utf-8")
    mix.build("arc", run, tmp_path / "a.jsonl", lines, number=1)
    mix.build("arc", run, tmp_path / "b.jsonl", written(tmp_path / "rows.json", ARC), number=1)
    assert files.sha256(tmp_path / "a.jsonl") == files.sha256(tmp_path / "b.jsonl")
    assert len(batches.general(Mix(file=str(tmp_path / "a.jsonl"), share=0.1))) == 1


@pytest.mark.parametrize(("text", "right"), [
    ("9 * 2 = $18 a day.", True), ("The answer is 18.0", True), ("#### 18", True),
    ("She makes 1,018", False), ("18 eggs, then 19", False), ("eighteen", False), ("", False)])
def test_the_last_number_of_a_candidate_counts(text, right):
    """As lm-eval's flexible reading of GSM8K does."""
    assert mix.is_right(text, "16 - 3 - 4 = <<16-3-4=9>>9\n#### 18") is right
    assert mix.is_right("It is 1,018.", "#### 1,018")
    assert not mix.is_right("18", "no number")


@pytest.mark.slow
def test_right_candidates_of_the_base_model_are_kept(run, tmp_path, monkeypatch):
    """SmolLM2 writes ten candidates to two easy questions and an impossible one; a question keeps
    one right candidate, the impossible one none, and the same seed gives the same bytes."""
    monkeypatch.setattr(mix, "LONGEST", 40)
    questions = [{"question": "What is 1 + 1? Say the number alone.", "answer": "#### 2"},
                 {"question": "What is 2 + 2? Say the number alone.", "answer": "#### 4"},
                 {"question": "What is 3 + 3? Say the number alone.", "answer": "#### 987654"}]
    given = written(tmp_path / "rows.json", questions)
    for name in ("a", "b"):
        about = mix.build("gsm8k", run, tmp_path / f"{name}.jsonl", given)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    data = batches.general(Mix(file=str(tmp_path / "a.jsonl"), share=0.1))
    answers = {row["question"]: row["answer"] for row in questions}
    assert 1 <= len(data) == len(set(data["prompt"])) <= 2
    assert all(mix.is_right(row["completion"], answers[row["prompt"]]) for row in data)
    assert about["right_candidates"] >= len(data)
    assert about["model_sha256"] == models.model_hash(models.resolve(run.model.name))


@pytest.mark.parametrize(("kind", "content", "said"), [
    ("gsm8k", [{"question": "x"}], "row 1: expected the fields question, answer; answer missing"),
    ("alpaca", ["x"], "row 1: expected the fields instruction, input, output"),
    ("arc", "{", "is neither JSON nor JSONL"), ("arc", None, "No such file")])
def test_wrong_files_are_refused(tmp_path, capsys, kind, content, said):
    """One line names the file, the row and what is expected; nothing is written."""
    given, target = tmp_path / "rows.json", tmp_path / "out.jsonl"
    if content is not None:
        given.write_text(content if isinstance(content, str) else json.dumps(content))
    assert mix.main([kind, "--params", str(ROOT / "params" / "smoke.yaml"), "--to", str(target),
                     "--from", str(given)]) != 0
    assert said in capsys.readouterr().err
    assert not target.exists()


def test_without_a_network_the_message_says_what_to_give(run, tmp_path, monkeypatch):
    """It names the data set, the option for a file, and the fields."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(ParamsError, match=r"gsm8k: the Hub does not offer openai/gsm8k .* with "
                                          r"--from \(JSON or JSONL; fields question, answer\)"):
        mix.build("gsm8k", run, tmp_path / "out.jsonl")


def test_a_file_is_never_replaced(run, tmp_path):
    """A file at the target stays."""
    with pytest.raises(ParamsError, match="exists: name a file that does not"):
        mix.build("arc", run, written(tmp_path / "out.jsonl", []))


@pytest.mark.parametrize("name", ["gsm8k", "arc", "alpaca"])
def test_the_papers_arms_ask_for_their_file(name):
    """Each parameter file mixes its data in at the share that shows each of the paper's samples
    once; without the file the run is refused before anything starts."""
    config = params.load(ROOT / "params" / f"7b_{name}_mix.yaml")
    settings, paper = config.pretraining, {"gsm8k": 7182, "arc": 6872, "alpaca": 8000}[name]
    assert settings.mix.share * settings.steps * settings.batch_size == pytest.approx(paper, 0.02)
    if not settings.mix.path.exists():
        with pytest.raises(ParamsError, match=rf"mix.file: .*{name}.jsonl: No such file.*; "
                           r"python -m metarfft_core.bridges.mix builds it \(--to "):
            training.check_mix(config)
