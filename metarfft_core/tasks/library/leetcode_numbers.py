"""LeetCode tasks on numbers and their digits."""

from metarfft_core.tasks.library import sampling
from metarfft_core.tasks.registry import task


@task("lc_258", source="leetcode", split="downstream", length="number of digits")
class AddDigits:
    """Sum the digits until one is left (leetcode.com/problems/add-digits)."""

    question = ("Sum the digits of {num}, then the digits of that sum, and so on, "
                "until one digit is left. Which digit is it?")

    def rule(num):
        digits = str(num)
        while len(digits) > 1:
            total = 0
            while digits:
                total += int(digits[0])
                digits = digits[1:]
            digits = str(total)
        return int(digits)

    counterfactual = {"total = 0": "total = 1"}

    def sample(rng, length):
        return {"num": int(sampling.digits(rng, length))}


@task("lc_2544", source="leetcode", split="downstream", length="number of digits")
class AlternatingDigitSum:
    """Digits with alternating signs (leetcode.com/problems/alternating-digit-sum)."""

    question = ("Give the digits of {n} alternating signs, + for the most significant one. "
                "What is their sum?")

    def rule(n):
        digits = str(n)
        total = 0
        sign = 1
        while digits:
            total += sign * int(digits[0])
            sign *= -1
            digits = digits[1:]
        return total

    counterfactual = {"sign = 1": "sign = -1"}

    def sample(rng, length):
        return {"n": int(sampling.digits(rng, length))}


@task("lc_1556", source="leetcode", length="n drawn from 1000..1000+10**length")
class ThousandSeparator:
    """A number with a dot every three digits (leetcode.com/problems/thousand-separator)."""

    question = ("Write the number {n} with dots that part its digits into groups of three, from "
                "the right.")

    def rule(n):
        digits = str(n)
        result = digits[-3:]
        digits = digits[:-3]
        while digits:
            result = digits[-3:] + '.' + result
            digits = digits[:-3]
        return result

    def sample(rng, length):
        return {"n": rng.randint(1000, 1000 + 10**length)}
