"""From prompts and completions to tokens: the tokenizer and its chat template."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from metarfft_core.models import chat_template
from metarfft_core.models.hub import cache_folder, hash_files, resolve
from metarfft_core.system.files import (
    read_json,
    write_json,
)


def load_tokenizer(name: str):
    """The tokenizer (transformers) of a model's name or folder.

    A chat template that asks for the date gets a fixed one (see `chat_template`), also wherever
    the tokenizer is saved: beside every model that is trained.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve(name, weights=False))
    template = tokenizer.chat_template
    if isinstance(template, dict):
        tokenizer.chat_template = {name: chat_template.with_fixed_date(text)
                                   for name, text in template.items()}
    elif template:
        tokenizer.chat_template = chat_template.with_fixed_date(template)
    return tokenizer


def encode_prompts(tokenizer, prompts: list[str]) -> list[list[int]]:
    """Token ids of each prompt in the chat template, up to where the answer begins."""
    texts = [_in_template(tokenizer, prompt) for prompt in prompts]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]  # the template holds them


def encode_completions(tokenizer, completions: list[str]) -> list[list[int]]:
    """Token ids of each completion, the end token included."""
    ids = tokenizer(completions, add_special_tokens=False)["input_ids"]
    return [[*one, tokenizer.eos_token_id] for one in ids]


def encode_prompt(tokenizer, prompt: str) -> list[int]:
    """Token ids of one prompt, as `encode_prompts` makes them."""
    return encode_prompts(tokenizer, [prompt])[0]


def encode_completion(tokenizer, completion: str) -> list[int]:
    """Token ids of one completion, as `encode_completions` makes them."""
    return encode_completions(tokenizer, [completion])[0]


def _in_template(tokenizer, prompt: str) -> str:
    return tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                         add_generation_prompt=True)


@cache
def token_counter(name: str) -> Callable[[str, str], int]:
    """A function of (prompt, completion): the tokens that the sample takes, template included.

    It gives len(encode_prompt) + len(encode_completion) without transformers, for prompts that
    neither begin nor end with white space (some templates strip it). What the template puts
    around a prompt is found once for a tokenizer and kept in the cache folder.
    """
    from tokenizers import Tokenizer

    folder = Path(resolve(name, weights=False))
    before, after = _template_around(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def count(prompt: str, completion: str) -> int:
        texts = [before + prompt + after, completion]
        ids = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return len(ids[0]) + len(ids[1]) + 1  # the end token

    return count


def _template_around(folder: Path) -> tuple[str, str]:
    """What the chat template of the tokenizer in `folder` puts before and after a prompt."""
    files = [*folder.glob("tokenizer*.json"), *folder.glob("chat_template*")]
    path = cache_folder() / "templates" / f"{hash_files(files)[:16]}-{chat_template.DATE}.json"
    if not path.exists():
        before, after = _in_template(load_tokenizer(str(folder)), _CONTENT).split(_CONTENT)
        write_json(path, {"before": before, "after": after})
    around = read_json(path)
    return around["before"], around["after"]


_CONTENT = "%%content%%"
