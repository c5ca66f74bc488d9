"""Files that are either whole or absent: each is written under a temporary name, then renamed."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metarfft_core.system.places import ParamsError

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
        found = ours.search(path.name)
        if (not _is_alive(int(found[1]))) if found else (
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
        if isinstance(error, RuntimeError) and "inline_container.cc" in str(error):  # torch
            raise OSError(errno.EIO, "a file could not be written to its end, as on a full disk",
                          str(path)) from error
        raise


def _is_old(path: Path) -> bool:
    """Whether neither a path nor anything in it has changed for a day."""
    with suppress(OSError):  # its owner may be alive and at work
        times = [one.stat().st_mtime for one in (path, *path.rglob("*"))]
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


def read_json(path: Path):
    """Read a JSON file.

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
    return _Mapping(value, path) if isinstance(value, dict) else value


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex.

    A process reads each file once, at about a gigabyte a second. It reads the file again only if
    its inode, size or times have changed.
    """
    about = os.stat(path)
    key = (os.path.abspath(path), about.st_ino, about.st_size, about.st_mtime_ns,
           about.st_ctime_ns)
    if key not in _hashes:
        with open(path, "rb") as file:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]


def changed(path: Path, expected: str) -> bool:
    """Whether a file is missing or its SHA-256 is not the expected one."""
    return not path.is_file() or sha256(path) != expected
