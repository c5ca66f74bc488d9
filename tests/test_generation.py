"""Generation with real models: the embedded one, and a tiny random one with its tokenizer."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import forked
import greedy
import pytest
import rounding
import torch
import vllm_on_cpu

from metarfft_core import models
from metarfft_core.evaluation import engines
from metarfft_core.params import ParamsError
from metarfft_core.system.places import ROOT

QUESTIONS = ["What is the capital of France?", "Write the number 7.", "Say yes.",
             "Given the list [3, 1, 2], what is the largest number? Answer with the number.",
             "Repeat this word five times: tree", "What colour is the sky on a clear day?"]

LIMITS = [24, 24, 24, 5, 24, 24]

PRODUCTS, TERMS = 2 * 6 + 1, 128
"""Of the tiny model: the matrix products in a row, and the most terms of one of their sums."""


@pytest.fixture(scope="module")
def prompts():
    tokenizer = models.load_tokenizer(models.EMBEDDED)
    return [models.encode_prompt(tokenizer, question) for question in QUESTIONS]


def _random_model(folder, hidden_size, key_value_heads):
    """Write a random model of two heads, with the embedded model's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=hidden_size, intermediate_size=2 * hidden_size,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=key_value_heads,
        max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        initializer_range=0.3,
    )).to(torch.bfloat16).save_pretrained(folder)
    models.load_tokenizer(models.EMBEDDED).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a tiny random model."""
    return _random_model(tmp_path_factory.mktemp("tiny"), 32, 1)


@pytest.fixture
def penalised(tmp_path):
    """Copies a model folder and sets a repetition penalty in its generation config."""
    def copy(folder):
        target = tmp_path / "penalised"
        shutil.copytree(folder, target, dirs_exist_ok=True)
        path = target / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 5.0}))
        return target
    return copy


def _generate(folder, prompts, limits):
    found = {}
    for finished in engines.generate(folder, prompts, limits, "transformers", 6):
        found |= dict(finished)
    return [found[position] for position in range(len(prompts))]


def _in_process(folder, prompts, limits, engine, batch_sizes, tensor_parallel=1):
    """Generate in a process of its own, as the evaluation does, once for each batch size.

    vLLM gets an interpreter of its own, because it sets up torch before it is imported.
    """
    program = ("import json, sys\n"
               "from dataclasses import asdict\n"
               "from metarfft_core.evaluation import engines\n"
               "*arguments, batch_sizes, tensor_parallel = json.loads(sys.argv[1])\n"
               "for batch_size in batch_sizes:\n"
               "    found = {}\n"
               "    for done in engines.generate(*arguments, batch_size, tensor_parallel):\n"
               "        found |= {position: asdict(one) for position, one in done}\n"
               "    print('RESULT' + json.dumps([found[i] for i in range(len(found))]))\n")
    arguments = json.dumps([str(folder), prompts, limits, engine, batch_sizes, tensor_parallel])
    if engine == "vllm":
        output = subprocess.run([sys.executable, "-c", program, arguments], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=os.environ | {"PYTHONPATH": str(ROOT)}).stdout
    else:
        output = forked.run_program(program, arguments).output
    lines = [line for line in output.splitlines() if line.startswith("RESULT")]
    if len(lines) < len(batch_sizes) and engine == "vllm":
        vllm_on_cpu.skip_if_it_cannot_run()
    assert len(lines) == len(batch_sizes), output[-3000:]
    return [[engines.Generation(**row | {"token_ids": tuple(row["token_ids"])})
             for row in json.loads(line.removeprefix("RESULT"))] for line in lines]


@pytest.fixture(scope="module")
def by_batch_size(prompts):
    """What the embedded model generates with transformers, in batches of 6 and of 1."""
    outputs = _in_process(models.resolve(models.EMBEDDED), prompts, LIMITS, "transformers", [6, 1])
    return dict(zip([6, 1], outputs, strict=True))


@pytest.fixture(scope="module")
def embedded(by_batch_size):
    """What the embedded model generates with transformers, all prompts in one batch."""
    return by_batch_size[6]


def test_both_engines_give_the_same_outputs(prompts, embedded, penalised):
    """vLLM and transformers get the same prompt tokens and greedily give the same text, though
    vLLM's model folder asks for a repetition penalty; or they part where rounding decides."""
    folder = penalised(models.resolve(models.EMBEDDED))
    [vllm] = _in_process(folder, prompts, LIMITS, "vllm", [6])
    assert [one.prompt_tokens for one in vllm] == [one.prompt_tokens for one in embedded]
    assert [one.prompt_tokens for one in vllm] == [len(prompt) for prompt in prompts]
    greedy.assert_alike(folder, prompts, list(zip(vllm, embedded, strict=True)))


def test_an_output_ends_with_the_end_token_or_at_its_limit(embedded):
    """A stopped output holds the end token once, at its end; a cut one has exactly its limit."""
    end = models.load_tokenizer(models.EMBEDDED).eos_token_id
    assert {one.finish_reason for one in embedded} == {"stop", "length"}
    for one, limit in zip(embedded, LIMITS, strict=True):
        assert one.completion_tokens == len(one.token_ids) <= limit
        if one.finish_reason == "stop":
            assert one.token_ids.index(end) == len(one.token_ids) - 1
        else:
            assert end not in one.token_ids
            assert one.completion_tokens == limit
        assert "<|im_end|>" not in one.text


def test_the_text_is_what_the_tokens_say(embedded):
    """Encoding the text again gives the tokens, so no space was cleaned up on the way."""
    tokenizer = models.load_tokenizer(models.EMBEDDED)
    for one in embedded:
        if one.finish_reason == "stop":
            assert models.encode_completion(tokenizer, one.text) == list(one.token_ids)


def test_a_batch_gives_what_single_prompts_give(prompts, by_batch_size):
    """Prompts of different lengths in one batch do not change each other's outputs, but where
    rounding decides."""
    pairs = list(zip(by_batch_size[6], by_batch_size[1], strict=True))
    greedy.assert_alike(models.resolve(models.EMBEDDED), prompts, pairs)


def test_outputs_that_are_not_greedy_are_told_from_those_that_are(prompts, embedded):
    """The answers are the likeliest tokens, as far as bfloat16 lets one say; the answers to other
    questions are not. By this the engines are compared."""
    folder = models.resolve(models.EMBEDDED)
    first, *others = [one.token_ids for one in embedded]
    greedy.assert_greedy(folder, prompts, [first, *others])
    with pytest.raises(AssertionError):
        greedy.assert_greedy(folder, prompts, [*others, first])


def test_an_engine_computes_as_the_machine_does(tiny, prompts, monkeypatch):
    """Where the machine computes in float32, every token is the likeliest of the float32 model, up
    to float32's rounding, though the stored weights are in bfloat16."""
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(models, "compute", lambda: "float32")
    answers = _generate(tiny, prompts, [80] * len(prompts))
    exact = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    for prompt, answer in zip(prompts, answers, strict=True):
        found = greedy.logits(exact, prompt, answer.token_ids)
        below = found.amax(-1) - found[range(len(answer.token_ids)), list(answer.token_ids)]
        assert below.max() <= rounding.float32(PRODUCTS, TERMS) * found.norm(dim=-1).max()


def test_the_generation_config_of_a_model_changes_nothing(tiny, prompts, penalised):
    """A repetition penalty in the model folder is ignored, though it changes plain outputs."""
    from transformers import AutoModelForCausalLM

    tokens = {folder: _generate(folder, prompts[:1], [40])[0].token_ids
              for folder in (tiny, penalised(tiny))}
    assert len(set(tokens.values())) == 1
    model = AutoModelForCausalLM.from_pretrained(penalised(tiny), dtype=torch.bfloat16)
    plain = model.generate(torch.tensor(prompts[:1]), max_new_tokens=40)
    assert tuple(plain[0, len(prompts[0]):].tolist()) != tokens[tiny]


def test_a_limit_beyond_the_positions_is_refused(tiny, prompts):
    """A prompt and a limit that do not fit the model are refused before an engine starts."""
    with pytest.raises(ParamsError, match="the model has 256 positions"):
        next(engines.generate(tiny, prompts, [24] * 5 + [400], "vllm", 4))


def test_nothing_to_generate_starts_no_engine(tiny):
    """Without prompts there is no output, and no error."""
    assert list(engines.generate(tiny, [], [], "vllm", 4)) == []


@pytest.mark.slow
def test_a_model_split_over_devices_gives_the_same_outputs(tmp_path, prompts):
    """vLLM with tensor parallel 2, each half in a process of its own, generates what it does with
    the whole model in one; or they part where rounding decides."""
    folder = _random_model(tmp_path, 128, 2)  # heads of a size that vLLM knows, one for each half
    split, whole = (_in_process(folder, prompts, [4] * 6, "vllm", [6], tensor_parallel)[0]
                    for tensor_parallel in (2, 1))
    greedy.assert_alike(folder, prompts, list(zip(split, whole, strict=True)))


def test_transformers_splits_no_model(tiny, prompts):
    """Tensor parallel with transformers is refused before the engine starts."""
    with pytest.raises(ParamsError, match=r"evaluation\.tensor_parallel: only the engine vllm"):
        next(engines.generate(tiny, prompts, LIMITS, "transformers", 6, 2))


@pytest.mark.parametrize(("missing", "other"),
                         [("vllm", "transformers"), ("transformers", "vllm")])
def test_an_engine_that_is_not_installed_is_refused(tmp_path, missing, other):
    """Where one engine is not installed it is refused in a line that names the other, which is
    accepted; here every installed package but that engine is on the path.
    """
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if entry.name != missing:
            (tmp_path / entry.name).symlink_to(entry)
    program = ("from metarfft_core.evaluation import engines\n"
               f"engines.check_engine({other!r})\n"
               f"engines.check_engine({missing!r})\n")
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"})
    assert done.stderr.splitlines()[-1].endswith(
        f"ParamsError: evaluation.engine: {missing} is not installed here; set {other}")
