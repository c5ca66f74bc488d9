"""The parameter files: one YAML file is one run, checked before anything starts."""

from metarfft_core.params.schema import (
    DEFAULT_FILE,
    ENVIRONMENT_VARIABLE,
    LABELS,
    METHODS,
    WITHOUT_EFFECT,
    Api,
    Evaluation,
    Held,
    Mix,
    Params,
    ParamsError,
    Samples,
    Training,
    check,
    from_notebook,
    load,
    open_folder,
    read,
)

__all__ = ["DEFAULT_FILE", "ENVIRONMENT_VARIABLE", "LABELS", "METHODS", "WITHOUT_EFFECT", "Api",
           "Evaluation", "Held", "Mix", "Params", "ParamsError", "Samples", "Training", "check",
           "from_notebook", "load", "open_folder", "read"]
