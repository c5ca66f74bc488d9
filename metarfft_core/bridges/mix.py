"""Builds the general data that `mix:` adds to a training (the paper's Tables 4, 5 and 12).

    python -m metarfft_core.bridges.mix gsm8k --params params/7b.yaml --to outputs/mix/gsm8k.jsonl
    python -m metarfft_core.bridges.mix arc --params params/7b.yaml --to outputs/mix/arc.jsonl
    python -m metarfft_core.bridges.mix alpaca --params params/7b.yaml --to outputs/mix/alpaca.jsonl

`gsm8k`: the base model of the parameter file writes 10 candidates to each training question; the
first right one is kept. `arc`: the questions of both parts with the letter of the answer. `alpaca`:
8,000 instructions with their outputs, drawn by the run's seed. Beside FILE.jsonl, FILE.json says
what it was made from.

The questions come from the Hub, or from a file of yours (`--from`, JSON or JSONL with the fields of
the Hub's data set). No Python package carries these training questions.
"""

import argparse
import hashlib
import importlib.metadata
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from metarfft_core import models, params
from metarfft_core.params import Params, ParamsError, commit
from metarfft_core.system import failures, files, places

CANDIDATES = 10
"""Answers to a question of GSM8K, as in the paper."""

LONGEST = 1024  # tokens of a candidate
TEMPERATURE = 0.7
"""Of the candidates. assumption: the paper does not state it; greedy ones would all be the same."""

Pair = tuple[str, str]  # a prompt and its completion


class DataSet(NamedTuple):
    """A data set of the Hub: its name, its parts, the fields that a file of it needs."""

    name: str
    parts: tuple[str | None, ...]
    fields: tuple[str, ...]
    number: int | None  # how many samples are drawn; None for all


DATA_SETS = {
    "gsm8k": DataSet("openai/gsm8k", ("main",), ("question", "answer"), None),
    "arc": DataSet("allenai/ai2_arc", ("ARC-Challenge", "ARC-Easy"),
                  ("question", "choices", "answerKey"), None),
    "alpaca": DataSet("tatsu-lab/alpaca", (None,), ("instruction", "input", "output"), 8000)}


def build(kind: str, config: Params, target: Path, given: Path | None = None,
          number: int | None = None) -> dict[str, Any]:
    """Write a file of prompts and completions, and what it was made from beside it.

    Args:
        kind: gsm8k, arc or alpaca.
        config: The parameters of a run, for its base model and its seed.
        target: The JSONL file to write, which must be new.
        given: A file of the user's; the Hub's data set if not given.
        number: The number of questions to take, drawn by the run's seed.

    Returns:
        What was written beside the file.

    Raises:
        ParamsError: The target exists, the questions are not at hand, or nothing was right.
    """
    if target.exists():
        raise ParamsError(f"{target} exists: name a file that does not, or delete it")
    data_set = DATA_SETS[kind]
    rows, where = _read(given, data_set) if given else _download(kind, data_set)
    number = number or data_set.number
    if number and number < len(rows):
        rows = random.Random(f"{config.seed}/mix/{kind}").sample(rows, number)
    pairs, about = MAKERS[kind](config, rows)
    if not pairs:
        raise ParamsError(f"{kind}: none of {len(rows)} questions gave a sample")
    files.write_whole(target, "".join(
        json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False) + "\n"
        for prompt, completion in pairs))
    text = json.dumps(rows, sort_keys=True, ensure_ascii=False)
    made = {"kind": kind, "source": where, "source_sha256": hashlib.sha256(
        text.encode()).hexdigest(), "questions": len(rows), "samples": len(pairs),
        "sha256": files.sha256(target), "seed": config.seed, "git_commit": commit.of(config),
        **about}
    files.write_json(target.with_suffix(".json"), made)
    return made


def _download(kind: str, data_set: DataSet) -> tuple[list[dict], str]:
    """Return the rows of the Hub's training split, and its name."""
    import datasets

    rows = []
    try:
        for subset in data_set.parts:
            rows += datasets.load_dataset(data_set.name, subset, split="train").to_list()
    except (OSError, ValueError) as error:  # not found, no network
        reason = str(error).strip().partition("\n")[0]
        raise ParamsError(f"{kind}: the Hub does not offer {data_set.name} ({reason}), and no "
                          "package carries its training questions: name a file with --from "
                          f"(JSON or JSONL; fields {', '.join(data_set.fields)})") from None
    return rows, data_set.name


def _read(path: Path, data_set: DataSet) -> tuple[list[dict], str]:
    """Return the rows of a user's file, and its name.

    Raises:
        ParamsError: It is not JSON or JSONL of objects with the fields; names the row.
    """
    with files.naming(path):
        text = path.read_text(encoding="utf-8")
    try:
        rows = json.loads(text) if text.lstrip().startswith("[") else [
            json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ParamsError(f"--from: {path} is neither JSON nor JSONL: {error}") from None
    for number, row in enumerate(rows, start=1):
        missing = [name for name in data_set.fields if not isinstance(row, dict) or name not in row]
        if missing:
            raise ParamsError(f"--from: {path}, row {number}: expected the fields "
                              f"{', '.join(data_set.fields)}; {', '.join(missing)} missing")
    return rows, path.name


def gsm8k(config: Params, rows: list[dict]) -> tuple[list[Pair], dict[str, Any]]:
    """Keep the first right candidate of each question that the base model answers right."""
    folder, pairs, right = models.resolve(config.model.name), [], 0
    candidates = sampled(config, [row["question"] for row in rows])
    for number, (row, texts) in enumerate(zip(rows, candidates, strict=True), start=1):
        kept = [text for text in texts if is_right(text, row["answer"])]
        right += len(kept)
        pairs += [(row["question"], kept[0])] if kept else []
        if number % 100 == 0 or number == len(rows):
            print(f"  {number} of {len(rows)} questions, {len(pairs)} answered right", flush=True)
    return pairs, {"candidates": CANDIDATES, "right_candidates": right, "temperature": TEMPERATURE,
                   "model": config.model.name, "model_sha256": models.model_hash(folder),
                   "versions": {name: importlib.metadata.version(name)
                                for name in ("torch", "transformers")}}


def is_right(text: str, answer: str) -> bool:
    """Whether the last number of a text is the one after the #### of a GSM8K answer."""
    said, gold = _numbers(text), _numbers(answer.rpartition("####")[2])
    return bool(said) and said[-1:] == gold[-1:]


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)]


def sampled(config: Params, prompts: list[str]) -> Iterator[list[str]]:
    """Yield, for each prompt in order, the base model's candidates that ended by themselves."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    folder = models.resolve(config.model.name)
    tokenizer = models.load_tokenizer(folder, config.model.chat_template)
    device, end = "cuda" if torch.cuda.is_available() else "cpu", tokenizer.eos_token_id
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16,
                                                 trust_remote_code=False).to(device).eval()
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=TEMPERATURE, top_k=0, num_return_sequences=CANDIDATES,
        max_new_tokens=LONGEST, eos_token_id=end, pad_token_id=end)
    size = max(1, config.evaluation.batch_size // CANDIDATES)
    for start in range(0, len(prompts), size):
        ids = models.encode_prompts(tokenizer, prompts[start:start + size])
        width = max(map(len, ids))
        padded = torch.tensor([[end] * (width - len(row)) + row for row in ids], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids],
                            device=device)
        torch.manual_seed(config.seed * 1_000_003 + start)
        with torch.inference_mode():
            written = model.generate(padded, attention_mask=mask)[:, width:].tolist()
        for position in range(len(ids)):
            several = written[position * CANDIDATES:(position + 1) * CANDIDATES]
            yield [tokenizer.decode(row[:row.index(end)]) for row in several if end in row]


def arc(config: Params, rows: list[dict]) -> tuple[list[Pair], dict[str, Any]]:
    """Turn each question into one with letters, and its answer into a sentence with the letter."""
    pairs = []
    for row in rows:
        texts, letters = row["choices"]["text"], "ABCDE"
        lines = [f"{letter}. {text}" for letter, text in zip(letters, texts, strict=False)]
        right = letters[row["choices"]["label"].index(row["answerKey"])]
        pairs.append(("\n".join([
            "Choose the best answer to the question.", f"Question: {row['question']}", *lines,
            'End with "The best answer is X", X being the letter.']),
            f"The best answer is {right}"))
    return pairs, {}


def alpaca(config: Params, rows: list[dict]) -> tuple[list[Pair], dict[str, Any]]:
    """Join instruction and input; leave out the few rows without an output."""
    return [(f"{row['instruction']}\n\n{row['input']}".strip(), row["output"])
            for row in rows if row["output"].strip()], {}


MAKERS = {
    "gsm8k": gsm8k, "arc": arc, "alpaca": alpaca}


def main(arguments: list[str] | None = None) -> int:
    """Build a file; returns 0, 2 for a user's error, or 1 for another."""
    parser = argparse.ArgumentParser(
        prog="metarfft_core.bridges.mix", description="Build general data for `mix:`.")
    parser.add_argument("kind", choices=tuple(DATA_SETS))
    parser.add_argument("--params", required=True, metavar="FILE", help="for base model and seed")
    parser.add_argument("--to", required=True, type=Path, metavar="FILE.jsonl")
    parser.add_argument("--from", dest="given", type=Path, metavar="FILE",
                        help="questions of yours instead of the Hub's")
    parser.add_argument("--number", type=int, metavar="N", help="of questions (8000 of alpaca)")
    options = parser.parse_args(arguments)
    try:
        places.settle()
        made = build(options.kind, params.load(options.params), options.to, options.given,
                     options.number)
    except Exception as error:
        reason, status = failures.explain(error, str(options.params))
        print(f"error: {reason}", file=sys.stderr)
        return status
    print(f"{options.to}: {made['samples']} samples of {made['questions']} questions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
