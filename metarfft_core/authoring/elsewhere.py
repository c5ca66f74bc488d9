"""A second draw of instances in other processes, to find samplers that depend on their process.

A set of words has a different order in each process, and the locale and the local time differ
between machines. So separate processes, started once for all tasks, import the tasks again and
draw their instances, which are compared with those drawn here.

They also draw first: a sampler or a rule that does not end, or fills the memory, does so there,
where it can be ended.
"""

import json
import locale
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Self

from metarfft_core import tasks
from metarfft_core.tasks.definition import Instance, Task

ENVIRONMENTS = (
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "KIT-13:45"},
    {"PYTHONHASHSEED": "2", "LC_ALL": "de_DE.UTF-8", "TZ": "KIT+11:30"},
)
"""The environments of the processes. There are two because a set of two words has the same order
under every second hash seed, and because this process may itself have one of the settings."""
PATIENCE = 60
"""The seconds that the instances of one length may take in another process."""
MEMORY = 4 * 2**30
"""The bytes of memory that another process may use."""
STREAM = "check"
"""The stream of the instances that are compared."""


class Difference(NamedTuple):
    """An instance that differs in another process."""

    length: int
    index: int
    environment: str
    text: str  # of the other instance


class Endless(Exception):
    """Raised for instances that another process cannot draw within its bounds."""


class NotDrawn(Exception):
    """Raised for a task that another process cannot draw; the message says why."""


def text(instance: Instance) -> str:
    """The text of an instance that must be the same in every process."""
    return repr((instance.inputs, instance.answer))


class Elsewhere:
    """The other processes; they draw while the `with` block runs.

    Args:
        wanted: The tasks with their lengths, in the order of the comparisons.
        count: The number of instances of each length.
        program: The Python code that the processes execute; it calls `draw`.
    """

    def __init__(self, wanted: Sequence[tuple[Task, Sequence[int]]], count: int, program: str):
        requests = [_request(task, lengths) for task, lengths in wanted if _can_import(task)]
        self.message = json.dumps({"count": count, "tasks": requests}) if requests else ""
        self.program = program
        self.processes: list[tuple[str, subprocess.Popen]] = []
        self.unread: list[bytes] = []  # of each process: what is read beyond the last line
        self.answers: dict[tuple[str, int], list[dict]] = {}  # by id and length, of each process

    def __enter__(self) -> Self:
        path = os.pathsep.join(part or os.getcwd() for part in sys.path)
        for environment in ENVIRONMENTS if self.message else ():
            with tempfile.TemporaryFile("w+") as given:
                given.write(self.message)
                given.seek(0)
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", self.program], stdin=given,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                    env={**os.environ, **environment, "PYTHONPATH": path})
            name = " ".join(f"{key}={value}" for key, value in environment.items())
            self.processes.append((name, process))
            self.unread.append(b"")
        return self

    def __exit__(self, *error: object) -> None:
        for _, process in self.processes:
            process.kill()
            process.stdout.close()
            process.wait()

    def wait(self, task: Task, length: int) -> None:
        """Wait until the other processes have drawn the instances of the next length of a task.

        Call it for each task and length, in their order. A task that cannot be imported again is
        not waited for.

        Raises:
            Endless: They take more than PATIENCE seconds or MEMORY bytes; the message says which.
        """
        if not _can_import(task):
            return
        until = time.monotonic() + PATIENCE
        texts = self.answers[task.id, length] = []
        for number in range(len(self.processes)):
            line = self._line(number, until)
            texts.append(json.loads(line) if line else {"why": "the process ended"})
            if texts[-1].get("memory"):
                raise Endless(f"it takes more than {MEMORY // 2**30} GiB of memory")

    def _line(self, number: int, until: float) -> bytes:
        """The next line of a process; empty if it has ended."""
        file = self.processes[number][1].stdout
        while b"\n" not in self.unread[number]:
            if not select.select([file], [], [], max(0, until - time.monotonic()))[0]:
                raise Endless(f"it takes more than {PATIENCE} seconds")
            part = file.read(2**16)
            if not part:
                return b""
            self.unread[number] += part
        line, _, self.unread[number] = self.unread[number].partition(b"\n")
        return line

    def compare(self, task: Task, drawn: Mapping[int, Sequence[str]]) -> Difference | None:
        """The first instance that differs in another process, or None.

        Args:
            drawn: The texts of the instances drawn here, by length.

        Raises:
            NotDrawn: The other processes cannot draw the task.
        """
        if not _can_import(task):
            raise NotDrawn(f"it is declared in {task.sampler.__module__}, which cannot be imported "
                           "again; declare it in a file and run metarfft check FILE.py")
        for number, (name, _) in enumerate(self.processes):
            for length, here in drawn.items():
                answer = self.answers[task.id, length][number]
                if "why" in answer:
                    raise NotDrawn(answer["why"])
                for index, (one, other) in enumerate(zip(here, answer["texts"], strict=False)):
                    if one != other:
                        return Difference(length, index, name, other)
        return None


def _can_import(task: Task) -> bool:
    name = getattr(task.sampler, "__module__", None)
    return name in sys.modules and name not in ("__main__", "builtins")


def _request(task: Task, lengths: Sequence[int]) -> dict[str, Any]:
    module = sys.modules[task.sampler.__module__]
    return {"id": task.id, "module": module.__name__, "file": getattr(module, "__file__", None),
            "declaration": _declaration(task), "lengths": list(lengths)}


def _declaration(task: Task) -> list[str]:
    """The parts of a task that show whether a reimported task is the same one."""
    return [task.rule_source, task.sampler.__qualname__, task.base.id]


# --- in the other processes

def draw(load: Callable[[str], list[Task]]) -> None:
    """Read a request from standard input, and write a line of JSON for each task and length.

    Args:
        load: Imports a file of tasks that is not a module on the path.
    """
    request = json.load(sys.stdin)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (
        MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # the tasks may print
        _use_known_locale()
        for asked in request["tasks"]:
            for length in asked["lengths"]:
                print(json.dumps(_answer(load, asked, length, request["count"])), file=answers,
                      flush=True)


def _answer(load: Callable[[str], list[Task]], one: Mapping[str, Any], length: int,
            count: int) -> dict[str, Any]:
    """The texts of the instances of one length, up to the first that fails, or why there are none.
    """
    try:
        task, texts = _find(load, one), []
    except Exception as error:
        return {"why": f"{type(error).__name__}: {error}"}
    for index in range(count):
        try:
            texts.append(text(task.sample(length=length, seed=0, index=index, stream=STREAM)))
        except MemoryError:
            return {"memory": True}
        except Exception as error:  # the sampler may not fail in the first process
            return {"texts": [*texts, f"{type(error).__name__}: {error}"]}
    return {"texts": texts}


def _use_known_locale() -> None:
    """Set the locale to C if the environment's locale is not installed, as it would fail."""
    try:
        locale.setlocale(locale.LC_NUMERIC, "")
    except locale.Error:
        os.environ["LC_ALL"] = "C"
    locale.setlocale(locale.LC_NUMERIC, "C")


def _find(load: Callable[[str], list[Task]], asked: Mapping[str, Any]) -> Task:
    """Import the requested task again; raises LookupError if it is missing or differs."""
    matching = [task for task in _tasks(load, asked["module"], asked["file"])
                if task.id == asked["id"]]
    try:
        task = matching[0] if matching else tasks.get(asked["id"])
    except KeyError:
        raise LookupError(f"{asked['module']} does not declare it when it is imported again"
                          ) from None
    if _declaration(task) != asked["declaration"]:
        raise LookupError(f"{asked['module']} declares another task of this id when it is imported "
                          "again")
    return task


@cache
def _tasks(load: Callable[[str], list[Task]], name: str, file: str | None) -> list[Task]:
    """The tasks of a module, which is imported by its name or else from its file."""
    try:
        return [value for value in vars(import_module(name)).values() if isinstance(value, Task)]
    except ModuleNotFoundError as error:
        if file is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        return load(file)
