"""LeetCode tasks on one string, or two, read from the front or from both ends."""

from string import ascii_lowercase

from metarfft_core.tasks.registry import task


@task("lc_125", source="leetcode", split="downstream", length="half the length of s (even)")
class ValidPalindrome:
    """A palindrome, letters and digits alone (leetcode.com/problems/valid-palindrome)."""

    question = ("Keep only the letters and digits of {s}, in lower case. "
                "Does that read the same forwards and backwards?")

    def rule(s):
        while s:
            if not s[0].isalnum():
                s = s[1:]
            elif not s[-1].isalnum():
                s = s[:-1]
            elif s[0].lower() != s[-1].lower():
                return False
            else:
                s = s[1:-1]
        return True

    counterfactual = {"elif s[0].lower() != s[-1].lower():": "elif s[0].lower() == s[-1].lower():"}

    def sample(rng, length):
        """Mirrored letters and digits with some marks between; for a no, one of them changes."""
        marks = rng.randint(0, length // 3)
        half = rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length - marks // 2)
        text = (half + half[::-1])[: 2 * length - marks] if marks % 2 == 0 else half + half[-2::-1]
        if rng.random() < 0.5 and len(text) > 1:
            place = rng.randrange(len(text) // 2)
            text[place] = rng.choice([other for other in "abcdefgh1234" if other != text[place]])
        text = [letter.upper() if rng.random() < 0.3 else letter for letter in text]
        while len(text) < 2 * length:
            text.insert(rng.randint(0, len(text)), rng.choice(" ,.:!?-"))
        return {"s": "".join(text)}


@task("lc_461", source="leetcode", split="downstream", length="number of bits")
class HammingDistance:
    """Places where two bit strings differ (leetcode.com/problems/hamming-distance)."""

    question = "At how many places do the bits of {x} and {y} differ?"

    def rule(x, y):
        distance = 0
        while x:
            if x[0] != y[0]:
                distance += 1
            x = x[1:]
            y = y[1:]
        return distance

    counterfactual = {"if x[0] != y[0]:": "if x[0] == y[0]:"}

    def sample(rng, length):
        return {"x": "".join(rng.choices("01", k=length)),
                "y": "".join(rng.choices("01", k=length))}


@task("lc_3324", source="leetcode", split="downstream",
      length="sum over the letters of target of their place in the alphabet (a=1)")
class FindTheSequenceOfStringsAppearedOnTheScreen:
    """Every screen while a string is typed with two keys
    (leetcode.com/problems/find-the-sequence-of-strings-appeared-on-the-screen)."""

    question = ("Key 1 appends the letter a, key 2 turns the last letter into the next one of the "
                "alphabet. List every screen while {target} is typed with the fewest presses.")

    def rule(target):
        screens = []
        screen = ''
        while target:
            screen += 'a'
            screens.append(screen)
            while screen[-1] != target[0]:
                screen = screen[:-1] + chr(ord(screen[-1]) + 1)
                screens.append(screen)
            target = target[1:]
        return screens

    counterfactual = {"target = target[1:]": "target = target[2:]"}

    def sample(rng, length):
        """Letters drawn one after the other, none past the places that are left."""
        target, left = "", length
        while left:
            place = rng.randint(1, min(left, 26))
            target += chr(ord("a") + place - 1)
            left -= place
        return {"target": target}


@task("lc_2609", source="leetcode", length="length of s")
class FindTheLongestBalancedSubstringOfABinaryString:
    """Zeros, then as many ones
    (leetcode.com/problems/find-the-longest-balanced-substring-of-a-binary-string)."""

    question = ("How long is the longest stretch of {s} that is some zeros, then equally many "
                "ones? Zero if there is none.")

    def rule(s):
        best = 0
        zeros = 0
        ones = 0
        while s:
            if s[0] == '1':
                ones += 1
                if ones <= zeros:
                    best = max(best, 2 * ones)
            elif ones == 0:
                zeros += 1
            else:
                zeros = 1
                ones = 0
            s = s[1:]
        return best

    def sample(rng, length):
        """Runs of up to five equal bits; in one of ten strings all ones stand before the zeros."""
        if rng.random() < 0.1:
            ones = rng.randint(0, length)
            return {"s": "1" * ones + "0" * (length - ones)}
        text, bit = "", rng.choice("01")
        while len(text) < length:
            text += bit * rng.randint(1, min(5, 1 + length // 2))
            bit = "0" if bit == "1" else "1"
        return {"s": text[:length]}


@task("lc_2645", source="leetcode", length="length of word")
class MinimumAdditionsToMakeValidString:
    """Letters missing from abcabc...
    (leetcode.com/problems/minimum-additions-to-make-valid-string)."""

    question = ("How many letters must at least be inserted into {word} to make it abc, "
                "written once or several times in a row?")

    NEXT = {'a': 'b', 'b': 'c', 'c': 'a'}

    def rule(word):
        additions = 0
        expected = 'a'
        while word:
            if word[0] == expected:
                word = word[1:]
            else:
                additions += 1
            expected = NEXT[expected]
        while expected != 'a':
            additions += 1
            expected = NEXT[expected]
        return additions

    def sample(rng, length):
        """Two of three letters are those that come next, so that no letter lacks at many places."""
        follow = {"": "a"} | MinimumAdditionsToMakeValidString.tables["NEXT"]
        word = ""
        while len(word) < length:
            word += rng.choice("abc" + 3 * follow[word[-1:]])
        return {"word": word}


@task("lc_2833", source="leetcode", length="number of moves")
class FurthestPointFromOrigin:
    """The farthest end of moves, some of them free
    (leetcode.com/problems/furthest-point-from-origin)."""

    question = ("Do the moves {moves} on a line: L is one step left, R one step right, each _ one "
                "of the two as you like. How far from the start can you end?")

    def rule(moves):
        position = 0
        free = 0
        while moves:
            if moves[0] == 'L':
                position -= 1
            elif moves[0] == 'R':
                position += 1
            else:
                free += 1
            moves = moves[1:]
        return abs(position) + free

    def sample(rng, length):
        return {"moves": "".join(rng.choices("LR_", k=length))}


@task("lc_551", source="leetcode", length="length of s", title="Student attendance record I")
class StudentAttendanceRecordI:
    """Days absent and late (leetcode.com/problems/student-attendance-record-i)."""

    question = ("In the attendance record {s}, A is absent, L late, P present. Are there fewer "
                "than two A, and nowhere three L in a row?")

    def rule(s):
        absent = 0
        late = 0
        while s:
            if s[0] == 'L':
                late += 1
                if late == 3:
                    return False
            else:
                late = 0
                if s[0] == 'A':
                    absent += 1
                    if absent == 2:
                        return False
            s = s[1:]
        return True

    def sample(rng, length):
        """For a no, two days become A or three days in a row become L, at any places."""
        days = []
        while len(days) < length:
            days += rng.choice([["P"], ["L", "P"], ["L", "L", "P"]])
        days = days[:length]
        if rng.random() < 0.6:
            days[rng.randrange(length)] = "A"
        if rng.random() < 0.5 and length > 1:
            if length == 2 or rng.random() < 0.5:
                for place in rng.sample(range(length), 2):
                    days[place] = "A"
            else:
                place = rng.randrange(length - 2)
                days[place:place + 3] = "LLL"
        return {"s": "".join(days)}


@task("lc_1041", source="leetcode", length="number of instructions")
class RobotBoundedInCircle:
    """A robot that repeats its instructions (leetcode.com/problems/robot-bounded-in-circle)."""

    question = ("A robot faces north and repeats the instructions {instructions} for ever: G goes "
                "one step ahead, L and R turn left and right. Does it stay within some circle?")

    LEFT = {'north': 'west', 'west': 'south', 'south': 'east', 'east': 'north'}
    RIGHT = {'north': 'east', 'east': 'south', 'south': 'west', 'west': 'north'}

    def rule(instructions):
        x = 0
        y = 0
        facing = 'north'
        while instructions:
            step = instructions[0]
            instructions = instructions[1:]
            if step == 'L':
                facing = LEFT[facing]
            elif step == 'R':
                facing = RIGHT[facing]
            elif facing == 'north':
                y += 1
            elif facing == 'south':
                y -= 1
            elif facing == 'east':
                x += 1
            else:
                x -= 1
        if facing != 'north':
            return True
        return x == 0 and y == 0

    def sample(rng, length):
        """A yes ends turned, or (half of them, an even length) at the start: loops in loops."""
        yes = rng.random() < 0.5
        if yes and length % 2 == 0 and rng.random() < 0.5:
            text = ""
            while len(text) < length:
                loop = rng.choice(["LR", "RL", "GLLGLL", "GRRGRR", "GLLGRR", "LGLLGL", "RGRRGR",
                                   "GLGLGLGL", "GRGRGRGR"])
                if len(text) + len(loop) <= length:
                    place = rng.randint(0, len(text))
                    text = text[:place] + loop + text[place:]
            return {"instructions": text}
        while True:
            text = "".join(rng.choices("GGLR", k=length))
            position, facing = 0, 1
            for step in text:
                position += facing if step == "G" else 0
                facing *= {"G": 1, "L": 1j, "R": -1j}[step]
            if yes == (facing != 1) and (yes or position):
                return {"instructions": text}


@task("lc_392", source="leetcode", length="length of t")
class IsSubsequence:
    """Letters in the order of another string (leetcode.com/problems/is-subsequence)."""

    question = "Can {s} be made from {t} by deleting letters and keeping the order of the others?"

    def rule(s, t):
        while s and t:
            if s[0] == t[0]:
                s = s[1:]
            t = t[1:]
        return not s

    def sample(rng, length):
        """Letters of t in their order; for a no, some of them change."""
        t = rng.choices(rng.sample(ascii_lowercase, rng.randint(4, 12)), k=length)
        size = rng.randint(1, (length + 1) // 2)
        s = [t[place] for place in sorted(rng.sample(range(length), size))]
        if rng.random() < 0.5:
            while _is_subsequence(s, t):
                s[rng.randrange(size)] = rng.choice(ascii_lowercase)
        return {"s": "".join(s), "t": "".join(t)}


def _is_subsequence(s: list[str], t: list[str]) -> bool:
    """Do the letters of s occur in t in their order?"""
    rest = iter(t)
    return all(letter in rest for letter in s)


@task("lc_796", source="leetcode", length="length of s")
class RotateString:
    """Is one string a rotation of another? (leetcode.com/problems/rotate-string)."""

    question = "Can {s} become {goal} by moving its first letter to the end, as often as needed?"

    def rule(s, goal):
        head = ''
        while s:
            if s[0] == goal[0] and s + head == goal:
                return True
            head += s[0]
            s = s[1:]
        return False

    def sample(rng, length):
        """Two to six kinds of letters; for a no, one letter of a rotation changes."""
        kinds = rng.sample(ascii_lowercase, rng.randint(2, 6))
        s = rng.choices(kinds, k=length)
        turns = rng.randrange(length)
        goal = s[turns:] + s[:turns]
        if rng.random() < 0.5:
            place = rng.randrange(length)
            goal[place] = rng.choice([other for other in kinds if other != goal[place]])
        return {"s": "".join(s), "goal": "".join(goal)}
