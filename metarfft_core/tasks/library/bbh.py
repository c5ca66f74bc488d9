"""Tasks of Big-Bench Hard (arXiv 2210.09261), with instances of any length."""

from metarfft_core.tasks.library import sampling
from metarfft_core.tasks.registry import task


@task("bbh_dyck_languages", source="bbh", length="number of bracket pairs: half the characters")
class DyckLanguages:
    """Is a string of brackets properly nested? (Big-Bench Hard, dyck languages)."""

    question = "Is the string of brackets {s} properly nested?"

    OPENING = {')': '(', ']': '[', '}': '{', '>': '<'}

    def rule(s):
        stack = []
        while s:
            bracket = s[0]
            s = s[1:]
            if bracket in '([{<':
                stack.append(bracket)
            elif not stack:
                return False
            else:
                top = stack.pop()
                if top != OPENING[bracket]:
                    return False
        return not stack

    def sample(rng, length):
        """A random walk of nested brackets; for a no, one bracket becomes another."""
        closing = {"(": ")", "[": "]", "{": "}", "<": ">"}
        text, stack, left = [], [], length
        while left or stack:
            if left and (not stack or rng.random() < 0.5):
                stack.append(rng.choice("([{<"))
                text.append(stack[-1])
                left -= 1
            else:
                text.append(closing[stack.pop()])
        if rng.random() < 0.5:
            place = rng.randrange(len(text))
            text[place] = rng.choice([other for other in "()[]{}<>" if other != text[place]])
        return {"s": "".join(text)}


@task("bbh_hyperbaton", source="bbh", length="number of adjectives")
class Hyperbaton:
    """Do adjectives stand in the usual English order? (Big-Bench Hard, hyperbaton)."""

    question = ("English adjectives stand in the order opinion, size, age, shape, colour, origin, "
                "material, purpose. Are the adjectives {adjectives} in that order?")

    RANK = {'lovely': 1, 'silly': 1, 'nice': 1, 'big': 2, 'tiny': 2, 'huge': 2, 'old': 3, 'new': 3,
            'ancient': 3, 'round': 4, 'square': 4, 'flat': 4, 'red': 5, 'blue': 5, 'green': 5,
            'French': 6, 'Thai': 6, 'Polish': 6, 'wooden': 7, 'steel': 7, 'paper': 7,
            'sleeping': 8, 'cooking': 8, 'walking': 8}

    def rule(adjectives):
        highest = 0
        while adjectives:
            word = adjectives.pop(0)
            rank = RANK[word]
            if rank < highest:
                return False
            highest = rank
        return True

    def sample(rng, length):
        """In order; for a no, two adjectives of different rank change places."""
        rank = Hyperbaton.tables["RANK"]
        words = sorted(rng.choices(list(rank), k=length), key=rank.get)
        if rng.random() < 0.5 and rank[words[0]] != rank[words[-1]]:
            one = two = 0
            while rank[words[one]] == rank[words[two]]:
                one, two = rng.randrange(length), rng.randrange(length)
            words[one], words[two] = words[two], words[one]
        return {"adjectives": words}


@task("bbh_navigate", source="bbh", length="number of instructions")
class Navigate:
    """Do steps in four directions lead back to the start? (Big-Bench Hard, navigate)."""

    question = ("Always facing forward, take these steps: {moves}. "
                "Do you return to the starting point?")

    def rule(moves):
        x = 0
        y = 0
        i = 0
        while i < len(moves):
            direction, steps = moves[i]
            if direction == 'forward':
                y += steps
            elif direction == 'backward':
                y -= steps
            elif direction == 'right':
                x += steps
            else:
                x -= steps
            i += 1
        return x == 0 and y == 0

    def sample(rng, length):
        """For a yes: pairs of opposite moves, three moves where the number is odd."""
        ways = [("forward", "backward"), ("right", "left")]
        if length == 1 or rng.random() < 0.5:
            names = [name for way in ways for name in way]
            return {"moves": [(rng.choice(names), rng.randint(1, 9)) for _ in range(length)]}
        moves = []
        while len(moves) < length:
            there, back = rng.sample(rng.choice(ways), 2)
            if (length - len(moves)) % 2:
                one, two = rng.randint(1, 4), rng.randint(1, 5)
                moves += [(there, one + two), (back, one), (back, two)]
            else:
                steps = rng.randint(1, 9)
                moves += [(there, steps), (back, steps)]
        rng.shuffle(moves)
        return {"moves": moves}


@task("bbh_object_counting", source="bbh",
      length="number of list entries, not the sum of the counts")
class ObjectCounting:
    """How many objects of a category are in a list? (Big-Bench Hard, object counting)."""

    question = "Of the objects {objects}, each with its count, how many are of category {category}?"

    CATEGORY = {'apple': 'fruit', 'plum': 'fruit', 'peach': 'fruit', 'onion': 'vegetable',
                'carrot': 'vegetable', 'potato': 'vegetable', 'dog': 'animal', 'snake': 'animal',
                'goat': 'animal', 'flute': 'instrument', 'drum': 'instrument',
                'violin': 'instrument'}

    def rule(objects, category):
        total = 0
        i = 0
        while i < len(objects):
            name, count = objects[i]
            if CATEGORY[name] == category:
                total += count
            i += 1
        return total

    def sample(rng, length):
        names = list(ObjectCounting.tables["CATEGORY"])
        return {"objects": [(rng.choice(names), rng.randint(1, 5)) for _ in range(length)],
                "category": rng.choice(["fruit", "vegetable", "animal", "instrument"])}


@task("bbh_reverse_list", source="bbh", length="length of items")
class ReverseList:
    """The items of a list in opposite order (Big-Bench Hard style, reverse list)."""

    question = "Write the list {items} in opposite order."

    def rule(items):
        result = []
        while items:
            item = items.pop()
            result.append(item)
        return result

    def sample(rng, length):
        """Words in half the draws, else numbers up to 99."""
        if rng.random() < 0.5:
            return {"items": rng.choices(sampling.WORDS, k=length)}
        return {"items": [rng.randrange(100) for _ in range(length)]}


@task("bbh_word_sorting", source="bbh", length="number of words")
class WordSorting:
    """Words in dictionary order, by insertion (Big-Bench Hard, word sorting)."""

    question = "Sort the words {words} in dictionary order."

    def rule(words):
        result = []
        while words:
            word = words.pop(0)
            i = 0
            while i < len(result) and result[i] < word:
                i += 1
            result.insert(i, word)
        return result

    def sample(rng, length):
        return {"words": rng.choices(sampling.WORDS, k=length)}
