"""LeetCode tasks on lists of words or other strings, and on sentences (the paper's Table 1)."""

from string import ascii_lowercase

from metarfft_core.tasks.library import sampling
from metarfft_core.tasks.registry import task

VOWEL_FIRST = """ant ape arm art ash eat egg elk end eve ice ink inn it oak oat odd oil old on one
our out owl up us use""".split()
OTHER_FIRST = """bat bee big boat box boy cat cow cup day dog duck fish fly fox goat hat hen jam key
kid lamp leg map milk moon nut pig red rope run sea sky sun tea toy tree van wind zoo""".split()
"""Words of at most four letters, most of them one token."""


@task("lc_1598", source="leetcode", split="downstream", length="number of operations")
class CrawlerLogFolder:
    """Depth after a walk through folders (leetcode.com/problems/crawler-log-folder)."""

    question = ("From the main folder, do the operations {logs}: '../' goes up (and stays in the "
                "main folder), './' stays, any other goes down. How deep is the last folder?")

    def rule(logs):
        depth = 0
        while logs:
            log = logs.pop(0)
            if log == '../':
                depth = max(0, depth - 1)
            elif log != './':
                depth += 1
        return depth

    counterfactual = {"depth += 1": "depth += 2"}

    def sample(rng, length):
        """Up, stay and down at 3 : 1 : 4, so that the main folder is met again and again."""
        logs = []
        for _ in range(length):
            down = f"{rng.choice('abcd')}{rng.randrange(10)}/"
            logs.append(rng.choice(["../"] * 3 + ["./"] + [down] * 4))
        return {"logs": logs}


@task("lc_824", source="leetcode", length="number of words", title="Goat Latin")
class GoatLatin:
    """A sentence in a made-up language (leetcode.com/problems/goat-latin)."""

    question = ("Turn the sentence {sentence} into goat latin: a word that begins with a consonant "
                "gets its first letter moved to its end; then 'ma' is added to each word, and the "
                "letter 'a' once more than to the word before, once to the first word.")

    def rule(sentence):
        words = sentence.split()
        ending = 'ma'
        i = 0
        while i < len(words):
            word = words[i]
            if word[0] not in 'aeiouAEIOU':
                word = word[1:] + word[0]
            ending += 'a'
            words[i] = word + ending
            i += 1
        return ' '.join(words)

    def sample(rng, length):
        """Short words, half of them with a vowel in front, some with a capital."""
        words = [rng.choice(rng.choice([VOWEL_FIRST, OTHER_FIRST])) for _ in range(length)]
        return {"sentence": " ".join(word.capitalize() if rng.random() < 0.2 else word
                                     for word in words)}


@task("lc_953", source="leetcode", length="number of words")
class VerifyingAnAlienDictionary:
    """Are words in order, in another alphabet?
    (leetcode.com/problems/verifying-an-alien-dictionary)."""

    question = ("Are the words {words} in dictionary order, where the letters of the alphabet come "
                "in the order {order}?")

    def rule(words, order):
        rank = {}
        place = 0
        while order:
            rank[order[0]] = place
            order = order[1:]
            place += 1
        i = 1
        while i < len(words):
            left = words[i - 1]
            right = words[i]
            while left and right and left[0] == right[0]:
                left = left[1:]
                right = right[1:]
            if left and not right:
                return False
            if left and rank[left[0]] > rank[right[0]]:
                return False
            i += 1
        return True

    def sample(rng, length):
        """An alphabet of six letters and words of one to four, many with a common beginning; for
        a no, two neighbours change places."""
        order = "".join(rng.sample(ascii_lowercase, 6))
        words = []
        for _ in range(length):
            stem = rng.choice(words)[:rng.randint(1, 3)] if words and rng.random() < 0.5 else ""
            rest = rng.randint(0 if stem else 1, 4 - len(stem))
            words.append(stem + "".join(rng.choices(order, k=rest)))
        words.sort(key=lambda word: [order.index(letter) for letter in word])
        places = [i for i in range(1, length) if words[i - 1] != words[i]]
        if places and rng.random() < 0.5:
            i = rng.choice(places)
            words[i - 1], words[i] = words[i], words[i - 1]
        return {"words": words, "order": order}


@task("lc_890", source="leetcode", length="number of words")
class FindAndReplacePattern:
    """Words of the same shape (leetcode.com/problems/find-and-replace-pattern)."""

    question = ("Which of the words {words} turn into {pattern} when each letter is replaced by a "
                "letter of its own, the same one everywhere? List them in order.")

    def rule(words, pattern):
        found = []
        i = 0
        while i < len(words):
            word = words[i]
            fits = True
            for j in range(len(word)):
                if word.index(word[j]) != pattern.index(pattern[j]):
                    fits = False
                    break
            if fits:
                found.append(word)
            i += 1
        return found

    def sample(rng, length):
        """Patterns of two to four letters; in about one of six lists no word fits."""
        def fits(word):
            return [*map(word.index, word)] == [*map(pattern.index, pattern)]

        pattern = "".join(rng.choices("abc", k=rng.choice([2, 3, 3, 4])))
        share = rng.choice([0, 0.3, 0.4, 0.5, 0.6, 0.7])
        words = []
        while len(words) < length:
            wanted = rng.random() < share
            word = pattern
            while word == pattern or fits(word) != wanted:
                letters = rng.sample(ascii_lowercase, 3)
                word = "".join(rng.choices(letters, k=len(pattern)))
            words.append(word)
        return {"words": words, "pattern": pattern}


@task("lc_2418", source="leetcode", length="number of people")
class SortThePeople:
    """Names by height, tallest first (leetcode.com/problems/sort-the-people)."""

    question = ("The people {names} have the heights {heights}, in the same order and all "
                "different. List the names from the tallest to the shortest person.")

    def rule(names, heights):
        person = {}
        i = 0
        while i < len(heights):
            person[heights[i]] = names[i]
            i += 1
        result = []
        while heights:
            tallest = max(heights)
            heights.remove(tallest)
            result.append(person[tallest])
        return result

    counterfactual = {"tallest = max(heights)": "tallest = min(heights)"}

    def sample(rng, length):
        """Heights of two digits."""
        people = """Ada Amy Ann Ben Bob Carl Dan Eve Fay Gus Hal Ida Ian Jay Jim Joe Kim Leo Liz
        Lou Max Meg Mia Ned Pam Pat Ray Rob Rod Ron Roy Sam Sue Ted Tim Tom Una Val Vic Zoe"""
        return {"names": rng.choices(people.split(), k=length),
                "heights": rng.sample(range(10, 100), length)}


@task("lc_2185", source="leetcode", length="number of words")
class WordsWithAGivenPrefix:
    """The words that begin with some letters
    (leetcode.com/problems/counting-words-with-a-given-prefix; the paper lists the words)."""

    question = "Which of the words {words} start with {pref}? List them in order."

    def rule(words, pref):
        found = []
        i = 0
        while i < len(words):
            word = words[i]
            if word.startswith(pref):
                found.append(word)
            i += 1
        return found

    def sample(rng, length):
        """The other words share the first letter as often as not; in about one of six lists no
        word fits."""
        pref = rng.choice("b be c ca can co cr g ga gla h ha l la li m ma mo o p pa pe pi s sa t ti"
                          .split())
        share = rng.choice([0, 0.3, 0.4, 0.5, 0.6, 0.7])
        fitting = [word for word in sampling.WORDS if word.startswith(pref)]
        others = [word for word in sampling.WORDS if not word.startswith(pref)]
        near = [word for word in others if word[0] == pref[0]] or others
        return {"words": [rng.choice(fitting if rng.random() < share else
                                     rng.choice([near, others])) for _ in range(length)],
                "pref": pref}


@task("lc_2496", source="leetcode", length="length of strs")
class MaximumValueOfAStringInAnArray:
    """The largest value of strings
    (leetcode.com/problems/maximum-value-of-a-string-in-an-array)."""

    question = ("In {strs}, a string of digits alone is worth its number, any other its length. "
                "What is the largest value?")

    def rule(strs):
        best = 0
        i = 0
        while i < len(strs):
            text = strs[i]
            if text.isdigit():
                value = int(text)
            else:
                value = len(text)
            best = max(best, value)
            i += 1
        return best

    def sample(rng, length):
        """Up to six characters; the numbers up to 4, 9 or 30, so that either kind can be best."""
        highest = rng.choice([4, 9, 30])
        strs = []
        for _ in range(length):
            if rng.random() < 0.5:
                strs.append(rng.choice(["", "", "0"]) + str(rng.randint(0, highest)))
            else:
                text = rng.choices("abcxyz0123456789", k=rng.randint(1, 6))
                text[rng.randrange(len(text))] = rng.choice("abcxyz")
                strs.append("".join(text))
        return {"strs": strs}


@task("lc_2047", source="leetcode", length="number of tokens")
class NumberOfValidWordsInASentence:
    """Words without digits and stray marks
    (leetcode.com/problems/number-of-valid-words-in-a-sentence)."""

    question = ("Blanks part the sentence {sentence} into tokens. A token is valid if it has no "
                "digit, at most one hyphen, which stands between two letters, and at most one of "
                "the marks '!', '.' and ',', which stands at its end. How many are valid?")

    def rule(sentence):
        tokens = sentence.split()
        valid = 0
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token[-1] in '!.,':
                token = token[:-1]
            if '-' in token:
                parts = token.split('-')
                if len(parts) == 2 and parts[0].isalpha() and parts[1].isalpha():
                    valid += 1
            elif not token or token.isalpha():
                valid += 1
            i += 1
        return valid

    def sample(rng, length):
        """Short tokens, half of them with a flaw; some blanks are doubled."""
        def letters():
            return "".join(rng.choices("abcdefgh", k=rng.randint(1, 3)))

        tokens = []
        for _ in range(length):
            one, two, mark, digit = letters(), letters(), rng.choice("!.,"), rng.choice("0357")
            good = [one, one + mark, f"{one}-{two}", f"{one}-{two}{mark}", mark]
            bad = [one + digit, digit + one, digit, one + mark + mark, mark + one,
                   one + mark + two, f"-{one}", f"{one}-", f"{one}-{two}-", f"{one}-{mark}",
                   f"{one}--{two}", f"{one}-{two}-{one}", f"{one}-{digit}", f"{digit}-{two}"]
            tokens.append(rng.choice(rng.choice([good, bad])))
        return {"sentence": "".join(token + rng.choice([" ", " ", " ", "  "])
                                    for token in tokens).strip()}


@task("lc_2828", source="leetcode", length="number of words")
class CheckIfAStringIsAnAcronymOfWords:
    """First letters (leetcode.com/problems/check-if-a-string-is-an-acronym-of-words)."""

    question = "Do the first letters of the words {words}, in their order, make up {s}?"

    def rule(words, s):
        i = 0
        while i < len(words):
            word = words[i]
            if not s or s[0] != word[0]:
                return False
            s = s[1:]
            i += 1
        return not s

    def sample(rng, length):
        """For a no, one letter is another or the last one is missing or too many."""
        words = rng.choices(sampling.WORDS, k=length)
        s = "".join(word[0] for word in words)
        if rng.random() < 0.5:
            flaw = rng.randrange(5)
            if flaw == 0:
                s += rng.choice(ascii_lowercase)
            elif flaw == 1 and length > 1:
                s = s[:-1]
            else:
                place = rng.randrange(length)
                other = rng.choice(ascii_lowercase.replace(s[place], ""))
                s = s[:place] + other + s[place + 1:]
        return {"words": words, "s": s}


@task("lc_290", source="leetcode", length="number of words in s")
class WordPattern:
    """Words that follow a pattern of letters (leetcode.com/problems/word-pattern)."""

    question = ("Is there a word for each letter of {pattern}, different words for different "
                "letters, so that the letters, put into words, read {s}?")

    def rule(pattern, s):
        word_of = {}
        letter_of = {}
        words = s.split()
        while pattern and words:
            letter = pattern[0]
            pattern = pattern[1:]
            word = words.pop(0)
            if word_of.get(letter, word) != word:
                return False
            if letter_of.get(word, letter) != letter:
                return False
            word_of[letter] = word
            letter_of[word] = letter
        return not pattern and not words

    def sample(rng, length):
        """Up to five letters; for a no, one word is another or the pattern is longer or shorter."""
        letters = rng.sample("abcdefgh", rng.randint(1, 5))
        *chosen, fresh = rng.sample(OTHER_FIRST, len(letters) + 1)
        word_of = dict(zip(letters, chosen, strict=True))
        pattern = "".join(rng.choices(letters, k=length))
        words = [word_of[letter] for letter in pattern]
        if rng.random() < 0.5:
            place = rng.randrange(length)
            wrong = [word for word in words if word != words[place]]
            if pattern.count(pattern[place]) > 1:
                wrong += [fresh] * (1 + len(wrong) // 2)
            if not wrong or rng.random() < 0.2:
                shorter = length > 1 and rng.random() < 0.5
                pattern = pattern[:-1] if shorter else pattern + rng.choice(letters)
            else:
                words[place] = rng.choice(wrong)
        return {"pattern": pattern, "s": " ".join(words)}


@task("lc_434", source="leetcode", length="number of segments")
class NumberOfSegmentsInAString:
    """Runs of characters between blanks
    (leetcode.com/problems/number-of-segments-in-a-string)."""

    question = "How many runs of characters other than blanks are in {s}?"

    def rule(s):
        parts = s.split(' ')
        segments = 0
        while parts:
            part = parts.pop(0)
            if part:
                segments += 1
        return segments

    def sample(rng, length):
        """Short words, some with a mark, and one to three blanks between them; some blanks
        before and behind."""
        text = " " * rng.choice([0, 0, 1, 2])
        for _ in range(length):
            text += rng.choice(OTHER_FIRST) + rng.choice(["", "", ",", "."])
            text += " " * rng.choice([1, 1, 1, 2, 3])
        return {"s": text if rng.random() < 0.3 else text.rstrip()}


@task("lc_557", source="leetcode", length="length of s", title="Reverse words in a string III")
class ReverseWordsInAStringIii:
    """Each word backwards (leetcode.com/problems/reverse-words-in-a-string-iii)."""

    question = "Reverse each word of {s}; the words and the blanks stay where they are."

    def rule(s):
        result = ''
        word = ''
        while s:
            letter = s[0]
            s = s[1:]
            if letter == ' ':
                result += word + letter
                word = ''
            else:
                word = letter + word
        return result + word

    def sample(rng, length):
        """Words of at most four letters, the last one cut to fit; some blanks are doubled."""
        text = ""
        while len(text) < length:
            text += rng.choice(VOWEL_FIRST + OTHER_FIRST) + rng.choice([" ", " ", " ", "  "])
        return {"s": text[:length]}


@task("lc_500", source="leetcode", length="number of words")
class KeyboardRow:
    """Words typed on one row of keys (leetcode.com/problems/keyboard-row)."""

    question = ("Which of the words {words} can be typed with the letters of one row of an "
                "American keyboard alone? List them in order.")

    ROW = {'q': 1, 'w': 1, 'e': 1, 'r': 1, 't': 1, 'y': 1, 'u': 1, 'i': 1, 'o': 1, 'p': 1,
           'a': 2, 's': 2, 'd': 2, 'f': 2, 'g': 2, 'h': 2, 'j': 2, 'k': 2, 'l': 2,
           'z': 3, 'x': 3, 'c': 3, 'v': 3, 'b': 3, 'n': 3, 'm': 3}

    def rule(words):
        found = []
        i = 0
        while i < len(words):
            word = words[i].lower()
            row = ROW[word[0]]
            same = True
            for letter in word:
                if ROW[letter] != row:
                    same = False
                    break
            if same:
                found.append(words[i])
            i += 1
        return found

    def sample(rng, length):
        """One to four letters of one row, in the other words one of them of another row; some
        capitals. In about one of six lists no word fits."""
        rows = ["qwertyuiop", "asdfghjkl", "zxcvbnm"]
        share = rng.choice([0, 0.3, 0.4, 0.5, 0.6, 0.7])
        words = []
        for _ in range(length):
            row, other = rng.sample(rows, 2)
            if rng.random() < share:
                letters = rng.choices(row, k=rng.randint(1, 4))
            else:
                letters = rng.choices(row, k=rng.randint(1, 3))
                letters.insert(rng.randint(0, len(letters)), rng.choice(other))
            word = "".join(letters)
            words.append(word.capitalize() if rng.random() < 0.3 else word)
        return {"words": words}
