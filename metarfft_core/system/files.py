"""Files that are whole or absent: written under a temporary name, then renamed."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OF_A_DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS}
_hashes: dict[tuple, str] = {}


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that says whose it is: of this process, on this machine."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")


def remove_leftovers(folder: Path, pattern: str = ".*.tmp") -> None:
    """Delete the temporary files and folders of dead processes of this machine, and only those.

    Whether a process of another machine is alive cannot be seen from here.
    """
    ours = re.compile(rf"\.{re.escape(platform.node())}\.(\d+)\.tmp")
    for path in folder.glob(pattern):
        found = ours.search(path.name)
        if found and not _is_alive(int(found[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name `path` in an error of the system that names no file, such as that of a full disk, and
    turn what torch and safetensors say of a full disk into such an error."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in _OF_A_DISK:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)$", str(error))
        if type(error).__name__ == "SafetensorError" and number:
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        if isinstance(error, RuntimeError) and "inline_container.cc" in str(error):  # torch
            raise OSError(errno.EIO, "a file could not be written to its end, as on a full disk",
                          str(path)) from error
        raise


def _is_alive(process: int) -> bool:
    import psutil

    try:  # a zombie has ended, though nobody has asked how
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def explain(error: OSError) -> str:
    """An error of the system in one line that names the file."""
    reason = " ".join((error.strerror or str(error)).split())
    return f"{error.filename}: {reason}" if error.filename is not None else reason


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` when the block ends well."""
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
    """Yield an empty folder beside `path`; it takes the name `path` when the block ends well.

    What stood at `path` before is replaced.
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
    """Write `text` to `path` so that a reader sees the old file or the new one, never a part."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path):
    """Read a JSON file; a JSONDecodeError (a ValueError) names the file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise json.JSONDecodeError(f"{path} is damaged, delete it or put back what was written: "
                                   f"{error.msg}", error.doc, error.pos) from None


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex.

    A process reads a file once, at about a gigabyte a second, and again only where its size or
    its times have changed since.
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
