"""Symbolic reasoning tasks of the chain-of-thought paper (arXiv 2201.11903)."""

from metarfft_core.tasks.library import sampling
from metarfft_core.tasks.registry import task


@task("sr_coin_flip", source="symbolic", length="number of people")
class CoinFlip:
    """A coin is passed along; does it still show heads? (arXiv 2201.11903, Section 5)."""

    question = ("A coin is heads up. Each person in {flips} flips it (True) or does not (False), "
                "one after the other. Is it heads up in the end?")

    def rule(flips):
        heads = True
        while flips:
            flip = flips.pop(0)
            if flip:
                heads = not heads
        return heads

    counterfactual = {"heads = True": "heads = False"}

    def sample(rng, length):
        flips = [rng.random() < 0.5 for _ in range(length)]
        return {"flips": flips}


@task("sr_last_letter", source="symbolic", length="number of words")
class LastLetterConcatenation:
    """The last letters of the words, joined (arXiv 2201.11903, Section 5)."""

    question = "Take the last letter of each of the words {words} and join them."

    def rule(words):
        result = ''
        while words:
            word = words.pop(0)
            result += word[-1]
        return result

    def sample(rng, length):
        return {"words": rng.choices(sampling.WORDS, k=length)}
