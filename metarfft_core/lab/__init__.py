"""What is shown in JupyterLab and in a browser: stepping, errors, parameters, exercises.

Each name is loaded when it is first used. So `states` and `check` work where only the standard
library is at hand, for example in a browser.
"""

from importlib import import_module

_MODULES = {
    "states": "stepping",
    "explore": "explorer",
    "errors": "error_viewer",
    "form": "parameter_form",
    "check": "classroom.exercises",
    "check_tracer": "classroom.exercises",
    "exercise": "classroom.exercises",
    "hint": "classroom.exercises",
    "student": "classroom.exercises",
}
"""Each public name and the module that holds it."""

__all__ = ["check", "check_tracer", "errors", "exercise", "explore", "form", "hint", "states",
           "student"]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"metarfft_core.lab has no {name!r} (it has {', '.join(__all__)})")
    return getattr(import_module(f"metarfft_core.lab.{_MODULES[name]}"), name)
