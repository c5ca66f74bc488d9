"""Reinforcement learning: its rewards, a real GRPO training, kill and resume, its refusals."""

import ast
import csv
import json
import re
import shutil
import time

import forked
import made_up_run
import pyarrow.parquet as pq
import pytest
from tiny_model import tiny_run

from metarfft_core import cli, corpus, formats, models, params, tasks, training
from metarfft_core.figures import reinforcement
from metarfft_core.params import ParamsError
from metarfft_core.planning import display, measured, plan
from metarfft_core.system.files import read_json, sha256, write_json, write_whole
from metarfft_core.system.places import ROOT
from metarfft_core.tracing.judge.replay import judge
from metarfft_core.training.rl import answers, check, prompts, rewards, worker
from metarfft_core.training.rl.arms import Arm

TASK = "nupa_get_digit"
SETTINGS = {
    "tasks": [TASK], "starts": ["base"], "rewards": ["outcome", "process"], "prompt": "rfft",
    "lengths": [1, 2], "samples_per_length": 2,
    "evaluation": {"lengths": [1, 3], "samples_per_length": 1}, "engine": "transformers",
    "steps": 4, "prompts_per_step": 2, "group_size": 3, "micro_batch_size": 3,
    "max_completion_tokens": 72, "learning_rate": 1.0e-3, "kl": 0.0, "clip": 0.2,
    "temperature": 1.0, "max_grad_norm": 1.0, "evaluate_every": 2, "save_every": 1}


TAUGHT = 120  # steps


def rl_run(model, **changes):
    """The tiny run with reinforcement learning on a task of short traces."""
    values = tiny_run(model).model_dump()
    values["corpus"]["adaptation"]["tasks"] = [TASK]
    return params.check(values | {"rl": SETTINGS | changes})


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """An outputs folder with the corpus of the run, and its model in the folder beside it."""
    folder = tmp_path_factory.mktemp("built")
    write_taught(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder / "outputs"))
        corpus.build(rl_run(folder / "model"))
    return folder


def write_taught(folder):
    """Write a tiny model with a small tokenizer, which has begun to learn right traces by heart:
    some of its answers are right, others are not."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    drawn = [tasks.get(TASK).sample(length=length, seed=0, index=index, stream="rl")
             for length in (1, 2) for index in range(2)]
    texts = [formats.render(tasks.get(TASK), one, "rfft") for one in drawn]
    tokenizer = models.load_tokenizer(models.EMBEDDED).train_new_from_iterator(
        [text for one in texts for text in one], 400)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
        tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))
    tokenizer.save_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(TAUGHT):
        text = texts[step % len(texts)]
        prompt = models.encode_prompt(tokenizer, text.prompt)
        completion = models.encode_completion(tokenizer, text.completion)
        logits = model(torch.tensor([prompt + completion]),
                       logits_to_keep=len(completion) + 1).logits
        torch.nn.functional.cross_entropy(logits[0, :-1], torch.tensor(completion)).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(folder)


@pytest.fixture(scope="module")
def trained(outputs, tmp_path_factory):
    """The run after both of its trainings, in an outputs folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        run = copied(outputs, folder, patch)
        patch.setattr(models, "compute", lambda: "float32")
        for arm in training.arms(run):
            worker.train(arm)
    return folder


def copied(outputs, folder, patch):
    shutil.copytree(outputs / "outputs", folder / "outputs")
    patch.setenv("METARFFT_OUTPUTS", str(folder / "outputs"))
    return rl_run(outputs / "model")


@pytest.fixture
def run(outputs, tmp_path, monkeypatch):
    """The run with its corpus, nothing trained."""
    return copied(outputs, tmp_path, monkeypatch)


def kept(arm, kind):
    """The answers of a training by step, as they are stored."""
    return {int(path.stem.rpartition("-")[2]): pq.read_table(path).to_pylist()
            for path in sorted((arm.folder / "answers").glob(f"{kind}-*.parquet"))}


@pytest.fixture
def done(trained, outputs, monkeypatch):
    """The run after both of its trainings."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(trained / "outputs"))
    return rl_run(outputs / "model")


PROMPT = """Follow the given rule step by step to answer the question.

rule:
def get_digit_integer(num, index):
    while index > 0:
        num = num[1:]
        index -= 1
    return num[0]

Q: Which digit of the number '47' stands at index 1, counted from the left, from zero?"""
TRACE = ["def get_digit_integer(num, index): # num = '47'; index = 1",
         "while index > 0: # 1 > 0 -> True", "num = num[1:] # num = '7'",
         "index -= 1 # 1 - 1 = 0", "while index > 0: # 0 > 0 -> False",
         "return num[0] # num[0] = '7'", "So the answer is '7'"]


def share(text):
    return rewards.process(PROMPT, text, "\n".join(TRACE), tasks.get(TASK).question)


@pytest.mark.parametrize(("lines", "process", "trace"), [
    (TRACE, 1, True),
    ([*TRACE[:2], "num = num[1:] # num = '4'", *TRACE[3:]], 2 / 7, True),
    (TRACE[:2], 1 / 7, True),                             # it ends too early
    ([*TRACE[:6], "So the answer is '4'"], 6 / 7, True),
    ([*TRACE, "Is that right?"], 7 / 8, True),            # it goes on
    ([*TRACE[:4] * 5], 4 / 20, True),                     # it does not leave the loop
    (["So the answer is '7'"], 0, False),                 # a guess, whose outcome is right
    (["The digit is 7."], 0, False), ([""], 0, False),
    ([line.partition(" # ")[0] for line in TRACE], 0, False)])     # the rule, copied
def test_the_process_is_the_share_of_lines_before_the_first_false_one(lines, process, trace):
    """Counted by hand: neither an early end nor a long text raises it, and only a whole right trace
    gets 1. Whether there is a trace at all does not depend on its being right."""
    text = "\n".join(lines)
    assert share(text) == pytest.approx(process)
    assert rewards.has_trace(PROMPT, text) == trace


@pytest.mark.parametrize("wording", ["kit", "paper"])
def test_the_process_is_judged_in_both_wordings_behind_an_exemplar(wording):
    """A right trace gets 1, the exemplar's own trace less, and a guess nothing."""
    task = tasks.get(TASK)
    instance = task.sample(length=3, seed=0, index=4)
    prompt, gold = formats.render_in_context(task, instance, "rfft", 0, wording)
    shown = prompt.split("from zero?\n")[1].partition("\n\nQ: ")[0]
    found = [rewards.process(prompt, text, gold, task.question, wording)
             for text in (gold, shown, gold.split("\n")[-1])]
    assert found[0] == 1
    assert found[1] < 1
    assert found[2] == 0
    assert [rewards.has_trace(prompt, text, wording)
            for text in (gold, shown, gold.split("\n")[-1])] == [True, True, False]


@pytest.mark.parametrize("wording", ["kit", "paper"])
@pytest.mark.parametrize("id", ["bbh_dyck_languages", "lc_2677", "nupa_add"])
def test_saying_a_line_again_earns_nothing(id, wording):
    """A right trace whose line is said twenty times at its middle earns no more than the share of
    the right one up to there; a copy of the prompt is no trace, and a beginning of one is."""
    task = tasks.get(id)
    shown = formats.render(task, task.sample(length=3, seed=4, index=1), "rfft", wording)
    lines = shown.completion.split("\n")
    for middle in range(1, len(lines) - 1):
        text = "\n".join(lines[:middle] + lines[middle - 1:middle] * 20)
        assert rewards.process(shown.prompt, text, shown.completion, task.question,
                               wording) <= middle / len(lines)
    assert not rewards.has_trace(shown.prompt, shown.prompt, wording)
    assert rewards.has_trace(shown.prompt, "\n".join(lines[:len(lines) // 2]), wording)


def is_right(row):
    """The rule of scoring, written anew."""
    _, found, answer = row["text"].rpartition("So the answer is")
    try:
        same = repr(ast.literal_eval(answer.strip())) == row["gold_answer"]
    except (ValueError, SyntaxError):
        same = answer.strip() == row["gold_answer"]
    return bool(found) and same and row["finish_reason"] == "stop"


@pytest.mark.parametrize("reward", ["outcome", "process"])
def test_the_rewards_follow_from_the_kept_answers(done, reward):
    """What a step learnt from and what the log says are what an independent reading and the judge
    make of the answers that are kept; some of them are right and others are not."""
    arm = Arm(done, TASK, "base", reward)
    steps = {line["step"]: line for line in training.read_log(arm.folder) if "reward" in line}
    answers = kept(arm, "step")
    assert list(answers) == list(steps) == [1, 2, 3, 4]
    for step, rows in answers.items():
        assert len(rows) == 6
        right = [is_right(row) for row in rows]
        assert right == [row["outcome"] == "right" for row in rows]
        shares = []
        for row in rows:
            sample = next(one for one in corpus.read(done, "rl", "rfft", TASK)
                          if one["prompt"] == row["prompt"])
            false = judge(row["prompt"], row["text"], tasks.get(TASK).question)
            lines = max(len(text.split("\n")) for text in (row["text"], sample["completion"]))
            shares.append((false[0].line - 1) / lines if false else 1)
        assert shares == pytest.approx([row["process"] for row in rows])
        line = steps[step]
        assert line["outcome"] == pytest.approx(sum(right) / 6)
        assert line["process"] == pytest.approx(sum(shares) / 6, abs=1e-5)
        assert line["reward"] == pytest.approx(line[reward], abs=1e-5)
        assert line["answer_tokens"] == pytest.approx(sum(row["tokens"] for row in rows) / 6)
        # Each group has the same prompt, and a group whose rewards are equal teaches nothing.
        groups = [rows[:3], rows[3:]]
        assert all(len({row["prompt"] for row in group}) == 1 for group in groups)
        values = shares if reward == "process" else right
        tied = sum(len(set(values[place:place + 3])) == 1 for place in (0, 3)) / 2
        assert line["tied_groups"] == tied
        assert (line["grad_norm"] > 0) == (tied < 1)
    every = [row["outcome"] for rows in answers.values() for row in rows]
    assert "right" in every
    assert set(every) - {"right"}


def test_an_evaluation_is_greedy_and_counted_by_length(done):
    """The answers at step 0 are those that the untrained model gives to each prompt alone, and the
    log counts them by length."""
    arm = Arm(done, TASK, "base", "outcome")
    logged = {line["step"]: line["evaluation"] for line in training.read_log(arm.folder)
              if "evaluation" in line}
    answers = kept(arm, "evaluation")
    assert list(logged) == list(answers) == [0, 2, 4]
    for row in answers[0]:
        assert greedy(done.model.name, row) == row["text"]
    for step, rows in answers.items():
        assert [row["length"] for row in rows] == [1, 3]
        for row in rows:
            found = logged[step][str(row["length"])]
            assert found["right"] == is_right(row)
            assert found["traces"] == row["trace"]
            assert found["tokens"] == row["tokens"]
            assert found["answers"] == 1


def test_the_manifest_names_what_was_made_from_what(done):
    """Every file of a finished training is in its manifest with its hash; the weights are those of
    a model that changed, and no checkpoint is left."""
    arm = Arm(done, TASK, "base", "outcome")
    manifest = read_json(arm.manifest)
    made = manifest["weights"] | manifest["files"]
    files = {str(path.relative_to(arm.folder)): sha256(path) for path in arm.folder.rglob("*")
             if path.is_file() and path.name not in ("manifest.json", ".lock")}
    assert made == files
    assert manifest["relative_change"] > 0
    assert manifest["params_digest"] == done.digest
    assert manifest["answers"] == 24
    assert manifest["data"] == {
        f"corpus/{split}/rfft/{TASK}.parquet": sha256(
            done.folder / "corpus" / split / "rfft" / f"{TASK}.parquet")
        for split in ("rl", "rl_evaluation")}


def test_what_it_took_is_what_its_answers_are(done):
    """The measured tokens are those of the answers that were learnt from and of their prompts."""
    found = measured.compare(done.folder)
    for reward in ("outcome", "process"):
        [row] = found[found.method == f"base {reward}"].to_dict("records")
        rows = [one for step in kept(Arm(done, TASK, "base", reward), "step").values()
                for one in step]
        assert row["took_trained"] == pytest.approx(sum(one["tokens"] for one in rows) / 1e3)
        tokenizer = models.load_tokenizer(done.model.name)
        asked = sum(len(models.encode_prompt(tokenizer, one["prompt"])) for one in rows)
        assert row["took_tokens"] == pytest.approx(row["took_trained"] + asked / 1e3)
        assert row["took_hours"] > 0
        assert row["hours"] > 0


def main_in_float32(arguments):
    """The process of reinforcement learning, computing as the fixture's training does."""
    models.compute = lambda: "float32"
    return worker.main(arguments)


def test_a_killed_training_resumes_to_the_same_weights(run, done, trained, outputs, tmp_path,
                                                       monkeypatch):
    """Killed after its second step, it goes on from there with the same prompts, draws the same
    answers, logs no step twice and ends with the same weights as the one that ran through."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    params.open_folder(run)
    arm = Arm(run, TASK, "base", "outcome")
    process = forked.start(main_in_float32, [*arm.command[1:], "--params",
                                             str(run.folder / "params.yaml")])
    while not (arm.folder / "checkpoints" / "checkpoint-2" / "hashes.json").exists():
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert not arm.manifest.exists()
    monkeypatch.setattr(models, "compute", lambda: "float32")
    worker.train(arm)
    whole = trained / "outputs" / "tiny" / "rl" / TASK / "base_outcome"
    assert [{key: value for key, value in line.items() if key not in TIMES}
            for line in training.read_log(arm.folder)] == [
        {key: value for key, value in line.items() if key not in TIMES}
        for line in training.read_log(whole)]
    assert read_json(arm.manifest)["weights"] == read_json(whole / "manifest.json")["weights"]
    for path in sorted((whole / "answers").iterdir()):
        assert pq.read_table(arm.folder / "answers" / path.name) == pq.read_table(path)


def changed_log(arm, change):
    """Write another log as if the training had: each line as `change` returns it, or none."""
    lines = [line for line in map(change, training.read_log(arm.folder)) if line]
    write_whole(arm.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    manifest = read_json(arm.manifest)
    manifest["files"]["log.jsonl"] = sha256(arm.folder / "log.jsonl")
    write_json(arm.manifest, manifest)


def wrong_texts(arm):
    """Exchange the texts of a step with right answers for wrong ones; the outcomes stay."""
    step = next(line["step"] for line in training.read_log(arm.folder) if line.get("outcome"))
    path = answers.path(arm.folder, "step", step)
    answers.write(path, [row | {"text": "So the answer is 'x'"} for row in answers.read(path)])


def shorter(arm):
    path = answers.path(arm.folder, "evaluation", 2)
    first, *others = answers.read(path)
    answers.write(path, [first | {"tokens": 1}, *others])


def a_line(step, **changes):
    return lambda line: line | (changes if line["step"] == step and "reward" in line else {})


def evaluated(line):
    return line | {"evaluation": {length: counts | {"right": counts["right"] + 1} for length, counts
                                  in line["evaluation"].items()}} if "evaluation" in line else line


@pytest.mark.parametrize(("spoil", "said"), [
    (wrong_texts, r"step \d: the log says outcome 0\.\d+, the answers 0\.0"),
    (shorter, r"evaluation at step 2, length 1: the log says tokens \d+\.0, the answers 1\.0"),
    (lambda arm: answers.path(arm.folder, "step", 4).unlink(),
     "step 4: 0 answers are kept, expected 6"),
    (lambda arm: answers.path(arm.folder, "evaluation", 0).unlink(),
     "evaluation at step 0: the log has the lengths 1, 3, the kept answers none"),
    (lambda arm: changed_log(arm, a_line(1, process=0.99)), "step 1: the log says process 0.99"),
    (lambda arm: changed_log(arm, a_line(2, process=0.99)), "step 2: the log says process 0.99"),
    (lambda arm: changed_log(arm, a_line(3, reward=0.99)), "step 3: the log says reward 0.99"),
    (lambda arm: changed_log(arm, evaluated), "evaluation at step 4, length 3: the log says right"),
    (lambda arm: changed_log(arm, lambda line: line if line["step"] < 4 else None),
     "the log has the reward of 3 steps, expected the 4 from 1 to 4"),
    (lambda arm: write_json(arm.manifest, read_json(arm.manifest) | {"relative_change": 0.0}),
     "the weights did not change")])
def test_the_check_after_a_run_reads_the_answers_again(done, tmp_path, monkeypatch, spoil, said):
    """It finds nothing in what a training wrote, and names each value of a log that the kept
    answers do not give, each missing step, and weights that learnt nothing. A stored outcome
    itself counts for nothing."""
    arm = Arm(done, TASK, "base", "outcome")
    assert check.problems(arm) == []
    shutil.copytree(done.folder.parent, tmp_path / "outputs")
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    spoil(arm)
    found = check.problems(arm)
    assert any(re.match(said, one) for one in found), found


TIMES = {"seconds", "tokens_per_second", "memory_gib"}


def test_what_is_finished_is_skipped_and_other_parameters_are_refused(done, capsys):
    """The command says that both trainings are finished and starts none; a run of the same name
    with another learning rate is refused, with the folder's name."""
    file = done.folder / "params.yaml"
    params.open_folder(done)
    before = {path: path.stat().st_mtime_ns for path in (done.folder / "rl").rglob("*.json*")}
    assert cli.main(["train", "--params", str(file), "--stage", "rl"]) == 0
    told = capsys.readouterr().out
    assert told.count("finished, in") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    other = rl_run(done.model.name, learning_rate=1.0e-4)
    with pytest.raises(ParamsError, match="was trained with other parameters"):
        worker.train(Arm(other, TASK, "base", "outcome"))


@pytest.mark.parametrize(("options", "said"), [
    (["--task", "lc_258"], "no reinforcement learning on 'lc_258'"),
    (["--method", "direct"], "stage rl takes no method, got 'direct'"),
    (["--seed", "3"], "stage rl takes no seed, got 3")])
def test_an_option_that_names_no_training_is_refused(done, options, said, capsys):
    """One line says which training there is none of, before anything is built."""
    params.open_folder(done)
    assert cli.main(["train", "--params", str(done.folder / "params.yaml"), "--stage", "rl",
                     *options]) == 2
    assert said in capsys.readouterr().err


def test_a_run_without_the_section_has_no_such_stage(capsys):
    """The smoke run is refused with a line that names the section."""
    file = str(ROOT / "params" / "smoke.yaml")
    assert cli.main(["train", "--params", file, "--stage", "rl"]) == 2
    assert "run smoke has no reinforcement learning; the section rl" in capsys.readouterr().err


@pytest.mark.parametrize(("changes", "said"), [
    ({"prompt": "direct"}, "rl: rewards: process judges a trace of the rule"),
    ({"tasks": ["lc_258"]}, "rl.tasks: expected tasks of corpus.adaptation.tasks, got lc_258"),
    ({"starts": []}, "rl: starts: expected at least one"),
    ({"rewards": ["outcome", "outcome"]}, "rl: rewards: expected at least one, without repeats"),
    ({"micro_batch_size": 4}, "rl: micro_batch_size 4 does not divide the 6 answers of a step"),
    ({"evaluate_every": 3}, "rl: evaluate_every 3 does not divide steps 4"),
    ({"group_size": 1}, "rl.group_size"), ({"temperature": 0.0}, "rl.temperature"),
    ({"lengths": [99]}, "rl: task nupa_get_digit cannot draw length 99")])
def test_an_impossible_combination_is_refused(changes, said):
    """One line names the key, before anything starts."""
    with pytest.raises(ParamsError) as error:
        rl_run(models.EMBEDDED, **changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("changes", "said"), [
    ({"max_completion_tokens": 20}, "the longest right completion takes"),
    ({"max_completion_tokens": 4000}, "of the longest prompt exceed model.context, 4096")])
def test_answers_that_cannot_be_right_or_do_not_fit_are_refused(run, changes, said):
    """With the tokens of the run's own samples, before the model is loaded."""
    arm = Arm(run.model_copy(update={"rl": run.rl.model_copy(update=changes)}), TASK, "base",
              "outcome")
    made_up_run.adopt_corpus(arm.config)
    with pytest.raises(ParamsError, match=said):
        prompts.of_arm(arm, models.load_tokenizer(run.model.name))


def test_every_sample_is_asked_before_one_is_asked_again(run):
    """The order of prompts is a row of permutations of all samples, the same in every process."""
    arm = Arm(run, TASK, "base", "outcome")
    tokenizer = models.load_tokenizer(run.model.name)
    order = [(row["length"], row["index"]) for row in prompts.of_arm(arm, tokenizer)]
    assert len(order) == 8
    assert set(order[:4]) == set(order[4:]) == {(1, 0), (1, 1), (2, 0), (2, 1)}
    assert order == [(row["length"], row["index"]) for row in prompts.of_arm(arm, tokenizer)]


def test_answers_that_do_not_divide_over_the_processes_are_refused(run):
    """Six answers in micro batches of three divide over two processes, not over four."""
    arm = Arm(run, TASK, "base", "outcome")
    assert [worker.accumulation_steps(arm, world) for world in (1, 2)] == [2, 1]
    with pytest.raises(ParamsError, match="6 answers of a step do not divide into micro batches "
                                          "of 3 on 4 processes"):
        worker.accumulation_steps(arm, 4)


def test_vllm_needs_a_gpu(run, capsys):
    """On a machine without one, the engine is refused with the other's name, also by the command
    that runs everything, before anything is built."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    arm = Arm(run.model_copy(update={"rl": run.rl.model_copy(update={"engine": "vllm"})}), TASK,
              "base", "outcome")
    with pytest.raises(ParamsError, match=r"rl\.engine: vllm .* set transformers"):
        training.check_engine(arm.config)
    file = str(ROOT / "params" / "7b_rl.yaml")
    assert cli.main(["run", "--params", file]) == 2
    assert "rl.engine: vllm" in capsys.readouterr().err


def test_the_pretrained_model_is_one_start(run):
    """A training that starts from it refuses to begin before it is finished, and a run that makes
    none is refused at once."""
    both = run.model_copy(update={
        "rl": run.rl.model_copy(update={"starts": ["base", "pretrained"]})})
    assert [arm.name for arm in training.arms(both)] == [
        f"rl {TASK} {start} {reward}" for start in ("base", "pretrained")
        for reward in ("outcome", "process")]
    with pytest.raises(ParamsError, match="finish the stage pretrain"):
        worker.train(Arm(both, TASK, "pretrained", "outcome"))
    values = both.model_dump()
    values["adaptation"]["methods"] = ["direct"]
    with pytest.raises(ParamsError, match=r"rl\.starts: pretrained is the RF-pretrained model"):
        params.check(values)


def test_the_pretrained_start_is_walked_to_its_end(outputs, tmp_path, monkeypatch):
    """From the RF-pretrained model of the run: its first answers are that model's own and not the
    base model's, Figure 7 has its line, and other pre-trained weights are refused afterwards."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(models, "compute", lambda: "float32")
    run = rl_run(outputs / "model", starts=["pretrained"], rewards=["process"], steps=2)
    corpus.build(run)
    pretraining = training.Job(run, "pretrain")
    training.train(pretraining)
    [arm] = training.arms(run)
    worker.train(arm)
    assert check.problems(arm) == []
    made = read_json(arm.manifest)
    assert made["base_model"]["sha256"] == models.weights_hash(training.model_folder(run))
    for row in kept(arm, "evaluation")[0]:
        assert row["text"] == greedy(training.model_folder(run), row)
        assert row["text"] != greedy(run.model.name, row)
    _, lines = reinforcement.draw(reinforcement.collect([run]), [run])
    assert set(lines["line"]) == {"RL from the RF-pretrained model, process"}
    manifest = read_json(pretraining.manifest)
    weights = training.model_folder(run) / "model.safetensors"
    write_changed(weights)
    manifest["weights"]["model/model.safetensors"] = sha256(weights)
    write_json(pretraining.manifest, manifest)
    with pytest.raises(ParamsError, match="was trained from other weights"):
        worker.train(arm)


def greedy(folder, row):
    """The answer of a model to the prompt of a row, generated alone."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = models.load_tokenizer(str(folder))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([models.encode_prompt(tokenizer, row["prompt"])])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                          max_new_tokens=row["tokens"], pad_token_id=tokenizer.eos_token_id)
    return tokenizer.decode(made[0, ids.shape[1]:]).removesuffix(tokenizer.eos_token)


def write_changed(path):
    """Write safetensors with one tensor changed."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    first = next(iter(tensors))
    save_file(tensors | {first: tensors[first] + 1}, path, {"format": "pt"})


def test_the_figure_and_the_table_are_drawn_from_the_logs(done, tmp_path):
    """Figure 7 holds the accuracies after the last step, and Table 9 every evaluation; both are
    among the figures of the paper, and say that the run is a smoke run."""
    drawn = reinforcement.write([done], tmp_path)
    assert set(drawn) == {"figure_7", "table_9"}
    with open(drawn["figure_7"]["csv"], encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    last = {(reward, row["length"]): is_right(row)
            for reward in ("outcome", "process")
            for row in kept(Arm(done, TASK, "base", reward), "evaluation")[4]}
    assert {(line["line"].rpartition(", ")[2], int(line["length"])): float(line["accuracy"])
            for line in lines} == last
    with open(drawn["table_9"]["csv"], encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 3 * 2
    assert "SMOKE RUN" in drawn["figure_7"].alt
    assert "RL from the base model, process" in drawn["table_9"].table
    assert "the paper, PPO" in drawn["table_9"].table


def test_runs_without_it_leave_the_figure_alone(tmp_path):
    """Nothing is written for a run that has no reinforcement learning."""
    assert reinforcement.write([params.load(ROOT / "params" / "smoke.yaml")], tmp_path) == {}
    assert not list(tmp_path.iterdir())


def test_the_plan_counts_its_hours():
    """A row for each training, whose hours are those of its steps: twice as many take about twice
    as long; the paper's 64 hours are beside the outcome alone. What is shown names each of them."""
    run = params.load(ROOT / "params" / "7b_rl.yaml")
    counted = {}
    whole = plan.plan(run, samples=1, estimate=True, counted=counted)
    made = whole.stages
    rows = made[made.stage == "rl"]
    assert list(rows.method) == ["base outcome", "base process", "pretrained outcome",
                                 "pretrained process"]
    assert list(rows.paper_low.fillna(0)) == [64, 0, 64, 0]
    longer = run.model_copy(update={"rl": run.rl.model_copy(update={"steps": 200})})
    twice = plan.plan(longer, samples=1, estimate=True, counted=counted).stages
    ratio = twice[twice.stage == "rl"].compute_hours.sum() / rows.compute_hours.sum()
    assert 1.9 < ratio <= 2
    answers = 100 * 1024
    assert set(rows.samples) == {answers}
    # By hand: 2 operations a weight and token to generate, 6 to train, 2 more to recompute.
    tokens = rows.tokens.iloc[0]
    assert rows.flops.iloc[0] == pytest.approx(8 * 6.5e9 * tokens, rel=0.15)
    shown = display.show(whole)
    assert shown.startswith("Total: ")
    assert all(f"rl {method}" in shown for method in rows.method)


def test_the_file_holds_the_papers_values_and_marks_the_others():
    """7b_rl.yaml has the paper's learning rate, clip, divergence and batches on one task;
    every other number of the section carries the word assumption."""
    file = ROOT / "params" / "7b_rl.yaml"
    rl = params.load(file).rl
    assert rl.tasks == ["nupa_add"]
    assert rl.completions == 1024
    stated = {"learning_rate": 1.0e-6, "clip": 0.2, "kl": 0, "prompts_per_step": 256}
    assert {key: getattr(rl, key) for key in stated} == stated
    lines = file.read_text().partition("\nrl:\n")[2].splitlines()
    unmarked = {line.split(":")[0].strip() for line in lines if "assumption" not in line}
    assert unmarked == {*stated, "tasks", "starts", "rewards", "evaluation"}
