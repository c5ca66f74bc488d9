"""From prompts and completions to tokens: the tokenizer and its chat template.

Training and generation use the same token ids, made by `encode_prompts` and `encode_completions`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from metarfft_core.models import chat_template
from metarfft_core.models.hub import cache_folder, resolve, texts_hash
from metarfft_core.params import ParamsError
from metarfft_core.system.files import (
    read_json,
    write_json,
)


def load_tokenizer(name: str, fallback: str | None = None):
    """Load the transformers tokenizer of a model.

    A chat template that asks for the date gets a fixed one (see `chat_template`). The fixed date
    is also in every saved copy of the tokenizer, beside each trained model.

    Args:
        name: The model's name or folder, as `resolve` takes it.
        fallback: The name of the kit's chat template for a model that has none
            (`model.chat_template`).

    Raises:
        ParamsError: There is no such model.
    """
    from transformers import AutoTokenizer

    folder = resolve(name, weights=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    # Whether this process is offline must not show in a saved copy.
    tokenizer.init_kwargs.pop("local_files_only", None)
    template = tokenizer.chat_template
    if isinstance(template, dict):
        tokenizer.chat_template = {name: chat_template.with_fixed_date(text)
                                   for name, text in template.items()}
    elif template:
        tokenizer.chat_template = chat_template.with_fixed_date(template)
    elif fallback:
        tokenizer.chat_template = chat_template.FALLBACKS[fallback]
    return tokenizer


def encode_prompts(tokenizer, prompts: list[str]) -> list[list[int]]:
    """Token ids of each prompt in the chat template, up to the start of the answer."""
    texts = [_in_template(tokenizer, prompt) for prompt in prompts]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]  # the template has them already


def encode_completions(tokenizer, completions: list[str]) -> list[list[int]]:
    """Token ids of each completion, including the end token."""
    ids = tokenizer(completions, add_special_tokens=False)["input_ids"]
    return [[*completion, tokenizer.eos_token_id] for completion in ids]


def encode_prompt(tokenizer, prompt: str) -> list[int]:
    """Token ids of one prompt, as `encode_prompts` makes them."""
    return encode_prompts(tokenizer, [prompt])[0]


def encode_completion(tokenizer, completion: str) -> list[int]:
    """Token ids of one completion, as `encode_completions` makes them."""
    return encode_completions(tokenizer, [completion])[0]


def _in_template(tokenizer, prompt: str) -> str:
    if not tokenizer.chat_template:
        raise ParamsError("model.chat_template: the model has no chat template of its own, as base "
                          f"models have none: name one ({', '.join(chat_template.FALLBACKS)}); "
                          f"its tokenizer is {tokenizer.name_or_path}")
    return tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                         add_generation_prompt=True)


@cache
def token_counter(name: str, fallback: str | None = None) -> Callable[[str, str], int]:
    """Make a function that counts the tokens of a sample, including the chat template.

    The function returns len(encode_prompt) + len(encode_completion) without using transformers. It
    is exact for prompts that neither begin nor end with white space, because some templates strip
    it. The text that the template puts around a prompt is computed once per tokenizer and kept in
    the cache folder.

    Args:
        name: The model's name or folder, as `resolve` takes it.
        fallback: As `load_tokenizer` takes it.

    Returns:
        A function of (prompt, completion) that returns the number of tokens.
    """
    from tokenizers import Tokenizer

    folder = Path(resolve(name, weights=False))
    if not (folder / "tokenizer.json").is_file():
        raise ParamsError(f"model.name: {folder} has no tokenizer.json")
    before, after = _template_around(folder, fallback)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def count(prompt: str, completion: str) -> int:
        texts = [before + prompt + after, completion]
        ids = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return len(ids[0]) + len(ids[1]) + 1  # the end token

    return count


def _template_around(folder: Path, fallback: str | None) -> tuple[str, str]:
    """The text that the chat template in `folder` puts before and after a prompt."""
    name = f"{texts_hash(folder)[:16]}-{chat_template.DATE}"
    if fallback:
        name += "-" + chat_template.about(chat_template.FALLBACKS[fallback])["sha256"][:8]
    path = cache_folder() / "templates" / f"{name}.json"
    if not path.exists():
        tokenizer = load_tokenizer(str(folder), fallback)
        before, after = _in_template(tokenizer, _CONTENT).split(_CONTENT)
        write_json(path, {"before": before, "after": after})
    around = read_json(path)
    return around["before"], around["after"]


_CONTENT = "%%content%%"  # replaces the prompt while the text around it is computed
