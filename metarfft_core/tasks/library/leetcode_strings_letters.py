"""LeetCode tasks on the letters of a string: vowels, capitals, how often each occurs."""

from string import ascii_letters, ascii_lowercase

from metarfft_core.tasks.registry import task


def _letters(rng, length: int, vowels: int) -> str:
    """Letters, `vowels` of them vowels, in any order; one of five is a capital."""
    text = rng.choices("aeiou", k=vowels) + rng.choices("bcdfghjklmnpqrstvwxyz", k=length - vowels)
    rng.shuffle(text)
    return "".join(letter.upper() if rng.random() < 0.2 else letter for letter in text)


@task("lc_1704", source="leetcode", length="half the length of s")
class DetermineIfStringHalvesAreAlike:
    """Equally many vowels in both halves
    (leetcode.com/problems/determine-if-string-halves-are-alike)."""

    question = "Do both halves of {s} hold equally many vowels, small or capital?"

    VOWELS = 'AEIOUaeiou'

    def rule(s):
        difference = 0
        while s:
            if s[0] in VOWELS:
                difference += 1
            if s[-1] in VOWELS:
                difference -= 1
            s = s[1:-1]
        return difference == 0

    def sample(rng, length):
        """For a no, one half holds one or two vowels more."""
        one = two = rng.randint(0, length)
        if rng.random() < 0.5:
            two = rng.choice([count for count in range(max(0, one - 2), min(length, one + 2) + 1)
                              if count != one])
        return {"s": _letters(rng, length, one) + _letters(rng, length, two)}


@task("lc_345", source="leetcode", length="length of s")
class ReverseVowelsOfAString:
    """The vowels in opposite order (leetcode.com/problems/reverse-vowels-of-a-string)."""

    question = ("Put the vowels of {s}, small and capital, into opposite order; "
                "everything else stays where it is.")

    VOWELS = 'AEIOUaeiou'

    def rule(s):
        vowels = ''
        rest = s
        while rest:
            if rest[0] in VOWELS:
                vowels += rest[0]
            rest = rest[1:]
        result = ''
        while s:
            if s[0] in VOWELS:
                result += vowels[-1]
                vowels = vowels[:-1]
            else:
                result += s[0]
            s = s[1:]
        return result

    def sample(rng, length):
        """Few vowels in a long string, so that its trace stays short."""
        vowels = rng.randint(length // 6, min(length, length // 5 + 2))
        return {"s": _letters(rng, length, vowels)}


@task("lc_2785", source="leetcode", length="length of s")
class SortVowelsInAString:
    """The vowels sorted, in the places of the vowels
    (leetcode.com/problems/sort-vowels-in-a-string)."""

    question = ("Put the vowels of {s} into the order AEIOUaeiou; "
                "everything else stays where it is.")

    VOWELS = 'AEIOUaeiou'

    def rule(s):
        vowels = ''
        rest = s
        while rest:
            if rest[0] in VOWELS:
                i = 0
                while i < len(vowels) and vowels[i] < rest[0]:
                    i += 1
                vowels = vowels[:i] + rest[0] + vowels[i:]
            rest = rest[1:]
        result = ''
        while s:
            if s[0] in VOWELS:
                result += vowels[0]
                vowels = vowels[1:]
            else:
                result += s[0]
            s = s[1:]
        return result

    def sample(rng, length):
        """Few vowels in a long string, so that its trace stays short."""
        vowels = rng.randint(length // 6, min(length, length // 5 + 2))
        return {"s": _letters(rng, length, vowels)}


@task("lc_2129", source="leetcode", length="number of letters in the word")
class CapitalizeTheTitle:
    """A word as in a title (leetcode.com/problems/capitalize-the-title)."""

    question = ("Write the word {title} as in a title: a word of one or two letters all small, "
                "a longer one with a capital first and small letters behind.")

    def rule(title):
        result = ''
        if title[2:]:
            result = title[0].upper()
            title = title[1:]
        while title:
            result += title[0].lower()
            title = title[1:]
        return result

    def sample(rng, length):
        """Letters of either case."""
        return {"title": "".join(rng.choices(ascii_letters, k=length))}


@task("lc_520", source="leetcode", length="length of word")
class DetectCapital:
    """Are the capitals of a word in place? (leetcode.com/problems/detect-capital)."""

    question = "Is {word} all capitals, all small letters, or one capital and then small letters?"

    def rule(word):
        first = word[0]
        word = word[1:]
        capital = 0
        small = 0
        while word:
            if word[0].isupper():
                capital += 1
            else:
                small += 1
            word = word[1:]
        if capital == 0:
            return True
        if small > 0:
            return False
        return first.isupper()

    def sample(rng, length):
        """One of the three forms; for a no, letters of it change case until it is none of them."""
        word = "".join(rng.choices(ascii_lowercase, k=length))
        word = rng.choice([word, word.upper(), word.capitalize()])
        if rng.random() < 0.5 and length > 1:
            while word in (word.lower(), word.upper(), word.capitalize()):
                place = rng.randrange(length)
                word = word[:place] + word[place].swapcase() + word[place + 1:]
        return {"word": word}


@task("lc_242", source="leetcode", length="length of s")
class ValidAnagram:
    """The same letters in another order (leetcode.com/problems/valid-anagram)."""

    question = "Do {s} and {t} hold the same letters, each equally often?"

    def rule(s, t):
        while s:
            letter = s[0]
            s = s[1:]
            if letter not in t:
                return False
            t = t.replace(letter, '', 1)
        return not t

    def sample(rng, length):
        """Up to eight kinds of letters; for a no, a letter of t changes, goes or comes."""
        kinds = rng.sample(ascii_lowercase, 8)
        s = rng.choices(kinds, k=length)
        t = rng.sample(s, length)
        if rng.random() < 0.5:
            place = rng.randrange(length)
            change = rng.choice(["other", "other", "one more", "one less"])
            if change == "one more":
                t.insert(place, rng.choice(kinds))
            elif change == "one less" and length > 1:
                t.pop(place)
            else:
                t[place] = rng.choice([other for other in kinds if other != t[place]])
        return {"s": "".join(s), "t": "".join(t)}


@task("lc_383", source="leetcode", length="length of magazine")
class RansomNote:
    """A note out of letters cut from a magazine (leetcode.com/problems/ransom-note)."""

    question = "Can {ransomNote} be built from the letters of {magazine}, each used at most once?"

    def rule(ransomNote, magazine):
        while ransomNote:
            letter = ransomNote[0]
            ransomNote = ransomNote[1:]
            if letter not in magazine:
                return False
            magazine = magazine.replace(letter, '', 1)
        return True

    def sample(rng, length):
        """Some letters of the magazine; for a no, one more of some kind than the magazine has."""
        kinds = rng.sample(ascii_lowercase, 8)
        magazine = rng.choices(kinds, k=length)
        note = rng.sample(magazine, rng.randint(1, length))
        if rng.random() < 0.5:
            lacking = rng.choice(kinds)
            note = [letter for letter in note if letter != lacking]
            note = [lacking] * (magazine.count(lacking) + 1) + note[magazine.count(lacking):]
            rng.shuffle(note)
        return {"ransomNote": "".join(note), "magazine": "".join(magazine)}


@task("lc_387", source="leetcode", length="length of s")
class FirstUniqueCharacterInAString:
    """The first letter that occurs once
    (leetcode.com/problems/first-unique-character-in-a-string)."""

    question = ("At which index, from 0, is the first letter of {s} that occurs only once? "
                "Answer -1 where every letter occurs again.")

    def rule(s):
        seen = ''
        i = 0
        while s:
            letter = s[0]
            s = s[1:]
            if letter not in seen and letter not in s:
                return i
            seen += letter
            i += 1
        return -1

    def sample(rng, length):
        """One or two unique letters, none in one of five strings; the others occur repeatedly."""
        kinds = rng.sample(ascii_lowercase, len(ascii_lowercase))
        unique = 0 if rng.random() < 0.2 and length > 1 else rng.randint(1, min(2, length))
        if length - unique == 1:
            unique = length
        others = kinds[unique:unique + rng.randint(1, max(1, min(24, (length - unique) // 2)))]
        text = kinds[:unique]
        if length > unique:
            text += 2 * others + rng.choices(others, k=length - unique - 2 * len(others))
        rng.shuffle(text)
        return {"s": "".join(text)}


@task("lc_2423", source="leetcode", length="length of word")
class RemoveLetterToEqualizeFrequency:
    """Remove a letter, and all others occur equally often
    (leetcode.com/problems/remove-letter-to-equalize-frequency)."""

    question = ("Can exactly one letter be removed from {word} so that the letters that are left "
                "all occur equally often?")

    def rule(word):
        counts = {}
        while word:
            letter = word[0]
            word = word[1:]
            counts[letter] = counts.get(letter, 0) + 1
        for letter in counts:
            counts[letter] -= 1
            frequencies = []
            for other in counts:
                if counts[other] > 0 and counts[other] not in frequencies:
                    frequencies.append(counts[other])
            if len(frequencies) < 2:
                return True
            counts[letter] += 1
        return False

    def sample(rng, length):
        """Up to five kinds equally often and one letter more; for a no, letters change until none
        can be removed (from four letters on)."""
        kinds = rng.choice([kinds for kinds in range(1, 6) if (length - 1) % kinds == 0])
        counts = [(length - 1) // kinds] * kinds + [0, 0]
        counts[rng.choice([0, -1])] += 1
        if rng.random() < 0.5 and length > 3:
            while _removable(counts):
                one, two = rng.sample(range(len(counts)), 2)
                if counts[one] > 0:
                    counts[one] -= 1
                    counts[two] += 1
        letters = rng.sample(ascii_lowercase, len(counts))
        text = [letter for letter, count in zip(letters, counts, strict=True)
                for _ in range(count)]
        rng.shuffle(text)
        return {"word": "".join(text)}


def _removable(counts: list[int]) -> bool:
    """Does one letter less of some kind make all counts above zero equal?"""
    return any(len({count - (one == kind) for kind, count in enumerate(counts)} - {0}) < 2
               for one in range(len(counts)) if counts[one] > 0)
