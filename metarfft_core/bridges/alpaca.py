"""AlpacaEval: a judge on a server compares a model's answers with those of another model.

    metarfft evaluate --general --params FILE --prompts alpaca_eval.json --judge judge.yaml

The prompts are a file of yours, because the kit has no copy of them: AlpacaEval's own
`alpaca_eval.json`, a list of objects with `instruction` and `output`, the answer to compare with.
`judge.yaml` has the keys of an entry of `evaluation.api`.

Each pair is judged twice, the second time in the other order. A question scores 1 if the model wins
both, 0 if it loses both, and otherwise 0.5. The question is the kit's own, and so the wins are not
those of AlpacaEval's leaderboard. Its length-controlled wins are not computed (docs/general.md).
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from metarfft_core import models, params
from metarfft_core.bridges.general import weights
from metarfft_core.evaluation import api, engines, general
from metarfft_core.params import Api, Params, ParamsError
from metarfft_core.system import files, processes
from metarfft_core.training import Job

LONGEST_ANSWER = 2048  # tokens

_QUESTION = """\
Here is an instruction, and two answers to it.

Instruction:
{instruction}

Answer A:
{first}

Answer B:
{second}

Which answer follows the instruction better? Judge content, not length. End with the line \
"Better: A" or "Better: B"."""

_VERDICT = re.compile(r"better:\W*([AB])\b", re.IGNORECASE)


def question(instruction: str, first: str, second: str) -> str:
    """Return the question to the judge about two answers."""
    return _QUESTION.format(instruction=instruction, first=first, second=second)


def verdict(text: str) -> Literal["A", "B"] | None:
    """Read the last verdict of a judge's text; None if there is none."""
    verdicts = _VERDICT.findall(text)
    return verdicts[-1].upper() if verdicts else None


def score(first: str, second: str) -> float:
    """Return the score of a model whose answer was A in the judge's first text, B in its second."""
    wins = {"A": 1.0, "B": 0.0, None: 0.5}
    return (wins[verdict(first)] + 1 - wins[verdict(second)]) / 2


def evaluate(config: Params, job: Job | None, prompts: Path | None, judge: Path | None,
             limit: int | None = None) -> Path:
    """Let a judge compare the answers of weights with those of a file; returns the JSON file.

    Args:
        config: The resolved parameters of the run.
        job: The training that made the weights; the base model's if not given.
        prompts: The file of instructions and answers to compare with.
        judge: The YAML file of the judge's server.
        limit: The number of prompts, for a try; all if not given.

    Raises:
        ParamsError: A file is not what is expected, the training is not finished, or the server
            refuses its settings.
        ServerError: The server left questions without an answer.
    """
    if prompts is None or judge is None:
        raise ParamsError("--prompts and --judge need each other")
    settings, asked = read_judge(judge), read_prompts(prompts)[:limit]
    api.read_key(settings)
    name = general.weights_name(config, job.stage if job else "base", job and job.cell)
    if general.read(config, name, "alpaca", limit) is None:
        with weights(config, job) as folder, processes.alone(config.folder / "general"):
            rows = list(_judged(settings, asked, _answers(config, folder, asked)))
            general.write(config, name, "alpaca", rows, folder, limit, {
                "data": {"source": prompts.name, "sha256": files.sha256(prompts)},
                "settings": {"judge": settings.model, "question_sha256": hashlib.sha256(
                    _QUESTION.encode()).hexdigest()},
                "undecided": sum(row["judge"].count(None) for row in rows),
                "versions": engines.versions()})
    return general.path(config, name, "alpaca")


def _answers(config: Params, folder: Path, asked: list[dict]) -> list[str]:
    """Return the weights' greedy answers to the instructions."""
    tokenizer = models.load_tokenizer(str(folder), config.model.chat_template)
    ids = models.encode_prompts(tokenizer, [pair["instruction"] for pair in asked])
    limits = [min(LONGEST_ANSWER, config.model.context - len(prompt)) for prompt in ids]
    answers = {}
    for finished in engines.generate(folder, ids, limits, config.evaluation.engine,
                                     config.evaluation.batch_size,
                                     config.evaluation.tensor_parallel):
        answers |= dict(finished)
    return [answers[position].text for position in range(len(asked))]


def _judged(settings: Api, asked: list[dict], answers: list[str]) -> Iterator[dict]:
    """Yield a row for each instruction: the answer, the judge's two verdicts and the score."""
    pairs = list(zip(asked, answers, strict=True))
    questions = [text for pair, answer in pairs for text in (
        question(pair["instruction"], answer, pair["output"]),
        question(pair["instruction"], pair["output"], answer))]
    judged = {}
    for finished in api.generate(settings, questions):
        judged |= dict(finished)
    for number, (_, answer) in enumerate(pairs):
        texts = [judged[2 * number + order].text for order in (0, 1)]
        yield {"question": number, "score": score(*texts), "written": answer,
               "judge": [verdict(text) for text in texts]}


def read_prompts(path: Path) -> list[dict]:
    """Read a file of instructions and answers.

    Raises:
        ParamsError: It is not a JSON list of objects with the texts instruction and output.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"--prompts: {path}: {error.strerror}; the kit has no copy of "
                          "AlpacaEval's prompts, alpaca_eval.json") from None
    except (ValueError, RecursionError) as error:
        raise ParamsError(f"--prompts: {path} is not JSON: {error}") from None
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        if not (isinstance(row, dict) and all(isinstance(row.get(key), str)
                                              for key in ("instruction", "output"))):
            raise ParamsError(f"--prompts: {path}, entry {number}: expected an object with the "
                              "texts instruction and output")
    if not rows or isinstance(rows, dict):
        raise ParamsError(f"--prompts: {path}: expected a list of objects")
    return rows


def read_judge(path: Path) -> Api:
    """Read the settings of a judge's server.

    Raises:
        ParamsError: The file cannot be read, or a key is wrong; names it without its value, which
            may be a secret.
    """
    try:
        return Api.model_validate(params.read(path))
    except ValidationError as error:
        [problem, *_] = error.errors(include_input=False)
        where = ".".join(map(str, problem["loc"]))
        raise ParamsError(f"{path}: {where}: {problem['msg']}") from None
