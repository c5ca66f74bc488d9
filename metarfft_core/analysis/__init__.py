"""Computes numbers from stored results; uses no model and draws nothing."""
