"""Files that are either whole or absent, and their hashes.

Each file is written under a temporary name, then renamed. The hashes of large files are kept in the
cache folder, so that the processes of a run read weights once and not each time.
"""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from metarfft_core.system import places
from metarfft_core.system.places import ParamsError

LARGE = 32 * 2**20
"""Bytes of a file from which on its hash is kept in the cache folder."""
_SETTLED = 2.0  # seconds after a change, when another one surely changes a file's times
_OF_A_DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS}
_hashes: dict[tuple, str] = {}


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that names its owner: this machine and this process."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")


def remove_leftovers(folder: Path, pattern: str = ".*.tmp") -> None:
    """Delete temporary files and folders left by dead processes.

    This machine cannot tell whether the processes of another one, or of a container that is gone,
    are alive. Theirs are deleted once nothing in them has changed for a day.

    Args:
        folder: The folder to clean.
        pattern: The glob pattern of the names to look at.
    """
    ours = re.compile(rf"\.{re.escape(platform.node())}\.(\d+)\.tmp")
    theirs = re.compile(r"\.[\w.-]+\.\d+\.tmp")
    for path in folder.glob(pattern):
        match = ours.search(path.name)
        if (not _is_alive(int(match[1]))) if match else (
                theirs.search(path.name) and _is_old(path)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make errors raised in this block name `path`.

    Raises:
        OSError: A disk error (such as a full disk) that named no file now names `path`. The errors
            that torch and safetensors raise on a full disk become such an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in _OF_A_DISK:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)$", str(error))
        if number:  # of safetensors and tokenizers
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        if isinstance(error, RuntimeError) and any(  # torch
                sign in str(error) for sign in ("inline_container.cc", "iostream error")):
            raise OSError(errno.EIO, "a file could not be written to its end, as on a full disk",
                          str(path)) from error
        raise


def _is_old(path: Path) -> bool:
    """Whether neither a path nor anything in it has changed for a day."""
    with suppress(OSError):  # its owner may be alive and at work
        times = [member.stat().st_mtime for member in (path, *path.rglob("*"))]
        return time.time() - max(times) > 24 * 3600
    return False


def _is_alive(process: int) -> bool:
    import psutil

    try:  # a zombie has ended, but its parent has not collected its exit status
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def explain(error: OSError) -> str:
    """Describe a system error in one line that names the file."""
    reason = " ".join((error.strerror or str(error)).split())
    return f"{error.filename}: {reason}" if error.filename is not None else reason


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with naming(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; rename it to `path` if the block succeeds.

    A folder that was at `path` before is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, f".{path.name}.*.tmp")
    temporary = temporary_name(path)
    try:
        with naming(path):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            shutil.rmtree(path, ignore_errors=True)
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`; a reader sees the old file or the new one, never a partial one."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, as `write_whole` does."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class _Mapping(dict):
    """What a JSON file holds; a key that is missing is an error that names the file."""

    def __init__(self, values: dict, path: Path):
        super().__init__(values)
        self._path = path

    def __missing__(self, key: str):
        raise ParamsError(_damaged(self._path, f"there is no {key}"))


def _damaged(path: Path, reason: object) -> str:
    reason = " ".join(str(reason).split())
    return f"{path} is damaged, delete it or put back what was written: {reason}"


def read_json(path: Path) -> dict:
    """Read a JSON file that holds a mapping, as all that the kit writes do.

    Raises:
        json.JSONDecodeError: The file is damaged. The message (of a ValueError) names the file.
        ParamsError: Later, when a key of its mapping is read that it has not.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise json.JSONDecodeError(_damaged(path, error.msg), error.doc, error.pos) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise json.JSONDecodeError(_damaged(path, error), "", 0) from None
    if not isinstance(value, dict):
        raise json.JSONDecodeError(_damaged(path, "expected a mapping"), "", 0)
    return _Mapping(value, path)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex.

    A process reads each file once, at about a gigabyte a second, and a `LARGE` one only if its hash
    is not kept. A file is read again if its inode, size or times have changed. Bytes that a disk
    changes by itself are found by `verify_hashes`.
    """
    about = _about(path)
    key = tuple(about.values())
    if key not in _hashes:
        _hashes[key] = (_read_whole(path) if about["size"] < LARGE else _kept(path, about))
    return _hashes[key]


def all_sha256(paths: list[Path], anew: bool = False) -> list[str]:
    """SHA-256 of several files, some at once: a core hashes about a gigabyte a second.

    Args:
        paths: The files.
        anew: Whether to read them even if their hashes are known or kept, and keep none.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(_read_whole if anew else sha256, paths))


def _about(path: Path) -> dict[str, str | int]:
    status = os.stat(path)
    return {"path": os.path.abspath(path), "inode": status.st_ino, "size": status.st_size,
            "mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}


def _read_whole(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(path: Path, about: dict[str, str | int]) -> str:
    """Return the kept hash of a file that looks like this, or read the file and keep its hash."""
    record = _hash_folder() / f"{hashlib.sha256(about['path'].encode()).hexdigest()[:32]}.json"
    stored = _record(record)
    if stored and stored["about"] == about:
        return stored["sha256"]
    value = _read_whole(path)
    if time.time() - about["mtime_ns"] / 1e9 > _SETTLED and _about(path) == about:
        with suppress(OSError):  # a cache that cannot be written costs time, nothing else
            write_json(record, {"about": about, "sha256": value})
    return value


def _hash_folder() -> Path:
    return (places.variable("METARFFT_CACHE") or places.absolute("~/.cache/metarfft")) / "hashes"


def _record(path: Path) -> dict | None:
    """Return a kept hash with what its file looked like; None if it cannot be read."""
    try:
        stored = read_json(path)
        return stored if stored["about"]["path"] and stored["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def verify_hashes() -> tuple[int, list[str]]:
    """Read every file again whose hash is kept.

    A kept hash that is wrong is deleted, and so is that of a file that has gone or has changed
    since. Then the file counts as what it now holds.

    Returns:
        How many files were read, and the paths of those whose bytes changed though their inode,
        size and times did not.
    """
    read, wrong = 0, []
    for record in sorted(_hash_folder().glob("*.json")):
        stored = _record(record)
        path = Path(stored["about"]["path"]) if stored else record
        if not stored or not path.is_file() or _about(path) != stored["about"]:
            record.unlink(missing_ok=True)
            continue
        read += 1
        if _read_whole(path) != stored["sha256"]:
            wrong.append(str(path))
            record.unlink(missing_ok=True)
    return read, wrong


def changed(path: Path, expected: str) -> bool:
    """Whether a file is missing or its SHA-256 is not the expected one."""
    return not path.is_file() or sha256(path) != expected
