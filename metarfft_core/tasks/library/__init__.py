"""The 86 tasks and the airline's: rule, question and sampler of each, in files by their data."""
