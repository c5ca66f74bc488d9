"""The parameter files: one YAML file is one run, checked before anything starts.

    schema/       what a parameter file may say: keys, types, bounds, methods
    loading.py    reads parameters from a file, a mapping, or a notebook's variables
    folder.py     the folder of a run
    kept_steps.py the runs that evaluate the kept steps of a training
    commit.py     the state of the code that made a result
    fields.py     the keys of a file one by one, for a form
    reference.py  makes the page docs/parameters.md from the schema
"""

from metarfft_core.params.folder import is_archive, of_folder, open_folder, written
from metarfft_core.params.kept_steps import kept_runs, with_kept
from metarfft_core.params.loading import (
    DEFAULT_FILE,
    ENVIRONMENT_VARIABLE,
    base_file,
    check,
    from_notebook,
    load,
    read,
)
from metarfft_core.params.schema import WITHOUT_EFFECT, Params
from metarfft_core.params.schema.cell import Cell
from metarfft_core.params.schema.methods import LABELS, METHODS, judged_twice
from metarfft_core.params.schema.sections import (
    Api,
    Evaluation,
    Held,
    Kept,
    Mix,
    Samples,
    Training,
)
from metarfft_core.system.places import ParamsError

__all__ = ["DEFAULT_FILE", "ENVIRONMENT_VARIABLE", "LABELS", "METHODS", "WITHOUT_EFFECT", "Api",
           "Cell", "Evaluation", "Held", "Kept", "Mix", "Params", "ParamsError", "Samples",
           "Training", "base_file", "check", "from_notebook", "is_archive", "judged_twice",
           "kept_runs", "load", "of_folder", "open_folder", "read", "with_kept", "written"]
