"""The state of the code that made a result: its git commit, and whether files differ from it."""

import hashlib
import os
import subprocess
from pathlib import Path

from metarfft_core.params.schema import Params
from metarfft_core.system.files import sha256
from metarfft_core.system.places import ROOT


def of(config: Params) -> str | None:
    """Return the commit of the project's own repository, or None outside git.

    If files differ from the commit, "-dirty." and a hash of the difference follow it. Untracked
    files in a folder of results do not count.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    hashed = hashlib.sha256()
    for entry in sorted(_git("status", "--porcelain", "-z", "--untracked-files=all",
                             "--no-renames").split("\0")):
        state, path = entry[:2], ROOT / entry[3:]
        if entry and not (state == "??" and _is_result(path, config)):
            content = sha256(path) if path.is_file() else "gone"
            hashed.update(f"{entry}\0{content}\0".encode(errors="surrogateescape"))
    clean = hashed.digest() == hashlib.sha256().digest()
    return commit.strip() + ("" if clean else f"-dirty.{hashed.hexdigest()[:12]}")


def _is_result(path: Path, config: Params) -> bool:
    """Return whether a file is in a folder of results; such files did not make the results."""
    outputs = config.folder.parent
    own = config.folder if ROOT.is_relative_to(outputs) else outputs
    return path.is_relative_to(own)


def _git(*arguments: str) -> str | None:
    """Return the output of git on the project's own repository; None if git fails or is missing."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "--no-optional-locks", "--git-dir", str(ROOT / ".git"),
                               "--work-tree", str(ROOT), *arguments], cwd=ROOT, env=environment,
                              capture_output=True, text=True, errors="surrogateescape")
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
