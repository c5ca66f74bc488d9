"""LeetCode tasks on games and records (the paper's Table 1)."""

from metarfft_core.tasks.registry import task


@task("lc_2582", source="leetcode", length="n, the number of people")
class PassThePillow:
    """Who holds a pillow that goes up and down a line (leetcode.com/problems/pass-the-pillow)."""

    question = ("In a line of {n} people the first holds a pillow. Each pass hands it to the next "
                "person in the line; at an end of the line the direction turns round. At which "
                "place of the line, counted from one, is the pillow after {time} passes?")

    def rule(n, time):
        place = 1
        if n == 1:
            return place
        while time > 0:
            if place == n:
                step = -1
            elif place == 1:
                step = 1
            place += step
            time -= 1
        return place

    def sample(rng, length):
        """Up to one and a half ways up and down the line."""
        return {"n": length, "time": rng.randint(1, 3 * length + 5)}


@task("lc_2103", source="leetcode", length="number of rings (half the string)")
class RingsAndRods:
    """Rods that hold rings of three colours (leetcode.com/problems/rings-and-rods)."""

    question = ("Each pair of characters in {rings} puts a ring on a rod: first its colour, R, G "
                "or B, then the digit of the rod. How many rods hold all three colours?")

    def rule(rings):
        rods = {}
        full = 0
        while rings:
            colour = rings[0]
            rod = rings[1]
            rings = rings[2:]
            held = rods.get(rod, '')
            if colour not in held:
                held += colour
                rods[rod] = held
                if len(held) == 3:
                    full += 1
        return full

    def sample(rng, length):
        """Few rods for few rings, and as many rings of each colour in half the draws, so that
        some rods fill."""
        rods = rng.sample("0123456789", min(10, 1 + length // rng.randint(3, 6)))
        colours = rng.choices("RGB", k=length)
        if rng.random() < 0.5:
            colours = rng.sample(("RGB" * length)[:length], length)
        return {"rings": "".join(colour + rng.choice(rods) for colour in colours)}


@task("lc_2682", source="leetcode", length="n is drawn from 1..length-1 (1 where length is 1)")
class FindTheLosersOfTheCircularGame:
    """Who never gets the ball in a circle
    (leetcode.com/problems/find-the-losers-of-the-circular-game)."""

    question = ("In a circle of {n} friends, numbered from one, the first friend has the ball. The "
                "first throw goes {k} friends onward, and each throw goes that many friends "
                "further than the throw before. The game stops when a friend gets the ball again. "
                "List the friends who never had it, in ascending order.")

    def rule(n, k):
        losers = list(range(1, n + 1))
        friend = 1
        throw = k
        while friend in losers:
            losers.remove(friend)
            friend += throw
            while friend > n:
                friend -= n
            throw += k
        return losers

    def sample(rng, length):
        """First throws of up to six friends, so that few rounds of the circle are taken off."""
        return {"n": rng.randint(1, max(1, length - 1)), "k": rng.randint(1, 6)}


@task("lc_1823", source="leetcode", length="n")
class FindTheWinnerOfTheCircularGame:
    """Who is left of a circle, the Josephus problem, by adding one friend after the other
    (leetcode.com/problems/find-the-winner-of-the-circular-game)."""

    question = ("In a circle of {n} friends, numbered from one, count {k} friends, beginning with "
                "the first; the last one counted leaves. Count on from the next friend in the same "
                "way until one friend is left. Which one?")

    def rule(n, k):
        winner = 0
        friends = 1
        while friends < n:
            friends += 1
            winner = (winner + k) % friends
        return winner + 1

    def sample(rng, length):
        return {"n": length, "k": rng.randint(1, 50)}


@task("lc_1275", source="leetcode", length="number of moves (1..9 only)",
      lengths=tuple(range(1, 10)), title="Find winner on a tic-tac-toe game")
class FindWinnerOnATicTacToeGame:
    """The state of a game of noughts and crosses
    (leetcode.com/problems/find-winner-on-a-tic-tac-toe-game)."""

    question = ("A and B play noughts and crosses and move in turns, A first. The moves, each a "
                "row and a column, were {moves}. Three in a row, a column or a diagonal win. "
                "Answer with the winner, 'A' or 'B', else 'Draw' for a full board, 'Pending' "
                "otherwise.")

    def rule(moves):
        rows = [0, 0, 0]
        columns = [0, 0, 0]
        falling = 0
        rising = 0
        player = 'A'
        mark = 1
        i = 0
        while i < len(moves):
            row, column = moves[i]
            rows[row] += mark
            columns[column] += mark
            if row == column:
                falling += mark
            if row + column == 2:
                rising += mark
            if abs(rows[row]) == 3 or abs(columns[column]) == 3:
                return player
            if abs(falling) == 3 or abs(rising) == 3:
                return player
            player = 'B' if player == 'A' else 'A'
            mark *= -1
            i += 1
        if i == 9:
            return 'Draw'
        return 'Pending'

    def sample(rng, length):
        """Games without a move after a win; from five moves on, half of them end with one."""
        state = FindWinnerOnATicTacToeGame.rule.execute
        cells = [[row, column] for row in range(3) for column in range(3)]
        won = length >= 5 and rng.random() < 0.5
        while True:
            moves = rng.sample(cells, length)
            if (state({"moves": moves[:-1]}) == "Pending"
                    and (state({"moves": moves}) in ("A", "B")) == won):
                return {"moves": moves}


@task("lc_2678", source="leetcode", length="length of details")
class NumberOfSeniorCitizens:
    """Passengers above sixty (leetcode.com/problems/number-of-senior-citizens)."""

    question = ("Each passenger in {details} is a phone number of ten digits, a letter for the "
                "gender, two digits for the age and two for the seat. How many are older than "
                "sixty?")

    def rule(details):
        seniors = 0
        i = 0
        while i < len(details):
            age = int(details[i][11:13])
            if age > 60:
                seniors += 1
            i += 1
        return seniors

    def sample(rng, length):
        """Half of the ages lie close to sixty."""
        details = []
        for _ in range(length):
            age = rng.randint(58, 63) if rng.random() < 0.5 else rng.randint(1, 99)
            phone, seat = rng.randrange(10**10), rng.randrange(100)
            details.append(f"{phone:010}{rng.choice('MFO')}{age:02}{seat:02}")
        return {"details": details}


@task("lc_388", source="leetcode",
      length="depth of the file system: levels of the deepest entry, from 1")
class LongestAbsoluteFilePath:
    """The longest path to a file (leetcode.com/problems/longest-absolute-file-path)."""

    question = ("Each line of {input} is a folder or, with a dot in its name, a file; the tabs "
                "before it say how many folders it lies in. How many characters has the longest "
                "path to a file, its names joined by slashes? Answer with zero if there is no "
                "file.")

    def rule(input):
        lines = input.split('\n')
        before = {0: 0}
        longest = 0
        i = 0
        while i < len(lines):
            depth = lines[i].count('\t')
            name = lines[i].lstrip('\t')
            path = before[depth] + len(name)
            if '.' in name:
                longest = max(longest, path)
            else:
                before[depth + 1] = path + 1
            i += 1
        return longest

    def sample(rng, length):
        """One way down to the deepest level and some entries beside it; names of one to three
        letters; in one of eight systems there are folders only."""
        def entry(level, file):
            name = "".join(rng.choices("abcdefgh", k=rng.randint(1, 3)))
            return "\t" * level + name + (rng.choice([".c", ".py", ".txt"]) if file else "")

        files = rng.random() < 0.88
        above, below = [], []
        for level in range(length):
            deepest = level == length - 1
            above.append(entry(level, files and deepest and rng.random() < 0.7))
            if rng.random() < 2 / (length + 1):
                below.insert(0, entry(level, files and rng.random() < 0.8))
        return {"input": "\n".join(above + below)}


@task("lc_682", source="leetcode", length="number of operations")
class BaseballGame:
    """The sum of a score sheet (leetcode.com/problems/baseball-game)."""

    question = ("Keep a record of scores by the operations {operations}: a number is a new score, "
                "'+' a new score that is the sum of the last two, 'D' one that is the double of "
                "the last, and 'C' takes the last score off. What is the sum of the record?")

    def rule(operations):
        record = []
        while operations:
            operation = operations.pop(0)
            if operation == 'C':
                record.pop()
            elif operation == 'D':
                record.append(2 * record[-1])
            elif operation == '+':
                record.append(record[-1] + record[-2])
            else:
                record.append(int(operation))
        total = 0
        while record:
            score = record.pop()
            total += score
        return total

    def sample(rng, length):
        """Valid operations; single-digit numbers, scores up to 40 on either side of zero."""
        record, operations = [], []
        for _ in range(length):
            number = rng.randint(-9, 9)
            ways = [(str(number), [*record, number])] * 2
            if record:
                ways.append(("C", record[:-1]))
                ways.append(("D", [*record, 2 * record[-1]]))
            if len(record) > 1:
                ways.append(("+", [*record, record[-1] + record[-2]]))
            operation, record = rng.choice(
                [way for way in ways if not way[1] or abs(way[1][-1]) <= 40])
            operations.append(operation)
        return {"operations": operations}


@task("lc_705", source="leetcode", length="number of operations", title="Design HashSet")
class DesignHashset:
    """A set of keys with three operations (leetcode.com/problems/design-hashset)."""

    question = ("Begin with an empty set and do the operations {operations}, each a name and a "
                "key. List what they answer: None for 'add' and 'remove', and for 'contains' "
                "whether the key is in the set.")

    def rule(operations):
        keys = []
        answers = []
        i = 0
        while i < len(operations):
            name, key = operations[i]
            if name == 'contains':
                answers.append(key in keys)
            else:
                answers.append(None)
                if name == 'add' and key not in keys:
                    keys.append(key)
                elif name == 'remove' and key in keys:
                    keys.remove(key)
            i += 1
        return answers

    def sample(rng, length):
        """Few keys of one or two digits, so that they come again."""
        keys = rng.sample(range(100), rng.randint(1, 2 + length // 4))
        names = ["add"] * 3 + ["remove"] * 2 + ["contains"] * 3
        return {"operations": [[rng.choice(names), rng.choice(keys)] for _ in range(length)]}
