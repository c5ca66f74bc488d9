"""Tools for authors of tasks: checks, the loading of a user's file, and the gallery."""
