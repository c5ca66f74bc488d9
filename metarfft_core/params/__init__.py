"""The parameter files: one YAML file is one run, checked before anything starts.

    cell.py       one method on one task
    schema.py     every key, its type and its bounds
    methods.py    the compared ways to answer a task
    loading.py    reads parameters from a file, a mapping, or a notebook's variables
    folder.py     the folder of a run
    commit.py     the state of the code that made a result
    fields.py     the keys of a file one by one, for a form
    reference.py  makes the page docs/parameters.md from the schema
"""

from metarfft_core.params.cell import Cell
from metarfft_core.params.folder import is_archive, of_folder, open_folder, written
from metarfft_core.params.loading import (
    DEFAULT_FILE,
    ENVIRONMENT_VARIABLE,
    base_file,
    check,
    from_notebook,
    load,
    read,
)
from metarfft_core.params.methods import LABELS, METHODS
from metarfft_core.params.schema import (
    WITHOUT_EFFECT,
    Api,
    Evaluation,
    Held,
    Mix,
    Params,
    Samples,
    Training,
)
from metarfft_core.system.places import ParamsError

__all__ = ["DEFAULT_FILE", "ENVIRONMENT_VARIABLE", "LABELS", "METHODS", "WITHOUT_EFFECT", "Api",
           "Cell", "Evaluation", "Held", "Mix", "Params", "ParamsError", "Samples", "Training",
           "base_file", "check", "from_notebook", "is_archive", "load", "of_folder", "open_folder",
           "read", "written"]
