"""LeetCode tasks that write a string anew: letters deleted, replaced, reversed or grouped."""

from string import ascii_lowercase

from metarfft_core.tasks.registry import task


@task("lc_2390", source="leetcode", length="length of s")
class RemovingStarsFromAString:
    """Stars that delete letters (leetcode.com/problems/removing-stars-from-a-string)."""

    question = ("In {s} each * from left to right deletes itself and the nearest letter on its "
                "left that is still there. What is left?")

    def rule(s):
        result = ''
        while s:
            if s[0] == '*':
                result = result[:-1]
            else:
                result += s[0]
            s = s[1:]
        return result

    def sample(rng, length):
        """A star for four in ten characters where a letter is left to delete."""
        text, left = "", 0
        while len(text) < length:
            star = left > 0 and rng.random() < 0.4
            left += -1 if star else 1
            text += "*" if star else rng.choice(ascii_lowercase)
        return {"s": text}


@task("lc_2810", source="leetcode", length="length of s")
class FaultyKeyboard:
    """A key that reverses the screen (leetcode.com/problems/faulty-keyboard)."""

    question = ("On a faulty keyboard the letter i reverses what is on the screen instead of "
                "appearing. What is on the screen once {s} is typed?")

    def rule(s):
        screen = ''
        while s:
            if s[0] == 'i':
                backwards = ''
                while screen:
                    backwards += screen[-1]
                    screen = screen[:-1]
                screen = backwards
            else:
                screen += s[0]
            s = s[1:]
        return screen

    def sample(rng, length):
        """One i at any place."""
        text = rng.choices(ascii_lowercase.replace("i", ""), k=length)
        text[rng.randrange(length)] = "i"
        return {"s": "".join(text)}


@task("lc_1576", source="leetcode", length="length of s")
class ReplaceAllQuestionMarks:
    """Letters that differ from their neighbours
    (leetcode.com/problems/replace-all-s-to-avoid-consecutive-repeating-characters)."""

    question = ("From left to right, replace each question mark of {s} by the first of the letters "
                "a, b, c that differs from both neighbours.")

    def rule(s):
        result = ''
        while s:
            letter = s[0]
            s = s[1:]
            if letter == '?':
                neighbours = result[-1:] + s[:1]
                if 'a' not in neighbours:
                    letter = 'a'
                elif 'b' not in neighbours:
                    letter = 'b'
                else:
                    letter = 'c'
            result += letter
        return result

    def sample(rng, length):
        """The letters a to d, neighbours being different, and about four marks in ten."""
        text = ""
        while len(text) < length:
            text += "?" if rng.random() < 0.4 else rng.choice("abcd".replace(text[-1:] or "?", ""))
        return {"s": text}


@task("lc_541", source="leetcode", length="length of s", title="Reverse string II")
class ReverseStringIi:
    """Every other group of letters reversed (leetcode.com/problems/reverse-string-ii)."""

    question = ("From the start of {s}, reverse {k} letters, leave as many as they are, and so on "
                "to the end. Where fewer are left, take these.")

    def rule(s, k):
        result = ''
        while s:
            group = s[:k]
            s = s[k:]
            while group:
                result += group[-1]
                group = group[:-1]
            result += s[:k]
            s = s[k:]
        return result

    def sample(rng, length):
        return {"s": "".join(rng.choices(ascii_lowercase, k=length)),
                "k": rng.randint(1, min(length + 1, 6))}


@task("lc_482", source="leetcode", length="length of s")
class LicenseKeyFormatting:
    """A key in groups from the right (leetcode.com/problems/license-key-formatting)."""

    question = ("Write the key {s} without its dashes, in capitals, and from the right in groups "
                "of {k} with a dash between; the first group may be shorter.")

    def rule(s, k):
        result = ''
        size = 0
        while s:
            letter = s[-1]
            s = s[:-1]
            if letter != '-':
                if size == k:
                    result = '-' + result
                    size = 0
                result = letter.upper() + result
                size += 1
        return result

    def sample(rng, length):
        """Letters and digits with a dash for one in five."""
        text = [rng.choice("-" if rng.random() < 0.2 else "abcdefghABCDEFGH0123456789")
                for _ in range(length)]
        return {"s": "".join(text), "k": rng.randint(1, min(length + 1, 6))}


@task("lc_1694", source="leetcode", length="number of characters")
class ReformatPhoneNumber:
    """A telephone number in groups (leetcode.com/problems/reformat-phone-number)."""

    question = ("Write only the digits of {number}, from the left in groups of three with a dash "
                "between. The last group may be shorter; but four last digits become two and two.")

    def rule(number):
        digits = ''
        while number:
            if number[0].isdigit():
                digits += number[0]
            number = number[1:]
        result = ''
        while digits[4:]:
            result = result + digits[:3] + '-'
            digits = digits[3:]
        if digits[3:]:
            result = result + digits[:2] + '-'
            digits = digits[2:]
        return result + digits

    def sample(rng, length):
        """A blank or a dash for one in four, at least one digit."""
        text = [rng.choice("0123456789" if rng.random() < 0.75 else " -") for _ in range(length)]
        text[rng.randrange(length)] = rng.choice("0123456789")
        return {"number": "".join(text)}


@task("lc_1417", source="leetcode", length="length of s")
class ReformatTheString:
    """Letters and digits in turn (leetcode.com/problems/reformat-the-string)."""

    question = ("Let letters and digits of {s} alternate, each kind in its own order: first the "
                "kind that has more, letters on a tie. The answer is '' where that is impossible.")

    def rule(s):
        letters = ''
        digits = ''
        surplus = 0
        while s:
            if s[0].isdigit():
                digits += s[0]
                surplus -= 1
            else:
                letters += s[0]
                surplus += 1
            s = s[1:]
        if abs(surplus) > 1:
            return ''
        result = ''
        if surplus < 0:
            result += digits[0]
            digits = digits[1:]
        while letters:
            result = result + letters[0] + digits[:1]
            letters = letters[1:]
            digits = digits[1:]
        return result

    def sample(rng, length):
        """Impossible in one of five strings: two to five more of one kind."""
        digits = (length + rng.choice([0, length % 2])) // 2
        if rng.random() < 0.2 and length > 1:
            more = min(length, rng.choice([2, 4]) + length % 2)
            digits = rng.choice([length - more, length + more]) // 2
        text = rng.choices("0123456789", k=digits) + rng.choices(ascii_lowercase, k=length - digits)
        rng.shuffle(text)
        return {"s": "".join(text)}


@task("lc_3271", source="leetcode", length="number of chunks: len(s) = length * k")
class HashDividedString:
    """A letter for each chunk of a string (leetcode.com/problems/hash-divided-string)."""

    question = ("Cut {s} into chunks of {k} letters. In each, add up the places of the letters in "
                "the alphabet, from 0 for a to 25 for z, and take the letter at the place that is "
                "the sum modulo 26. What do these letters spell?")

    PLACE = {'a': 0, 'b': 1, 'c': 2, 'd': 3, 'e': 4, 'f': 5, 'g': 6, 'h': 7, 'i': 8, 'j': 9,
             'k': 10, 'l': 11, 'm': 12, 'n': 13, 'o': 14, 'p': 15, 'q': 16, 'r': 17, 's': 18,
             't': 19, 'u': 20, 'v': 21, 'w': 22, 'x': 23, 'y': 24, 'z': 25}
    LETTER = {0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e', 5: 'f', 6: 'g', 7: 'h', 8: 'i', 9: 'j',
              10: 'k', 11: 'l', 12: 'm', 13: 'n', 14: 'o', 15: 'p', 16: 'q', 17: 'r', 18: 's',
              19: 't', 20: 'u', 21: 'v', 22: 'w', 23: 'x', 24: 'y', 25: 'z'}

    def rule(s, k):
        result = ''
        while s:
            total = 0
            for letter in s[:k]:
                total += PLACE[letter]
            total = total % 26
            result += LETTER[total]
            s = s[k:]
        return result

    counterfactual = {"total = total % 26": "total = total % 25"}

    def sample(rng, length):
        """Chunks of four letters only up to length 27, which is what a small context holds."""
        k = rng.randint(2, 4 if length < 28 else 3)
        return {"s": "".join(rng.choices(ascii_lowercase, k=length * k)), "k": k}
