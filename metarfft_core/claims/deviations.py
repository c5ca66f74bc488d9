"""How a run differs from the paper's, for the verdict on a number of the paper's own model.

`data/paper_protocol.yaml` has the paper's values. A method is compared only in what it depends on:
the baselines need no RF-pretraining, and 1-shot prompts no adaptation.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from metarfft_core import tasks
from metarfft_core.analysis.stored import LENGTHS, Found
from metarfft_core.params import METHODS, Params
from metarfft_core.system import yaml_files

PAPER = Path(__file__).parent.parent / "data" / "paper_protocol.yaml"


@cache
def protocol() -> dict:
    """Read the file of what the paper states of its runs."""
    return yaml_files.read(PAPER)


def deviations(found: Found) -> list[str]:
    """Name every key in which a run differs from the paper, with both values; [] if there is none.

    For a number that is a difference of two methods, those of both.
    """
    methods = [name for name in (found.method, found.line.minus) if name]
    named = [*_evaluated(found), *(text for name in methods for text in _trained(found, name))]
    return list(dict.fromkeys(named))


def _evaluated(found: Found) -> Iterator[str]:
    """Name what differs in the evaluation."""
    missing = [task for task in found.line.tasks if task not in found.cells]
    if missing:
        yield f"{len(missing)} of the {len(found.line.tasks)} tasks were not evaluated"
    if any(not set(LENGTHS) <= set(lengths) for lengths in found.cells.values()):
        yield f"corpus.evaluation.lengths are not {LENGTHS[0]} to {LENGTHS[-1]}"
    samples = found.config.corpus.evaluation.samples_per_length
    wanted = protocol()["corpus"]["evaluation"]["samples_per_length"]
    if samples < wanted:
        yield f"corpus.evaluation.samples_per_length is {samples}, the paper's {wanted}"
    for api in found.config.evaluation.api:
        if api.name == found.method:
            yield from _differing(f"evaluation.api {api.name}", api, protocol()["api"])


def _trained(found: Found, method: str) -> Iterator[str]:
    """Name what differs in what a method was trained on, and how."""
    way, config, paper = METHODS.get(method), found.config, protocol()
    if way is None:  # an API model
        return
    if way.format == "rfft":
        yield from _differing("corpus", config.corpus, {"wording": paper["corpus"]["wording"]})
    if way.start == "pretrained":
        yield from _pretraining_tasks(config, found.line.pretraining)
        yield from _samples(config, "pretrain")
        yield from _settings(found, "pretraining")
        if not config.pretraining.in_context_share:
            yield "pretraining.in_context_share is 0, the paper adds samples with an exemplar"
        else:
            yield from _differing("corpus.in_context", config.corpus.in_context,
                                  paper["corpus"]["in_context"])
    if way.adapted:
        yield from _samples(config, "adaptation")
        yield from _settings(found, "adaptation")


def _pretraining_tasks(config: Params, wanted: str) -> Iterator[str]:
    """Name what is missing from, or beside, the tasks of the RF-pretraining of a line."""
    if wanted == "one":
        return  # which one is not stated
    paper = {task.id for task in tasks.select(
        split="pretrain", source="leetcode" if wanted == "leetcode" else None)}
    own = set(config.corpus.pretrain.tasks)
    if own != paper:
        yield (f"corpus.pretrain.tasks are {len(own)}, of which {len(own & paper)} are among the "
               f"paper's {len(paper)}")


def _samples(config: Params, part: str) -> Iterator[str]:
    """Name the differing lengths and numbers of the samples of a part of the corpus."""
    samples, paper = getattr(config.corpus, part), protocol()["corpus"][part]
    first, last = map(int, paper["lengths"].split("-"))
    if samples.lengths != list(range(first, last + 1)):
        yield f"corpus.{part}.lengths are not {first} to {last}"
    yield from _differing(f"corpus.{part}", samples,
                          {"samples_per_length": paper["samples_per_length"]})


def _settings(found: Found, stage: str) -> Iterator[str]:
    """Name the differing settings of a stage."""
    paper = protocol()[stage].get(found.line.model)
    if paper is None:
        yield f"{stage}: the paper does not state its settings for this model"
    else:
        yield from _differing(stage, getattr(found.config, stage), paper)


def _differing(section: str, own: Any, paper: Mapping[str, Any]) -> Iterator[str]:
    for key, value in paper.items():
        if getattr(own, key) != value:
            yield f"{section}.{key} is {_shown(getattr(own, key))}, the paper's {_shown(value)}"


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
