"""Holds stored results against the paper's numbers; uses no model and draws nothing.

    deviations.py   where the protocol of a run differs from the paper's
    verdicts.py     the claims page: every number of the paper, and what a run says of it
    results_map.py  the page of all figures and tables, and the road to each
"""
