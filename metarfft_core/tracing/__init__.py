"""Rules as ordinary Python functions, and what happens when one is executed.

    language.py     the part of Python that a rule may use
    expressions.py  what an expression is: a literal, a reading, a place
    sharing.py      which names may refer to the same list: a rule may not change its tables
    shown.py        how a trace shows what a line reads
    sites.py        the places in a rule that record, and the code that writes records
    question.py     the positions of the arguments in a question
    compiler.py     compiles a rule's text to a function that records what it executes
    rule.py         Rule(source): checked, run, traced
    steps.py        what a trace says, as data
    wordings/       from records to text: the kit's wording, the paper's, and numbered sentences
    judge/          finds every false line of a text, from the text alone

Importing this package imports none of these modules: the judge must not depend on the compiler.
"""
