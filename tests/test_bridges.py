"""The bridges, each crossed by the tool that it leads to: lm-eval, trl's GRPO, `load_dataset`."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import made_up_run
import pytest
import yaml
from tiny_model import write_tiny

from metarfft_core import corpus, evaluation, models, params
from metarfft_core.bridges import grpo, hub, lm_eval
from metarfft_core.evaluation import engines
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system import files
from metarfft_core.system.places import ROOT

TASKS = ["lc_125", "lc_1598", "lc_461"]
"""Tasks of few answers: a tiny model gives some of them right and some wrong."""

with_lm_eval = pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None,
                                  reason="install lm_eval==0.4.13 to run this")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a small corpus of three downstream tasks, all kinds of evaluation in it."""
    values = made_up_run.plain()
    values["model"]["context"] = 4096
    values["corpus"] |= {
        "adaptation": {"tasks": TASKS, "lengths": "1-2", "samples_per_length": 4},
        "adaptation_validation": {"lengths": [2], "samples_per_length": 2},
        "evaluation": {"lengths": [1, 2, 3, 5], "samples_per_length": 5}}
    values["adaptation"]["methods"] = ["direct", "meta_rfft"]
    values["evaluation"] |= {"in_context": ["base_1shot"], "counterfactual": ["meta_rfft"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        run = params.check(values)
        corpus.build(run)
        yield run


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    """The folder of a tiny model that has begun to learn the direct answers by heart.

    A fifth of them it was told without "So the answer is".
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder = write_tiny(tmp_path_factory.mktemp("model") / "tiny")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = models.load_tokenizer(str(folder))
    data = corpus.read(run, "evaluation", "direct")
    said = [answer if position % 5 == 0 else completion for position, (answer, completion)
            in enumerate(zip(data["answer"], data["completion"], strict=True))]
    samples = list(zip(models.encode_prompts(tokenizer, list(data["prompt"])),
                       models.encode_completions(tokenizer, said), strict=True))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    torch.manual_seed(0)
    for _ in range(120):
        batch = [samples[position] for position in torch.randperm(len(samples))[:8]]
        width = max(len(prompt + completion) for prompt, completion in batch)
        longest = max(len(completion) for _, completion in batch)
        ids = torch.tensor([[2] * (width - len(p + c)) + p + c for p, c in batch])
        mask = torch.tensor([[0] * (width - len(p + c)) + [1] * len(p + c) for p, c in batch])
        labels = torch.tensor([[-100] * (longest - len(c)) + c for _, c in batch])
        logits = model(ids, attention_mask=mask, logits_to_keep=longest + 1).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1),
                                          labels.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config.repetition_penalty = 5.0  # as some models do: nothing may follow it
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The folder of lm-eval's tasks."""
    return lm_eval.write(run, tmp_path_factory.mktemp("exported") / "tasks")


def outcomes(run, model, task):
    """(text, outcome) of the model on each sample of a task, by the kit alone."""
    rows = evaluation.plan(run, Cell("direct", task, run.seed))
    tokenizer = models.load_tokenizer(str(model))
    found = {}
    for finished in engines.generate(
            model, models.encode_prompts(tokenizer, [row["prompt"] for row in rows]),
            [row["limit"] for row in rows], "transformers", 1):
        found |= dict(finished)
    return [(found[position].text,
             evaluation.score(found[position].text, found[position].finish_reason,
                              row["gold_answer"])[1]) for position, row in enumerate(rows)]


@with_lm_eval
def test_lm_eval_gives_the_kits_own_outcomes(run, model, exported, tmp_path):
    """The harness, as its users call it, finds the text and the outcome of every sample that the
    kit finds, and its accuracies are the shares of the right ones."""
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--model", "hf",
         "--model_args", f"pretrained={model},dtype=bfloat16", "--device", "cpu",
         "--include_path", str(exported), "--tasks", "metarfft_direct", "--apply_chat_template",
         "--log_samples", "--output_path", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
                          "HF_DATASETS_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    [results] = tmp_path.glob("*/results_*.json")
    accuracies = files.read_json(results)["results"]
    seen = Counter()
    for task in TASKS:
        [samples] = tmp_path.glob(f"*/samples_metarfft_direct_{task}_*.jsonl")
        theirs = {(row["doc"]["length"], row["doc"]["index"]): (row["resps"][0][0], row["acc"])
                  for row in map(json.loads, samples.read_text().rstrip("\n").split("\n"))}
        ours = outcomes(run, model, task)
        rows = evaluation.plan(run, Cell("direct", task, run.seed))
        assert len(theirs) == len(rows) == 20
        for row, (text, outcome) in zip(rows, ours, strict=True):
            assert theirs[row["length"], row["index"]] == (text, float(outcome == "right"))
        right = sum(outcome == "right" for _, outcome in ours)
        assert accuracies[f"metarfft_direct_{task}"]["acc,none"] == pytest.approx(right / 20)
        seen.update(outcome for _, outcome in ours)
    assert {"right", "wrong"} <= set(seen), seen


@with_lm_eval
def test_lm_eval_gets_the_kits_prompt_tokens(run, model):
    """Prompts of every kind have the same ids in the harness, none cut and none added."""
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=str(model), device="cpu")
    tokenizer = models.load_tokenizer(str(model))
    for method, task in (("direct", "lc_125"), ("base_1shot", "lc_461"),
                         ("meta_rfft", "lc_461_cf")):
        for row in evaluation.plan(run, Cell(method, task, run.seed)):
            text = harness.apply_chat_template([{"role": "user", "content": row["prompt"]}])
            ids, mask = harness.tok_batch_encode([text])
            assert ids[0].tolist() == models.encode_prompt(tokenizer, row["prompt"])
            assert mask.all()


@pytest.mark.parametrize(("text", "gold", "accuracy"), [
    ("So the answer is 3", "3", 1.0), ("So the answer is 3\nSo the answer is 4", "3", 0.0),
    ("So the answer is [1,2]", "[1, 2]", 1.0), ("3", "3", 0.0), ("", "3", 0.0),
    ("So the answer is 'ab'", "'ab'", 1.0), ("So the answer is ab", "'ab'", 0.0)])
def test_one_rule_scores_everywhere(text, gold, accuracy):
    """What lm-eval and GRPO call for a text is what the kit would say of it."""
    assert lm_eval.process_results({"gold_answer": gold}, [text]) == {"acc": accuracy}
    message = [{"role": "assistant", "content": text}]
    assert grpo.reward([text, text], gold_answer=[gold, "nothing"], task=["x", "y"]) == [
        accuracy, 0.0]
    assert grpo.reward([message], [gold], prompts=["Q"]) == [accuracy]


def test_the_tasks_are_what_the_run_evaluates(run, exported):
    """There is a task for every method and task of the run, with the samples of its plan, and a
    limit that does for each of them."""
    import pandas

    found = {}
    for path in exported.glob("*/*.yaml"):
        *lines, scoring = path.read_text().rstrip("\n").split("\n")
        assert scoring == "process_results: !function metarfft_core.bridges.lm_eval.process_results"
        values = yaml.safe_load("\n".join(lines))
        found[values["task"]] = values
    cells = {(cell.method, cell.task) for cell in run.cells}
    assert set(found) == {f"metarfft_{method}_{task}" for method, task in cells}
    assert {method for method, _ in cells} == {"direct", "meta_rfft", "base_1shot"}
    assert ("meta_rfft", "lc_461_cf") in cells
    for method, task in cells:
        values = found[f"metarfft_{method}_{task}"]
        rows = evaluation.plan(run, Cell(method, task, run.seed))
        data = pandas.read_parquet(values["dataset_kwargs"]["data_files"]["test"])
        assert data.to_dict("records") == [{name: row[name] for name in lm_eval.COLUMNS}
                                           for row in rows]
        limit = values["generation_kwargs"]["max_gen_toks"]
        assert max(row["gold_tokens"] for row in rows) < limit
        assert max(row["prompt_tokens"] for row in rows) + limit <= run.model.context


def test_a_part_of_the_tasks_is_written_on_demand(run, tmp_path):
    """Of named methods and tasks nothing else is written, under their ids; unknown ones are
    refused."""
    folder = lm_eval.write(run, tmp_path / "some", methods=["direct"], tasks=["lc_461"])
    assert sorted(path.name for path in folder.rglob("*.*")) == ["lc_461.parquet", "lc_461.yaml"]
    folder = lm_eval.write(run, tmp_path / "named", ["meta_rfft"], ["hamming_distance_cf"])
    assert [path.name for path in folder.rglob("*.yaml")] == ["lc_461_cf.yaml"]
    with pytest.raises(ParamsError, match="method: this run evaluates direct, meta_rfft, base_1"):
        lm_eval.write(run, tmp_path / "other", methods=["scratchpad"])
    with pytest.raises(ParamsError, match=r"task: this run evaluates lc_125, .*; got 'lc_258'"):
        lm_eval.write(run, tmp_path / "other", tasks=["lc_258"])
    assert not (tmp_path / "other").exists()


def test_a_limit_that_cuts_prompts_is_refused(run, tmp_path, monkeypatch):
    """Where the longest completion and the longest prompt do not fit together, lm-eval would cut
    the beginning of prompts: the task is not written."""
    rows = evaluation.plan(run, Cell("meta_rfft", "lc_125", run.seed))
    prompt, gold = (max(row[key] for row in rows) for key in ("prompt_tokens", "gold_tokens"))

    def write(context, name):
        model = run.model.model_copy(update={"context": context})
        changed = run.model_copy(update={"model": model})
        made_up_run.adopt_corpus(changed)
        return lm_eval.write(changed, tmp_path / name, ["meta_rfft"], ["lc_125"])

    shutil.copytree(run.folder, tmp_path / "outputs" / run.name)
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    config = write(prompt + gold, "exact") / "meta_rfft" / "lc_125.yaml"
    assert f"max_gen_toks: {gold}\n" in config.read_text()
    with pytest.raises(ParamsError, match="lm-eval has one limit for both"):
        write(prompt + gold - 1, "less")


@pytest.mark.parametrize("bridge", [lm_eval, hub])
def test_what_stands_there_is_never_replaced(run, tmp_path, bridge):
    """A folder that holds anything is refused and left as it is; an empty one is taken."""
    note = tmp_path / "note.txt"
    note.write_text("mine")
    with pytest.raises(ParamsError, match="is not empty"):
        bridge.write(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    with pytest.raises(ParamsError, match="is not empty"):
        bridge.write(run, note)
    (tmp_path / "empty").mkdir()
    assert any(bridge.write(run, tmp_path / "empty").iterdir())


def is_right(text, gold):
    """The rule of scoring, written anew: the text after the last "So the answer is" is the
    right one, or as a Python literal has its repr. A model that is sampled writes all kinds."""
    _, found, answer = text.rpartition("So the answer is")
    try:
        return bool(found) and gold in (answer.strip(), repr(ast.literal_eval(answer.strip())))
    except (ValueError, SyntaxError):
        return bool(found) and answer.strip() == gold


def test_grpo_trains_on_the_reward(run, model, tmp_path):
    """GRPOTrainer makes two steps on the prompts of a split; the rewards that it logs are those
    that an independent reading of the completions gives, and some of them are 1."""
    from trl import GRPOConfig, GRPOTrainer

    calls = []

    def reward(completions, gold_answer, **columns):
        rewards = grpo.reward(completions, gold_answer, **columns)
        calls.append((completions, gold_answer, rewards))
        return rewards

    data = grpo.prompts(run, "direct", split="evaluation")
    assert len(data) == 60
    trainer = GRPOTrainer(
        model=str(model), reward_funcs=reward, train_dataset=data,
        args=GRPOConfig(output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=12,
                        num_generations=3, max_completion_length=16, learning_rate=1e-6,
                        logging_steps=1, report_to="none", use_cpu=True, bf16=False,
                        save_strategy="no", disable_tqdm=True, seed=0))
    trainer.train()
    assert len(calls) == 2
    for completions, golds, rewards in calls:
        assert len(completions) == len(golds) == 12
        texts = [message["content"] for [message] in completions]
        assert rewards == [float(is_right(*pair)) for pair in zip(texts, golds, strict=True)]
    assert sum(sum(rewards) for *_, rewards in calls) >= 1
    logged = [line["rewards/reward/mean"] for line in trainer.state.log_history
              if "rewards/reward/mean" in line]
    assert logged == pytest.approx([sum(rewards) / 12 for *_, rewards in calls])


def test_grpo_prompts_are_the_kits_tokens(run, model):
    """A prompt in the chat template, as trl puts it there, is what the kit trains and asks with."""
    tokenizer = models.load_tokenizer(str(model))
    rows = list(corpus.read(run, "adaptation", "rfft", "lc_461"))
    data = grpo.prompts(run, task="lc_461")
    assert [row["gold_answer"] for row in data] == [row["answer"] for row in rows]
    for made, row in zip(data, rows, strict=True):
        ids = tokenizer.apply_chat_template(made["prompt"], add_generation_prompt=True,
                                            tokenize=True, return_dict=True)["input_ids"]
        assert ids == models.encode_prompt(tokenizer, row["prompt"])


@pytest.fixture(scope="module")
def data_set(run, tmp_path_factory):
    """The folder of the data set."""
    return hub.write(run, tmp_path_factory.mktemp("data_set") / "evaluation")


def test_load_dataset_opens_the_data_set(run, data_set, tmp_path, caplog):
    """Every configuration holds the rows of the corpus, nothing that was trained on is there, and
    `datasets` has nothing to say against the card."""
    from datasets import get_dataset_config_names, load_dataset

    names = get_dataset_config_names(str(data_set))
    assert names == ["evaluation-direct", "evaluation-rfft", "evaluation_1shot-rfft",
                     "evaluation_counterfactual-rfft"]
    for name in names:
        data = load_dataset(str(data_set), name, cache_dir=str(tmp_path))
        assert list(data) == ["test"]
        expected = corpus.read(run, *name.split("-"))
        assert len(expected) == 60

        def key(row):
            return row["task"], row["length"], row["index"]

        assert sorted(data["test"], key=key) == sorted(expected, key=key)
    assert "dataset_info" not in caplog.text


def test_the_card_of_the_data_set_tells_all(run, data_set):
    """It names configurations and their columns, licence, making and citation; its manifest
    lists the files that are there."""
    card = (data_set / "README.md").read_text()
    values = yaml.safe_load(card.split("---\n")[1])
    assert values["license"] == "apache-2.0"
    for about in values["dataset_info"]:
        assert [field["name"] for field in about["features"]] == corpus.SCHEMA.names
    for heading in ("Columns", "Configurations", "How the samples were made", "Sources", "Licence",
                    "Citation"):
        assert f"\n## {heading}\n" in card
    assert "adaptation" not in card.split("## Columns")[1].split("## How")[0]
    manifest = files.read_json(data_set / "manifest.json")
    assert {str(path.relative_to(data_set)): files.sha256(path)
            for path in data_set.rglob("*.parquet")} == {
        name: about["sha256"] for name, about in manifest["shards"].items()}


def test_a_damaged_corpus_is_not_published(run, tmp_path, monkeypatch):
    """A file whose hash is not the manifest's stops the writing, and nothing is left."""
    shutil.copytree(run.folder, tmp_path / "outputs" / run.name)
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    [path] = corpus.files(run, "evaluation", "direct", "lc_461")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ParamsError, match=r"lc_461.parquet is damaged"):
        hub.write(run, tmp_path / "hub")
    assert [entry.name for entry in tmp_path.iterdir()] == ["outputs"]
