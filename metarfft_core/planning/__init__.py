"""What a run costs, calculated before it starts: tokens, memory, GPU hours."""
