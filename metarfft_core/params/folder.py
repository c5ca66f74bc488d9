"""The folder of a run, which holds its results and no other's."""

from pathlib import Path

from metarfft_core.params.loading import load, read
from metarfft_core.params.schema import WITHOUT_EFFECT, Params
from metarfft_core.system import places, yaml_files
from metarfft_core.system.mappings import flat
from metarfft_core.system.places import ParamsError


def open_folder(config: Params) -> Path:
    """Make the run's folder and write its resolved parameters there.

    The call also makes the paths in environment variables absolute, because the run's processes
    and notebooks work in other folders.

    Returns:
        The run's folder.

    Raises:
        ParamsError: If the folder cannot be written, or holds a run that was made with other
            parameters; names the keys that differ.
    """
    places.settle()
    path = config.folder / "params.yaml"
    values = config.model_dump()
    if path.exists() and _holds_results(config.folder):
        given, stored = flat(values), flat(read(path))
        differing = [key for key in given | stored
                     if given.get(key) != stored.get(key) and key not in WITHOUT_EFFECT]
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


def of_folder(folder: Path) -> Params:
    """The parameters of the run in a folder, which may be at any place and have any name.

    They are for reading: a process that is started with their parameter file does not know the
    place.

    Raises:
        ParamsError: The folder is not that of a run, or this version cannot read its parameters.
    """
    path = places.absolute(folder).resolve() / "params.yaml"
    if not path.exists():
        raise ParamsError(f"{folder}: expected the folder of a run, but there is no params.yaml")
    config = load(path)
    config._folder = path.parent
    return config


def is_archive(folder: Path) -> bool:
    """Whether a folder holds a run's stored results without its weights, and with few texts.

    `metarfft export --as results` makes such a folder. Nothing in it is computed again, because
    the data for that are not kept.
    """
    from metarfft_core.system.files import read_json

    about = next((folder / "evaluation").glob("*/*.json"), None)
    return about is not None and "whole_sha256" in read_json(about)


def written(folder: Path) -> Path:
    """Where files that belong into `folder` are written.

    An archive (see `is_archive`) stays as it is. What is made from outputs/reference/laptop, or
    belongs into a folder of it, goes to outputs/from_reference/laptop.

    Returns:
        `folder` itself, unless it is an archive or in one.
    """
    folder = Path(folder)
    for run in (folder, *folder.parents):
        if (run / "params.yaml").exists() and is_archive(run):
            kept = run.parent
            return kept.parent / f"from_{kept.name}" / folder.relative_to(kept)
    return folder


def _holds_results(folder: Path) -> bool:
    """Whether the folder holds results; a refused run leaves only the names listed here."""
    return any(entry.name not in ("params.yaml", "notebooks", "reports", "logs")
               and not entry.name.startswith(".") for entry in folder.iterdir())
