"""What every task answers, computed independently of its rule.

Each module here holds
    ORACLES = {id: function(**inputs) -> answer}, with sorted, Counter, re, integers, brute force
    EDGES = {id: [(inputs, answer), ...]}, checked by hand: what sampling may never hit
and this package gathers them under the same two names. A task is in one module only.
"""

from importlib import import_module
from pkgutil import iter_modules

ORACLES: dict = {}
EDGES: dict = {}

for _found in iter_modules(__path__):
    _module = import_module(f"{__name__}.{_found.name}")
    for _all, _own in ((ORACLES, _module.ORACLES), (EDGES, _module.EDGES)):
        if twice := _all.keys() & _own.keys():
            raise ValueError(f"{_found.name}: {sorted(twice)} are in another module as well")
        _all.update(_own)
