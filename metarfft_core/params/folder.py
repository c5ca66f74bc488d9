"""The folder of a run: each folder holds one result."""

from pathlib import Path
from typing import Any

from metarfft_core.params.loading import read
from metarfft_core.params.schema import WITHOUT_EFFECT, Params
from metarfft_core.system import places, yaml_files
from metarfft_core.system.places import ParamsError


def open_folder(config: Params) -> Path:
    """Make the run's folder and write its resolved parameters there.

    The call also makes the paths in environment variables absolute, because the run's processes
    and notebooks work in other folders.

    Returns:
        The run's folder.

    Raises:
        ParamsError: The folder cannot be written, or holds a run made with other parameters. The
            message names the keys that differ.
    """
    places.settle()
    path = config.folder / "params.yaml"
    values = config.model_dump()
    if path.exists() and _holds_results(config.folder):
        other = read(path)
        differing = [key for key in _leaves(values) | _leaves(other)
                     if _leaves(values).get(key) != _leaves(other).get(key)
                     and key not in WITHOUT_EFFECT]
        if differing:
            raise ParamsError(f"{config.folder} was made with other parameters "
                              f"({', '.join(sorted(differing))}): give this run another name, "
                              "or delete that folder")
        return config.folder
    from metarfft_core.system.files import write_whole

    try:
        write_whole(path, "# The resolved parameters of this run.\n"
                    + yaml_files.dump(values))
    except OSError as error:
        raise ParamsError(f"{config.folder} cannot be written: {error.strerror}") from None
    return config.folder


def _holds_results(folder: Path) -> bool:
    """Whether the folder holds results; a refused run leaves only the names listed here."""
    return any(entry.name not in ("params.yaml", "notebooks", "reports", "logs")
               and not entry.name.startswith(".") for entry in folder.iterdir())


def _leaves(values: dict, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one, whose keys are joined by dots."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
