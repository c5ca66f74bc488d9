"""What a trace says: the kit's wording, the paper's, and rules in numbered sentences."""
