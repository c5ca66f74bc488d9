"""Rules as ordinary Python functions, and what happens when one is executed.

    rule.py      Rule(source): checked, run, traced
    subset.py    the part of Python that a rule may use
    sharing.py   which names may stand for the same list: a rule may not change its tables
    shown.py     how a trace shows what a line reads
    rewrite.py   from a rule's text to a function that records what it executes
    steps.py     what a trace says, as data
    wording.py   from records to text
    parse.py     back from text to steps
    evaluator.py values of expressions, found without executing anything
    claims.py    what a text claims, line by line
    replay.py    every false line of a text, from the text alone

    kinds.py, phrases.py, verbalise.py   the rule in words
    paper.py, rewrite_paper.py           the paper's wording: back from text, and from rule to text

Importing this package imports none of them: the replay must not depend on the tracer.
"""
