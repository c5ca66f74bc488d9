"""The 86 tasks: rule, question and sampler of each, in files by what they work on."""
