"""How far long work is: lines on a terminal, a compact display in a notebook.

Long work (a corpus, trainings, an evaluation) reports lines. In a Jupyter kernel, `work` shows them
as one output that is updated in place, and writes them to a file. Everywhere else each line is
printed. The display is plain HTML and text, so a stored notebook holds its last state.
"""

import contextvars
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

_TICK = 0.5  # seconds between two looks for something new to show
_HEARTBEAT = 5.0  # seconds after which the display is updated even if nothing is new
_NEWEST = 3  # lines of the log that are shown while the work runs
_KEPT = 30  # lines of the log that are folded below the final display

_STEP = re.compile(r"\s*step (\d+)/(\d+)|\s*(?:corpus: )?([\d,]+) of ([\d,]+) (?:samples|shards),")
_LOSS = re.compile(r"(?<!validation )loss (\d+\.\d+)")
_HELD_OUT = re.compile(r"validation loss (\d+\.\d+)")
_RATE = re.compile(r"([\d,]+) (tokens/s|a second)")
_LEFT = re.compile(r"([\d,.]+ (?:s|min)) left")


class Stopped(KeyboardInterrupt):
    """An interrupt of long work in a notebook, which shows one line instead of a traceback."""

    def __init__(self):
        super().__init__("stopped; run this cell again to go on")

    def _render_traceback_(self) -> list[str]:
        """What IPython shows."""
        return [str(self)]


@dataclass
class Status:
    """One command or stage, and the numbers of its newest lines, as these state them."""

    state: str = "waiting"  # then running; at last finished (before), failed or stopped
    done: int = 0
    total: int = 0
    loss: str = ""
    held_out: str = ""
    rate: str = ""
    left: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def read(self, line: str) -> None:
        """Take the numbers of a line; keep the earlier ones where the line has none."""
        if match := _STEP.match(line):
            done, total = filter(None, match.groups())
            self.done, self.total = int(done.replace(",", "")), int(total.replace(",", ""))
        for name, pattern in (("loss", _LOSS), ("held_out", _HELD_OUT), ("left", _LEFT)):
            if match := pattern.search(line):
                setattr(self, name, match[1])
        if match := _RATE.search(line):
            self.rate = " ".join(match.groups())

    def enter(self, state: str) -> None:
        """Change the state, and note when the job began or ended."""
        self.state = state
        if state == "running":
            self.began = time.monotonic()
        else:
            self.ended = time.monotonic()


_shown: "_Display | None" = None


@contextmanager
def work(what: str, log: Path) -> Iterator[None]:
    """Show the lines that are reported in this block as one display, if this is a Jupyter kernel.

    A block inside another one belongs to the outer display.

    Args:
        what: The name of the work; jobs may have it as their first word.
        log: The file that all lines are added to.

    Raises:
        Stopped: The kernel was interrupted.
    """
    global _shown
    if _shown or not _in_kernel():
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        _shown = display = _Display(what, log, file)
        display.start()
        try:
            yield
        except KeyboardInterrupt:
            display.end("stopped")
            raise Stopped from None
        except BaseException:
            display.end("failed")
            raise
        else:
            display.end("finished")
        finally:
            _shown = None


def report(line: str, job: str = "", prefix: str = "") -> None:
    """Print a line, or show it in the display of the surrounding `work`.

    Args:
        line: The text, without its line break.
        job: The job whose line it is, if it is one.
        prefix: The text before the line if jobs run side by side.
    """
    if _shown:
        _shown.add(line, job, prefix)
    else:
        print(f"{prefix}{line}\n", end="", flush=True)  # in one piece: other threads print, too


def enter(job: str, state: str) -> None:
    """Note that a job is now waiting, running, finished, finished before, failed or stopped."""
    if _shown:
        _shown.enter(job, state)


def _in_kernel() -> bool:
    """Whether this process is a Jupyter kernel (IPython on a terminal is none)."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


class _Display:
    """One output of a notebook cell, updated by a thread while the work runs."""

    def __init__(self, what: str, log: Path, file):
        self.what, self.log, self.file = what, log, file
        self.jobs: dict[str, Status] = {}
        self.lines: deque[str] = deque(maxlen=_KEPT)
        self.state = "running"
        self.lock = threading.RLock()
        self.over, self.changed = threading.Event(), True
        self.began = self.heard = self.drawn = time.monotonic()

    def start(self) -> None:
        """Show the first state. The thread's context makes its updates part of this cell."""
        from IPython.display import display

        self.handle = display(self._bundle(), raw=True, display_id=True)
        self.thread = threading.Thread(target=contextvars.copy_context().run,
                                       args=[self._update], daemon=True)
        self.thread.start()

    def add(self, line: str, job: str, prefix: str) -> None:
        with self.lock:
            self.lines.append(prefix + line)
            self.file.write(prefix + line + "\n")
            self.file.flush()
            self.heard, self.changed = time.monotonic(), True
            if job:
                self.jobs.setdefault(job, Status("running")).read(line)

    def enter(self, job: str, state: str) -> None:
        with self.lock:
            self.jobs.setdefault(job, Status()).enter(state)
            self.changed = True

    def end(self, state: str) -> None:
        """Show the final state, in which nothing runs or waits."""
        self.over.set()
        self.thread.join()
        with self.lock:
            self.state = state
            for job in self.jobs.values():
                if job.state in ("waiting", "running"):
                    job.enter("not started" if job.state == "waiting" else state)
            self._draw()

    def _update(self) -> None:
        while not self.over.wait(_TICK):
            with self.lock:
                if self.changed or time.monotonic() - self.drawn >= _HEARTBEAT:
                    self._draw()

    def _draw(self) -> None:
        self.changed, self.drawn = False, time.monotonic()
        self.handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        headline = self._headline()
        return {"text/plain": f"{headline}\nlog: {self.log}",
                "text/html": _html(headline, self)}

    def _headline(self) -> str:
        """One line: what, how much is finished, since when, and when the last line came."""
        now = time.monotonic()
        states = [job.state for job in self.jobs.values()]
        if self.state == "finished" and set(states) == {"finished before"}:
            return f"{self.what}: finished before"
        parts = []
        if len(states) > 1:
            finished = sum(state.startswith("finished") for state in states)
            parts.append(f"{finished} of {len(states)} finished")
            parts += [f"{states.count(state)} {state}" for state in ("running", "failed", "stopped")
                      if state in states]
        if self.state == "running":
            parts += [f"{_duration(now - self.began)} so far",
                      f"last line {_duration(now - self.heard)} ago" if self.lines else "starting"]
        else:
            parts.insert(0, f"{self.state} after {_duration(now - self.began)}")
        return f"{self.what}: {', '.join(parts)}"


def _html(headline: str, shown: _Display) -> str:
    """The display as HTML without script or style; bars and newest lines only while it runs."""
    running = shown.state == "running"
    at_work = {name: job for name, job in shown.jobs.items() if job.state == "running"}
    others = {name: job for name, job in shown.jobs.items()
              if job.state not in ("running", "waiting")}
    parts = [f"<p><b>{escape(headline)}</b></p>"]
    if at_work:
        parts.append(_table(shown.what, at_work, bars=True))
    if others and not running:
        parts.append(_table(shown.what, others))
    if running:
        parts.append(f"<pre>{escape(_last(shown.lines, _NEWEST))}</pre>")
        parts.append(f"<p>Log: <code>{escape(str(shown.log))}</code></p>")
    else:
        parts.append("<details><summary>The last lines of the log, "
                     f"<code>{escape(str(shown.log))}</code></summary>"
                     f"<pre>{escape(_last(shown.lines, _KEPT))}</pre></details>")
    return "\n".join(parts)


def _table(what: str, jobs: dict[str, Status], bars: bool = False) -> str:
    """A row for each job; a column that is empty in all rows is left out."""
    rows = []
    for name, job in jobs.items():
        label = re.sub(rf"^{re.escape(what)} (of )?", "", name)
        row = {what: escape(label), "done": f"{job.done:,} of {job.total:,}" if job.total else "",
               "loss": job.loss, "held-out loss": job.held_out, "speed": job.rate}
        if bars:
            row = row | {"time left": job.left, "": _bar(job, label)}
        else:
            row |= {"state": job.state,
                    "took": _duration(job.ended - job.began) if job.state == "finished" else ""}
        rows.append(row)
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    head = "".join(f'<th scope="col">{escape(name or "bar")}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{row[name]}</td>" for name in columns) + "</tr>"
                   for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _bar(job: Status, label: str) -> str:
    if not job.total:
        return ""
    return (f'<progress value="{job.done}" max="{job.total}" aria-label="{escape(label)}">'
            f"{job.done / job.total:.0%}</progress>")


def _last(lines: deque[str], count: int) -> str:
    return "\n".join(list(lines)[-count:])


def _duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
