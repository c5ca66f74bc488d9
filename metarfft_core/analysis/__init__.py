"""Numbers and verdicts out of stored results: no model, no drawing."""
