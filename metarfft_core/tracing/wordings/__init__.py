"""The wordings of a trace: the kit's, the paper's, and rules in numbered sentences."""
