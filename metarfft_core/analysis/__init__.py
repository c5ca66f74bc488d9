"""Computes numbers and verdicts from stored results; uses no model and draws nothing."""
