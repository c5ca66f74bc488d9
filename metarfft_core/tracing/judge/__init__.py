"""The judge: finds every false line of a text from the text alone, without the compiler."""
