"""Nested mappings as one flat mapping."""

from metarfft_core.system.mappings import flat


def test_nested_keys_are_joined_by_dots():
    """Mappings are flattened at every depth; a list stays a value."""
    assert flat({"a": {"b": {"c": 1}}, "d": [{"e": 2}]}) == {"a.b.c": 1, "d": [{"e": 2}]}


def test_lists_of_mappings_are_flattened_if_asked():
    """With `lists`, the position in a list of mappings is a key; other lists stay values."""
    values = {"a": [{"b": 1}, {"b": [2, 3]}], "c": []}
    assert flat(values, lists=True) == {"a.0.b": 1, "a.1.b": [2, 3], "c": []}
