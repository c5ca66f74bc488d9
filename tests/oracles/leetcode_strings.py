"""The LeetCode tasks on strings, solved independently of their rules."""

import re
from collections import Counter
from itertools import chain, zip_longest

VOWEL = re.compile("[aeiou]", re.IGNORECASE)


def _with_vowels(s, vowels):
    """The string with other vowels, in turn, in the places of its own."""
    following = iter(vowels)
    return VOWEL.sub(lambda match: next(following), s)


def longest_balanced(s):
    return max(2 * size for size in range(len(s) + 1) if "0" * size + "1" * size in s)


def additions(word):
    groups = [group for group in re.findall("a?b?c?", word) if group]
    return 3 * len(groups) - len(word)


def furthest(moves):
    left, right, free = map(moves.count, "LR_")
    return max(left + free - right, right + free - left)


def bounded(instructions):
    """Four rounds end at the start, or the robot leaves for ever."""
    place, facing = 0, 1
    for step in 4 * instructions:
        place += facing * (step == "G")
        facing *= {"G": 1, "L": 1j, "R": -1j}[step]
    return place == 0


def is_subsequence(s, t):
    """All lengths of beginnings of s that can be built, for each beginning of t."""
    built = {0}
    for letter in t:
        built |= {size + 1 for size in built if s[size:size + 1] == letter}
    return len(s) in built


def title_case(title):
    return title.capitalize() if len(title) > 2 else title.lower()


def first_unique(s):
    return min((s.index(letter) for letter, count in Counter(s).items() if count == 1), default=-1)


def removable(word):
    """Try every place."""
    return any(len(set(Counter(word[:place] + word[place + 1:]).values())) < 2
               for place in range(len(word)))


def without_stars(s):
    found = 1
    while found:
        s, found = re.subn(r"[^*]\*", "", s, count=1)
    return s


def faulty(s):
    before, after = s.split("i")
    return before[::-1] + after


def question_marks(s):
    while "?" in s:
        before, _, after = s.partition("?")
        s = before + min({"a", "b", "c"} - {before[-1:], after[:1]}) + after
    return s


def reverse_parts(s, k):
    parts = [s[start:start + k] for start in range(0, len(s), k)]
    return "".join(part if number % 2 else part[::-1] for number, part in enumerate(parts))


def licence_key(s, k):
    return re.sub(f"(?<=.)(?=(.{{{k}}})+$)", "-", s.replace("-", "").upper())


def phone_number(number):
    digits = re.sub("[ -]", "", number)
    pairs = {0: 0, 1: 2, 2: 1}[len(digits) % 3] if len(digits) > 1 else 0
    threes = (len(digits) - 2 * pairs) // 3
    sizes = [3] * threes + [2] * pairs or [1]
    ends = [sum(sizes[:count + 1]) for count in range(len(sizes))]
    return "-".join(digits[end - size:end] for size, end in zip(sizes, ends, strict=True))


def alternate(s):
    letters, digits = re.sub("[0-9]", "", s), re.sub("[^0-9]", "", s)
    if len(digits) - len(letters) not in (-1, 0, 1):
        return ""
    first, second = (digits, letters) if len(digits) > len(letters) else (letters, digits)
    return "".join(chain.from_iterable(zip_longest(first, second, fillvalue="")))


def hash_chunks(s, k):
    chunks = re.findall(f".{{{k}}}", s)
    return "".join(chr(97 + (sum(chunk.encode()) - 97 * k) % 26) for chunk in chunks)


ORACLES = {
    "lc_2129": title_case,
    "lc_2785": lambda s: _with_vowels(s, sorted(VOWEL.findall(s))),
    "lc_2390": without_stars,
    "lc_1704": lambda s: len(VOWEL.findall(s)) == 2 * len(VOWEL.findall(s[:len(s) // 2])),
    "lc_2810": faulty,
    "lc_2645": additions,
    "lc_2609": longest_balanced,
    "lc_2423": removable,
    "lc_1576": question_marks,
    "lc_1041": bounded,
    "lc_3271": hash_chunks,
    "lc_242": lambda s, t: sorted(s) == sorted(t),
    "lc_383": lambda ransomNote, magazine: Counter(ransomNote) <= Counter(magazine),
    "lc_387": first_unique,
    "lc_345": lambda s: _with_vowels(s, reversed(VOWEL.findall(s))),
    "lc_392": is_subsequence,
    "lc_796": lambda s, goal: len(s) == len(goal) and goal in s + s,
    "lc_1417": alternate,
    "lc_520": lambda word: bool(re.fullmatch("[A-Z]+|[A-Z]?[a-z]*", word)),
    "lc_541": reverse_parts,
    "lc_551": lambda s: s.count("A") < 2 and "LLL" not in s,
    "lc_482": licence_key,
    "lc_1694": phone_number,
    "lc_2833": furthest,
}

EDGES = {
    "lc_2129": [({"title": "A"}, "a"), ({"title": "iF"}, "if"), ({"title": "THE"}, "The"),
                ({"title": "hEllo"}, "Hello"), ({"title": "Zz"}, "zz")],
    "lc_2785": [({"s": "lEetcOde"}, "lEOtcede"), ({"s": "lYmpH"}, "lYmpH"), ({"s": "u"}, "u"),
                ({"s": "uoieaUOIEA"}, "AEIOUaeiou"), ({"s": "aAaA"}, "AAaa")],
    "lc_2390": [({"s": "leet**cod*e"}, "lecoe"), ({"s": "erase*****"}, ""), ({"s": "a"}, "a"),
                ({"s": "a*b*c"}, "c"), ({"s": "ab**cd*"}, "c")],
    "lc_1704": [({"s": "book"}, True), ({"s": "textbook"}, False), ({"s": "aB"}, False),
                ({"s": "AuIo"}, True), ({"s": "xY"}, True), ({"s": "bbbe"}, False),
                ({"s": "ebbE"}, True)],
    "lc_2810": [({"s": "string"}, "rtsng"), ({"s": "i"}, ""), ({"s": "iab"}, "ab"),
                ({"s": "abi"}, "ba"), ({"s": "poinjter"}, "opnjter")],
    "lc_2645": [({"word": "b"}, 2), ({"word": "aaa"}, 6), ({"word": "abc"}, 0),
                ({"word": "cba"}, 6), ({"word": "a"}, 2), ({"word": "ac"}, 1), ({"word": "c"}, 2)],
    "lc_2609": [({"s": "01000111"}, 6), ({"s": "00111"}, 4), ({"s": "111"}, 0), ({"s": "10"}, 0),
                ({"s": "01"}, 2), ({"s": "00011010011"}, 4), ({"s": "0"}, 0)],
    "lc_2423": [({"word": "abcc"}, True), ({"word": "aazz"}, False), ({"word": "a"}, True),
                ({"word": "zz"}, True), ({"word": "bac"}, True), ({"word": "aabbc"}, True),
                ({"word": "aaabbbc"}, True), ({"word": "aaabb"}, True), ({"word": "aaaabb"}, False),
                ({"word": "aabbcc"}, False), ({"word": "cccaabb"}, True)],
    "lc_1576": [({"s": "?zs"}, "azs"), ({"s": "ubv?w"}, "ubvaw"), ({"s": "?"}, "a"),
                ({"s": "???"}, "aba"), ({"s": "a?b"}, "acb"), ({"s": "b?a"}, "bca"),
                ({"s": "b??a"}, "baba"), ({"s": "?a"}, "ba"), ({"s": "c?"}, "ca")],
    "lc_1041": [({"instructions": "GGLLGG"}, True), ({"instructions": "GG"}, False),
                ({"instructions": "GL"}, True), ({"instructions": "LR"}, True),
                ({"instructions": "GLGR"}, False), ({"instructions": "GRGL"}, False),
                ({"instructions": "LLGLL"}, False), ({"instructions": "RGGGL"}, False),
                ({"instructions": "LGR"}, False), ({"instructions": "GRGRGRGR"}, True),
                ({"instructions": "GLGLGLGL"}, True), ({"instructions": "GLLGGLL"}, False)],
    "lc_3271": [({"s": "abcd", "k": 2}, "bf"), ({"s": "mxz", "k": 3}, "i"),
                ({"s": "aa", "k": 2}, "a"), ({"s": "zzzz", "k": 4}, "w"),
                ({"s": "bzan", "k": 2}, "an")],
    "lc_242": [({"s": "anagram", "t": "nagaram"}, True), ({"s": "rat", "t": "car"}, False),
               ({"s": "a", "t": "ab"}, False), ({"s": "aab", "t": "ab"}, False),
               ({"s": "aab", "t": "abb"}, False), ({"s": "a", "t": "a"}, True),
               ({"s": "ab", "t": "aa"}, False), ({"s": "zz", "t": "zz"}, True)],
    "lc_383": [({"ransomNote": "a", "magazine": "b"}, False),
               ({"ransomNote": "aa", "magazine": "ab"}, False),
               ({"ransomNote": "aa", "magazine": "aab"}, True),
               ({"ransomNote": "cba", "magazine": "abc"}, True),
               ({"ransomNote": "ab", "magazine": "b"}, False),
               ({"ransomNote": "z", "magazine": "xyz"}, True)],
    "lc_387": [({"s": "leetcode"}, 0), ({"s": "loveleetcode"}, 2), ({"s": "aabb"}, -1),
               ({"s": "z"}, 0), ({"s": "aab"}, 2), ({"s": "abab"}, -1), ({"s": "aba"}, 1)],
    "lc_345": [({"s": "IceCreAm"}, "AceCreIm"), ({"s": "leetcode"}, "leotcede"), ({"s": "a"}, "a"),
               ({"s": "bcd"}, "bcd"), ({"s": "aeiou"}, "uoiea"), ({"s": "Ab, eU!"}, "Ub, eA!")],
    "lc_392": [({"s": "abc", "t": "ahbgdc"}, True), ({"s": "axc", "t": "ahbgdc"}, False),
               ({"s": "", "t": "a"}, True), ({"s": "b", "t": "a"}, False),
               ({"s": "aa", "t": "aba"}, True), ({"s": "aab", "t": "aba"}, False),
               ({"s": "ba", "t": "ab"}, False), ({"s": "aaa", "t": "aa"}, False)],
    "lc_796": [({"s": "abcde", "goal": "cdeab"}, True), ({"s": "abcde", "goal": "abced"}, False),
               ({"s": "a", "goal": "a"}, True), ({"s": "a", "goal": "b"}, False),
               ({"s": "aab", "goal": "baa"}, True), ({"s": "aabb", "goal": "abab"}, False),
               ({"s": "aaa", "goal": "aaa"}, True), ({"s": "ab", "goal": "abab"}, False)],
    "lc_1417": [({"s": "a0b1c2"}, "a0b1c2"), ({"s": "leetcode"}, ""), ({"s": "1229857369"}, ""),
                ({"s": "7"}, "7"), ({"s": "x"}, "x"), ({"s": "12a"}, "1a2"), ({"s": "1ab"}, "a1b"),
                ({"s": "ab"}, ""), ({"s": "12"}, ""), ({"s": "1a"}, "a1")],
    "lc_520": [({"word": "USA"}, True), ({"word": "FlaG"}, False), ({"word": "leetcode"}, True),
               ({"word": "Google"}, True), ({"word": "g"}, True), ({"word": "G"}, True),
               ({"word": "gO"}, False), ({"word": "gOOD"}, False), ({"word": "GOo"}, False),
               ({"word": "GO"}, True), ({"word": "Go"}, True)],
    "lc_541": [({"s": "abcdefg", "k": 2}, "bacdfeg"), ({"s": "abcd", "k": 2}, "bacd"),
               ({"s": "abc", "k": 5}, "cba"), ({"s": "abc", "k": 1}, "abc"),
               ({"s": "a", "k": 2}, "a"), ({"s": "abcdefgh", "k": 3}, "cbadefhg")],
    "lc_551": [({"s": "PPALLP"}, True), ({"s": "PPALLL"}, False), ({"s": "A"}, True),
               ({"s": "AA"}, False), ({"s": "LLL"}, False), ({"s": "LLPL"}, True),
               ({"s": "LLAL"}, True), ({"s": "APPA"}, False), ({"s": "LALLA"}, False)],
    "lc_482": [({"s": "5F3Z-2e-9-w", "k": 4}, "5F3Z-2E9W"), ({"s": "2-5g-3-J", "k": 2}, "2-5G-3J"),
               ({"s": "---", "k": 3}, ""), ({"s": "a", "k": 1}, "A"),
               ({"s": "-ab-", "k": 1}, "A-B"), ({"s": "--a-a-a-a--", "k": 2}, "AA-AA"),
               ({"s": "abc", "k": 4}, "ABC")],
    "lc_1694": [({"number": "1-23-45 6"}, "123-456"), ({"number": "123 4-567"}, "123-45-67"),
                ({"number": "123 4-5678"}, "123-456-78"), ({"number": "12"}, "12"),
                ({"number": "--17-5 229 35-39475 "}, "175-229-353-94-75"),
                ({"number": "1234"}, "12-34"), ({"number": " 5-"}, "5"),
                ({"number": "12-3"}, "123")],
    "lc_2833": [({"moves": "L_RL__R"}, 3), ({"moves": "_R__LL_"}, 5), ({"moves": "_______"}, 7),
                ({"moves": "L"}, 1), ({"moves": "R"}, 1), ({"moves": "LR"}, 0), ({"moves": "_"}, 1),
                ({"moves": "RR_"}, 3), ({"moves": "LLLR"}, 2)],
}
