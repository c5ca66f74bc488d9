"""What an error says in one line."""

import os
import traceback
from pathlib import Path

from metarfft_core.system import files


def explain(error: Exception, given: str) -> tuple[str, int]:
    """Return what an error says in one line, and the exit status.

    Args:
        error: What a command raised.
        given: The files that the command was given. They begin the line of an error that no message
            was written for, such as that of a damaged file deep inside a library; its place in the
            code follows.
    """
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args
                        else error).split())
    if isinstance(error, OSError):
        if error.filename is not None:
            return files.explain(error), 1
        text = files.explain(error)
    elif isinstance(error, ValueError | KeyError) and _is_told(error, text):
        return text, 2
    elif type(error).__module__.startswith("metarfft_core") or (
            type(error) is RuntimeError and _raised_here(error)):
        return str(error), 1
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    position = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return f"{given}: {type(error).__name__} in {position}: {text}", 1


def _is_told(error: ValueError | KeyError, text: str) -> bool:
    """Whether an error has a message for the user, who gave a wrong value, or names a file."""
    if isinstance(error, KeyError):
        return " " in text  # a sentence, such as that of an unknown task
    return _raised_here(error) or os.sep in text


def _raised_here(error: Exception) -> bool:
    """Whether the kit raised an error, and no library."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return Path(__file__).parent.parent in Path(frame.f_code.co_filename).parents
