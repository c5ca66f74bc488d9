"""What a run costs before it starts: tokens, memory, GPU hours."""
