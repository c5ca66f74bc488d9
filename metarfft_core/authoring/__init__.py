"""Checks and the gallery of tasks, also of a user's own."""
