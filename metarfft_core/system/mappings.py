"""Nested mappings."""

from typing import Any


def flat(values: dict, lists: bool = False, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one, whose keys are joined by dots.

    Args:
        values: The mapping.
        lists: Whether to flatten lists of mappings too, with the positions as keys.
        prefix: What to put before every key.
    """
    leaves = {}
    for key, value in values.items():
        if lists and isinstance(value, list) and value and isinstance(value[0], dict):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            leaves |= flat(value, lists, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
