"""Reads the folder of a run without a model: parameters, manifests, rows."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metarfft_core import params
from metarfft_core.evaluation import finished_rows
from metarfft_core.evaluation.kept import prompt_hash
from metarfft_core.params import METHODS, Params, ParamsError
from metarfft_core.system import files, places

_FACTS = {"git_commit": "git commit", "engine": "engine", "device": "device", "gpu": "GPU",
          "processes": "processes", "compute": "compute"}  # keys of a manifest

Row = dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """The content of a run's folder."""

    folder: Path
    parameters: dict
    manifests: dict[str, dict]  # by "corpus", "pretrain", "adapt/<task>/<method>"
    cells: dict[str, dict]  # by "<method>/<file's stem>"; some are not finished

    @property
    def name(self) -> str:
        return self.parameters["name"]

    @property
    def seed(self) -> int:
        return self.parameters["seed"]

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The rows of the finished cells by method, without their texts.

        Raises ParamsError if a file is not the one that the evaluation finished.
        """
        methods: dict[str, list[Row]] = {}
        for name, about in self.cells.items():
            if about["finished"]:
                methods.setdefault(name.partition("/")[0], []).extend(self._cell(name, about))
        order = [*METHODS, *methods]
        return dict(sorted(methods.items(), key=lambda item: order.index(item[0])))

    @cached_property
    def texts(self) -> tuple[int, int]:
        """How many rows of the finished cells have their text, and how many there are."""
        kept = total = 0
        for name, about in self.cells.items():
            for row in self._read(name, about) if about["finished"] else ():
                kept, total = kept + ("text" in row), total + 1
        return kept, total

    def _cell(self, name: str, about: dict) -> list[Row]:
        return [{"seed": self.seed, "prompt": prompt_hash(row), **{
            key: row[key] for key in ("method", "task", "seed", "length", "index", "gold_answer",
                                      "answer", "outcome") if key in row}}
            for row in self._read(name, about)]

    def _read(self, name: str, about: dict) -> list[dict]:
        return finished_rows(self.folder / "evaluation" / f"{name}.jsonl", about, self.seed)


def open_run(source: Params | str | os.PathLike) -> RunFolder:
    """Open a run, given its parameters, its parameter file or its folder, wherever that is.

    Raises:
        ParamsError: If there is no run, or if it was made with other parameters than those given.
    """
    if isinstance(source, Params):
        config, folder = source, source.folder
    elif places.absolute(source).is_dir():
        config, folder = None, places.absolute(source).resolve()
    else:
        config = params.load(source)
        folder = config.folder
    path = folder / "params.yaml"
    if not path.exists():
        raise ParamsError(f"{folder}: expected the folder of a run, but there is no params.yaml")
    if config and params.load(path).digest != config.digest:
        raise ParamsError(f"{folder} was made with other parameters than those given; to report on "
                          "its results, name the folder")
    names = ["corpus", "pretrain", *_names(folder, "adapt/*/*/manifest.json")]
    manifests = {name: files.read_json(folder / name / "manifest.json") for name in names
                 if (folder / name / "manifest.json").exists()}
    cells = {f"{path.parent.name}/{path.stem}": files.read_json(path)
             for path in sorted((folder / "evaluation").glob("*/*.json"))}
    return RunFolder(folder, params.read(path), manifests, cells)


def _names(folder: Path, pattern: str) -> list[str]:
    return [str(path.parent.relative_to(folder)) for path in sorted(folder.glob(pattern))]


def facts(run: RunFolder) -> dict[str, str]:
    """Return what made the results; if the stages disagree, each value with its stages."""
    found: dict[str, dict[str, list[str]]] = {}

    def add(name: str, value: Any, stage: str) -> None:
        found.setdefault(name, {}).setdefault(str(value), []).append(stage)

    parts = [*run.manifests.items(), *((f"evaluation/{name}", cell)
                                       for name, cell in run.cells.items())]
    for name, manifest in parts:
        stage = name.partition("/")[0]
        # A manifest has the digest as "params_digest", and the parameters themselves as "params".
        # The description of an evaluated cell has the digest as "params".
        add("parameters", manifest.get("params_digest") or manifest["params"], stage)
        for key, fact in _FACTS.items():
            if manifest.get(key) is not None:
                add(fact, manifest[key], stage)
        for library, version in manifest.get("versions", {}).items():
            add(f"version of {library}", version, stage)
        if "base_model" in manifest:
            base = manifest["base_model"]
            add("starting model", f"{base['name']} {base['sha256'][:12]}", stage)
    if "corpus" in run.manifests:
        shards = run.manifests["corpus"]["shards"]
        add("corpus (SHA-256 of its files)",
            _digest((path, shard["sha256"]) for path, shard in shards.items()), "corpus")
    for name, weights in _weights(run).items():
        add(f"weights of {name}", weights, name)
    order = ["git commit", "parameters", "corpus (SHA-256 of its files)", "starting model"]
    return {name: _by_stage(found[name]) for name in [*order, *found] if name in found}


def _by_stage(values: dict[str, list[str]]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({', '.join(dict.fromkeys(stages))})"
                     for value, stages in values.items())


def _weights(run: RunFolder) -> dict[str, str]:
    """Return a hash of the weights of RF-pretraining, and of all adapted models of each method."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, manifest in run.manifests.items():
        if "weights" not in manifest:
            continue
        group = "RF-pretraining" if name == "pretrain" else manifest["method"]
        groups.setdefault(group, []).extend((f"{name}/{file}", sha256)
                                            for file, sha256 in manifest["weights"].items())
    return {group: _digest(hashes) for group, hashes in groups.items()}


def _digest(hashes: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(hashes))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
