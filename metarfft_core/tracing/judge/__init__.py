"""Every false line of a text, from the text alone. Nothing here imports the compiler."""
