"""How models announce, write, explain and take back an answer: patterns of the lenient score."""

import re

TEXT_LIMIT = 50_000
"""The most characters, after a model's thinking, that are read."""

# How a value is written.
PLAIN = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'",
                       "\u2212": "-", "\u2013": "-", "\u2014": " - ", "\u00d7": "*",
                       "\u00ab": '"', "\u00bb": '"', "\u300c": '"', "\u300d": '"',
                       "\uff0c": ", ", "\u3002": ". ", "\uff1a": ": ", "\uff1b": "; ",
                       "\uff08": " (", "\uff09": ") ", "\uff01": "! ", "\uff1f": "? "})
"""Typographic and Chinese quotes, minus, dashes, times and points, and what means the same."""
MARKS = ((r"</s>|<\|\w+\|>|</answer>", "\n"), (r"\\(?:left|right)(?![a-z])", ""),
         (r"(?<=\n)> ?", ""), (r"``([^`'\n]+)''", r'"\1"'),
         (r"<(b|strong|em|i|u|code)>([^<\n]{1,500})</\1>", r"**\2**"),
         (r"==(?=\S)([^=\n]{1,500})(?<=\S)==", r"**\1**"))
"""Marks that say nothing of the answer, and what they mean: a model's end, LaTeX's sizes and
quotes, a quotation, emphasis in HTML."""
NUMBER = re.compile(r"[-+]?(?:[1-9]\d{0,2}(?:(?:,|\{,\}|\\,|[\u00a0\u2009\u202f])\d{3})+(?!\d)"
                    r"|\d+)(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
QUOTED = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
FENCE = re.compile(r"```[a-z]*[ \t]*\n(.*?)```|(`{1,9})(?!`)(.+?)(?<!`)\2(?!`)",
                   re.DOTALL | re.IGNORECASE)
EMPHASIS = re.compile(r"(\*{1,3}|_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)|\\\((.+?)\\\)|\\\[(.+?)\\\]"
                      r"|\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)
TEX = re.compile(r"\\(?:boxed|fbox|text(?:tt|bf|it|rm)?|math(?:rm|tt|bf|it))\s*\{")
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
BARE = re.compile(r"(?!(?:True|False|None)$)[A-Za-z0-9][\w-]*(?:->\w+)?")
"""A word of a list that may lack its quotes."""

# What announces an answer.
CLAIM = re.compile(r"(?:\b(?P<word>[\w']{1,20})[ \t]{1,3})?\bans(?:wer)?[*_`]*(?:, ?\w+,)?\s*"
                   r"(?:\bis\b|'s\b|:|=|→|\n|$)[*_]*:?|####|答案(?:是|为|:)+|<answer>",
                   re.IGNORECASE)
CLAIMING = {"", "the", "final", "correct", "my", "our", "so", "therefore"}
"""The words before "answer" that leave it the model's own; "the naive answer is 3" is no claim."""
GOVERNED = re.compile(
    r"\b(?:if|unless|whether|doubt|not|never|suppose|assume|think|says?|said|claims|claimed|people "
    r"believe|(?:in|for) the (?:example|first|second|third|last|next|other|previous)(?: \w+)?)"
    r"\W+(?:that\W+)?(?:(?:the|my|our|final|correct)\W+){0,9}$|n't\W+(?:that\W+)?(?:the\W+)?$|"
    r"\b(?:initially|currently|at first|so far|for now|at this point|thought|"
    r"(?:not|un|in)[ -]?(?:true|correct)|false that|wrong that|not the case)\b"
    r"(?:(?!\bbut\b)[^.!?\n])*$", re.IGNORECASE)
"""What stands before a claim that the model does not make, or not yet."""
RESULT = re.compile(r"(?:^[*_# ]*|[.!]\s[\s*_#]*|\n[*_# ]*)"
                    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+)?"
                    r"(?:result|output|solution)[*_]*\s*(?:\bis\b|:|=)[*_]*:?", re.IGNORECASE)
BEHIND = re.compile(r"(?:^|[.!:\n]\s*)(?:(?:so|thus|hence|therefore),?\s+)?"
                    r"(?P<value>(?!(?:this|that|it|which)\b)\S(?:[^\n.!]|\.(?=\d)){0,500}?)\s+is\s+"
                    r"(?:the|my|our)\s+(?:final\s+|correct\s+)?answer[.!*_]*\s*$", re.IGNORECASE)
"""A value that is announced after it: "so 3 is the answer"."""
LEAD = re.compile(r"(?:\s|:|[*_]{1,2}(?=\s))*(?:(?:simply|just|indeed|clearly|exactly|therefore|"
                  r"thus|equal to|a total of|the (?:number|integer|string|word|list|array|value))\b"
                  r"[\s:]*)?", re.IGNORECASE)
LEFT_SIDE = re.compile(r"[a-z_]\w*|\\?[a-z_]\w*\([^=]*\)|"
                       r"(?!.*\b(?:or|and)\b)[\w\s.*/()+'\"-]*[+*/-][\w\s.*/()+'\"-]*",
                       re.IGNORECASE)
"""What may stand before the = of a statement of the answer."""
SPOILS = re.compile(r"(?:\d$|\b(?:not|n't|or|than|never|at (?:least|most)|about|around|nearly|"
                    r"almost|roughly|approximately|under|over|between)|\\neq?|(?<!\\)[-+*/^<>~≈≠!(,\[])[\s$*]*$",
                    re.IGNORECASE)
"""What may not stand before a box."""
SENTENCE = re.compile(r"[^\n]{0,500}(?:\b(?:is|are|be|was|as|of|gives?|becomes?)\b|[:=])"
                      r"[\s$*\\(\[]*")
"""One sentence between a heading, "Final Answer", and the box that is its last word."""

# What may follow an answer.
REASON = r"(?:because|since|which|as (?:there|it|the|we|this|all|each|every|no|they))\b"
CLAUSE = re.compile(rf"(?P<clause>.*?)(?P<end>$|[.!](?=\s|$)|[;:,(\n]|\)|\s-+\s|\b"
                    rf"{REASON}|=(?![=>]))(?P<tail>.*)", re.DOTALL | re.IGNORECASE)
CHANGES = re.compile(
    r"[\d¼-¾⅐-⅞²³¹'\"`\[\]{}<>+*/^%÷?|&~\\]|\b(?:or|and|nor|not|to|through|hundred|thousand|"
    r"million|billion|dozen|half|point|more|less|fewer|than|if|unless|when|assuming|over|plus|"
    r"minus|divided|mod|modulo|squared|cubed|factorial|remainder|is|isn|was|would|too|can|cannot|"
    r"percent|true|false|none|first|second|bound|far|each|per|even|odd|then|[b-z]|"
    r"times\s+(?!in\b)\w+|off|tens|hundreds|followed|initially|before|until|example|negative|"
    r"positive|maximum|minimum|max|min|at|below|above|under|with|without|base)\b", re.IGNORECASE)
"""What may not stand between a value and the end of its clause, because it can change the value."""
RETRACTS = re.compile(
    r"\b(?:wait|actually|correction|correct answer|right answer|oops|sorry|mistake|hmm|however|but|"
    r"rather|instead|incorrect|wrong|scratch that|i meant|second thought|reflection|should be|"
    r"let me (?:re|double|check|verify|count|see|think|fix|correct|try)\w*|double[- ]check|recheck|"
    r"(?<!this is the )final|alternatively|not sure|unsure|maybe|perhaps|possibly|"
    r"probably|likely|approximately|roughly|i (?:think|guess)|estimated?|if we|otherwise|hold on|"
    r"(?:count|check|look|try|comput|calculat)\w* (?:it )?again|error|update|edit|revised?|"
    r"i mean|not (?:quite )?right|changes? to)\b|\bagain[,:]|(?<!\w)no[,:] |[-+*/]=",
    re.IGNORECASE)
CONTINUES = re.compile(r"\b(?:next|then|becomes?|(?:has|have) to be|must be|we get|giv(?:es|ing)|"
                       r"(?<!by )add(?:s|ing|ed)?|subtract\w*|remains? to)\b", re.IGNORECASE)
BESIDE = re.compile(r"\d+(?!\d)(?! (?:letters|characters|digits|words|elements|items)\b)|"
                    r"[¼-¾\[{(<'\"`+-]|(?:or|and|nor|to|true|false|none|mod|modulo|plus|minus|"
                    r"times|then|if|unless|when|assuming|base|in base|reversed?|repeated|except|"
                    r"excluding|without|provided|depending|sorted (?:in )?(?:desc|rev)\w*|"
                    r"[b-z] ?=)(?!\w)|(?:so|hence|thus|therefore),? (?:[\d'\"\[]|\S+$)",
                    re.IGNORECASE)
"""What may not follow a comma, a colon or a bracket after the value."""
VALUE = re.compile(r"[\d'\"\[]|\b(?:true|false)\b", re.IGNORECASE)
LAST_VALUE = re.compile(r"""(?<![\w.])(-?\d+(?:\.\d+)?|true|false|'[^'\n]*'|"[^"\n]*"|"""
                        r"""\[[^\[\]\n]*\])[\s.!*_`)$]*$""", re.IGNORECASE)
EXPLAINS = re.compile(r"(?:explanation|reasoning|justification|here(?:'s| is) (?:how|why)|"
                      r"this is because|because)\b", re.IGNORECASE)
"""How an explanation of the answer begins: what it tells is no further answer."""
TAKES_BACK = re.compile(r"\b(?:wait|actually|correction|oops|sorry|mistake|hmm|incorrect|wrong|"
                        r"hold on|scratch that|i meant?|should be|let me|recheck|double[- ]check|"
                        r"final)\b", re.IGNORECASE)
"""What takes an answer back even in its explanation."""
SUM = re.compile(r"(?:[a-z]{1,15}: ?)?\(? ?(?:= ?)?(?P<sum>[-+\d][-+\d ]*)"
                 r"(?:= ?(?P<total>-?\d+))?[ .)✓]*", re.IGNORECASE)
"""Signs and digits, perhaps with a total after them; white space is one blank."""
TURNED = re.compile(r"(?:reversed|sorted|swapped|in (?:lower|upper|reverse|desc)\w*)\b[^.\n]*:",
                    re.IGNORECASE)
"""How a further value begins that is made of the answer."""
LISTED = re.compile(r"^\s*(?:first|start|begin|step|let|we|initial)|\n[^\S\n]*\d+[.)]\s",
                    re.IGNORECASE)
