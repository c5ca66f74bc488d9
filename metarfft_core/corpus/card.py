"""The data set card of a corpus (the paper's Section 3 and Appendix A): its contents in numbers.

The card is corpus/README.md. Its front matter makes the corpus folder a data set in the format of
the Hub: `datasets.load_dataset(folder, "evaluation-rfft")` opens one split in one format.
"""

import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from metarfft_core import tasks
from metarfft_core.corpus.splits import SCHEMA, SYNTHETIC
from metarfft_core.params import Params, ParamsError
from metarfft_core.system.files import read_json, write_whole
from metarfft_core.system.markdown import Markup, plain, table

COLUMNS = {
    "task": "Id of the task (see Sources), or of the synthetic rule.",
    "length": "Length of the instance, in the task's own unit (see Sources).",
    "index": "Number of the draw: seed, stream, task, length and index give the sample again.",
    "stream": "A part of that key: the name of the split, `evaluation` for each that begins so.",
    "format": "How the sample is said: `direct` (answer alone), `scratchpad` (values that changed, "
              "then the answer), `rfft` (rule in the prompt, its recited execution, the answer) or "
              "`rfft_nl` (the same, the rule in sentences).",
    "prompt": "What the model is given, before any chat template.",
    "completion": "What the model is to write. It ends with `So the answer is` and the answer.",
    "inputs": "The rule's arguments by name: a dict as a Python literal (`ast.literal_eval`).",
    "answer": "What the rule returns on them, as a Python literal.",
}
"""The contents of each column of the corpus."""

SPLITS = {
    "pretrain": ("train", "Pre-training tasks, for RF-pretraining."),
    "validation": ("validation", "Pre-training tasks at a greater length, for early stopping."),
    "adaptation": ("train", "Downstream tasks, for the adaptation to each of them."),
    "adaptation_validation": ("validation", "Downstream tasks at the lengths of the adaptation."),
    "evaluation": ("test", "Downstream tasks, to measure accuracy by length."),
    "evaluation_1shot": ("test", "The same instances, each with a worked exemplar before its "
                                 "question."),
    "evaluation_counterfactual": ("test", "Downstream tasks with a changed rule and the same "
                                          "inputs, for models adapted to the unchanged one."),
    "in_context": ("train", "Pre-training tasks and synthetic rules, each prompt with a worked "
                            "exemplar of the same rule before its question."),
    "rl": ("train", "Downstream tasks, whose prompts reinforcement learning answers."),
    "rl_evaluation": ("test", "Downstream tasks, to measure accuracy along reinforcement "
                              "learning."),
}
"""For each split of ours, its name on the Hub and its purpose."""

_SYNTHETIC = "synthetic rules"

_MAKING = """## How the samples were made

A sample is drawn from a seed of its own, `Random(f"{seed}/{stream}/{task}/{length}/{index}")`, so
it can be drawn again alone, on any machine; a counterfactual task draws under the id of the task
whose rule it changes. The rule of a task is an ordinary Python function; the answer is what it
returns, and the completion is what an instrumented run of it recites: no line of it is written by
hand or by a model. Inputs of the training data are kept out of the other splits if the task has
enough instances; otherwise they are counted below.
"""

_TASKS = """## Tasks of each split

Duplicates repeat the inputs of another sample of their length. Overlaps are samples held out whose
inputs the training data holds too, because the task has too few others. The commonest answer is
given by its share of all answers; yes is the share of True, where every answer is a truth value.
"""

_LICENCE = """## Licence

Questions, rules, traces and synthetic rules are texts of this kit, under the Apache License 2.0.
A LeetCode problem is named and linked as the source of an idea; the question and the rule are our
own, and no statement, example or test of LeetCode is part of this data set. The tasks of Big-Bench
Hard (BBH), NUPA and symbolic reasoning follow the published descriptions; every instance was drawn
anew.
"""

_CITATION = """## Citation

```bibtex
@inproceedings{hu2025metarfft,
  title     = {Beyond Single-Task: Robust Multi-Task Length Generalization for {LLMs}},
  author    = {Hu, Yi and Kang, Shijia and Yang, Haotong and Xu, Haotian and Zhang, Muhan},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2025},
  url       = {https://arxiv.org/abs/2502.11525}
}
```
"""


def write(config: Params) -> Path:
    """Write the card of a built corpus; returns its path.

    Raises:
        ParamsError: The corpus is not built.
    """
    folder = config.folder / "corpus"
    write_whole(folder / "README.md", text(config, read_manifest(config)))
    return folder / "README.md"


def read_manifest(config: Params) -> dict:
    """Read the manifest of a run's corpus.

    Raises:
        ParamsError: The corpus is not built.
    """
    path = config.folder / "corpus" / "manifest.json"
    if not path.exists():
        raise ParamsError(f"the corpus of run {config.name} is not built: there is no {path}")
    return read_json(path)


def text(config: Params, manifest: dict) -> str:
    """The text of the card.

    Args:
        config: The parameters of the run.
        manifest: The corpus's manifest, with all splits or some of them; the card covers these.
    """
    folder = config.folder / "corpus"
    parts = [_front_matter(manifest), _introduction(config, manifest), _columns(),
             _splits(manifest), _MAKING, _TASKS,
             *(_tasks_of(folder, manifest, split) for split in manifest["counts"]),
             _sources(manifest), _LICENCE, _CITATION]
    return "\n".join(parts)


def _formats(manifest: dict, split: str) -> list[str]:
    places = (Path(shard).parts for shard in manifest["shards"])
    return list(dict.fromkeys(format for name, format, _ in places if name == split))


def _configurations(manifest: dict) -> list[tuple[str, str, list[dict]]]:
    """(split, format, the manifest's entries of its shards) for each split and format."""
    return [(split, format, [shard for path, shard in manifest["shards"].items()
                             if path.startswith(f"{split}/{format}/")])
            for split in manifest["counts"] for format in _formats(manifest, split)]


def _front_matter(manifest: dict) -> str:
    configs, columns = [], []
    for split, format, _ in _configurations(manifest):
        name = f"{split}-{format}"
        configs.append({"config_name": name, "data_files": [
            {"split": SPLITS[split][0], "path": f"{split}/{format}/*.parquet"}]})
        columns.append({"config_name": name, "features": [
            {"name": field.name, "dtype": str(field.type)} for field in SCHEMA]})
    values = {"license": "apache-2.0", "language": ["en"],
              "pretty_name": "Meta-RFFT rule-following samples",
              "task_categories": ["text-generation"],
              "tags": ["rule-following", "length-generalization", "reasoning", "synthetic",
                       "arxiv:2502.11525"],
              "configs": configs, "dataset_info": columns}
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}---\n"


def _introduction(config: Params, manifest: dict) -> str:
    smoke = ("These are samples of a smoke run: too few to train on, and to conclude from.\n\n"
             if config.smoke else "")
    split, format, _ = _configurations(manifest)[0]
    return f"""# Rule-following samples: {config.name}

Samples for *Meta Rule-Following Fine-Tuning* (NeurIPS 2025,
[arXiv 2502.11525](https://arxiv.org/abs/2502.11525)): the rule of a task in the prompt, its
execution recited step by step in the completion. Made with seed {config.seed} by metarfft
{manifest["versions"]["metarfft"]}; `rfft` completions are in the wording `{config.corpus.wording}`.
`manifest.json` holds the parameters, versions and hashes.

{smoke}```python
from datasets import load_dataset

data = load_dataset("path/to/this/folder", "{split}-{format}", split="{SPLITS[split][0]}")
```
"""


def _columns() -> str:
    return "## Columns\n\n" + table(
        ["column", "what it holds"], ([f"`{name}`", text] for name, text in COLUMNS.items()),
        aligned=False)


def _splits(manifest: dict) -> str:
    rows = []
    for split, format, shards in _configurations(manifest):
        hub, purpose = SPLITS[split]
        samples = sum(shard["rows"] for shard in shards)
        rows.append([f"`{split}-{format}`", f"`{hub}`", purpose, f"{samples:,}",
                     _tokens(shards)])
    model = manifest["params"]["model"]["name"]
    return (f"## Configurations\n\nTokens are those of {model}, chat template and end token "
            "included: the mean and, in brackets, the maximum over the first samples of each "
            "length.\n\n"
            + table(["configuration", "split", "what it is for", "samples", "tokens"], rows,
                    aligned=False))


def _tokens(shards: list[dict]) -> str:
    """The mean (weighted by each shard's samples) and maximum of tokens over shards."""
    samples = sum(shard["rows"] for shard in shards)
    if not samples:
        return "-"
    mean = sum(shard["tokens"]["mean"] * shard["rows"] for shard in shards) / samples
    return f"{mean:,.0f} ({max(shard['tokens']['maximum'] for shard in shards):,})"


def _tasks_of(folder: Path, manifest: dict, split: str) -> str:
    """A table of the tasks of a split: the number, diversity and length of their samples."""
    groups: dict[str, list[str]] = {}
    for shard in manifest["counts"][split]:
        label = _SYNTHETIC if shard.startswith(SYNTHETIC) else tasks.label(shard)
        groups.setdefault(label, []).append(shard)
    formats = _formats(manifest, split)
    rows = []
    for label, shards in groups.items():
        files = {format: [f"{split}/{format}/{shard}.parquet" for shard in shards]
                 for format in formats}
        rows.append([label, *_counts([manifest["counts"][split][shard] for shard in shards]),
                     *_answers([folder / path for path in files[formats[0]]]),
                     *(_tokens([manifest["shards"][path] for path in paths])
                       for paths in files.values())])
    left_out = sum(key.startswith(f"{split}/") for key in manifest["left_out"])
    note = ("\nLengths at which samples are left out, because the task cannot draw them or the "
            f"model's context does not hold them: {left_out} (`left_out` in `manifest.json`).\n"
            if left_out else "")
    head = ["task", "samples by length", "duplicates", "overlaps", "commonest answer", "yes",
            *(f"tokens {format}" for format in formats)]
    return f"### {split}\n\n{table(head, rows, aligned=False)}{note}"


def _counts(parts: list[dict]) -> list[str]:
    """Samples by length, duplicates and overlaps, summed over parts of the manifest's counts."""
    samples, duplicates, overlaps = Counter(), 0, 0
    for length, count in ((length, count) for shard in parts for length, count in shard.items()):
        samples[int(length)] += count["samples"]
        duplicates += count["samples"] - count["distinct"]
        overlaps += count["overlap"]
    return [_ranges(samples), f"{duplicates:,}", f"{overlaps:,}"]


def _ranges(samples: dict[int, int]) -> str:
    """Summarise samples by length: {1: 300, 2: 300, 5: 8} is "1-2: 300 each; 5: 8"."""
    runs: list[list[int]] = []
    for length, count in sorted(samples.items()):
        if runs and runs[-1][1:] == [length - 1, count]:
            runs[-1][1] = length
        else:
            runs.append([length, length, count])
    return "; ".join(f"{first}: {count:,}" if first == last else f"{first}-{last}: {count:,} each"
                     for first, last, count in runs) or "-"


def _answers(paths: list[Path]) -> list[str]:
    """The shares of the commonest answer and, if all answers are truth values, of yes."""
    answers = Counter()
    for path in paths:
        answers.update(pq.read_table(path, columns=["answer"],
                                     partitioning=None)["answer"].to_pylist())
    if not answers:
        return ["-", "-"]
    commonest = f"{max(answers.values()) / answers.total():.1%}"
    truth = set(answers) <= {"True", "False"}
    return [commonest, f"{answers['True'] / answers.total():.1%}" if truth else ""]


def _sources(manifest: dict) -> str:
    shards = dict.fromkeys(shard for held in manifest["counts"].values() for shard in held)
    ids = [shard for shard in shards if not shard.startswith(SYNTHETIC)]
    rows = []
    for task in map(tasks.get, ids):
        summary = re.sub(r"leetcode\.com/problems/([\w-]+)",
                         r"[\1](https://leetcode.com/problems/\1)",
                         plain(" ".join(task.summary.split())))
        rows.append([task.title, task.id, task.name, task.source, Markup(summary),
                     task.length_definition])
    text = table(["task", "id", "name", "source", "what it is", "what length counts"], rows,
                 aligned=False)
    if len(ids) < len(shards):
        text += ("\nThe synthetic rules are loops over two lists, drawn at random out of the "
                 "paper's snippets; their length is that of the longer list.\n")
    return "## Sources\n\n" + text
