"""Tasks on long numbers, of the number-understanding benchmark NUPA (arXiv 2411.03766)."""

from metarfft_core.tasks.library import sampling
from metarfft_core.tasks.registry import task


@task("nupa_get_digit", source="nupa", split="downstream", length="number of digits of num",
      title="Get digit")
class GetDigitInteger:
    """The digit at a place of a number (NUPA, get digit, integers)."""

    question = ("Which digit of the number {num} stands at index {index}, counted from the left, "
                "from zero?")

    def rule(num, index):
        while index > 0:
            num = num[1:]
            index -= 1
        return num[0]

    counterfactual = {"num = num[1:]": "num = num[:-1]", "return num[0]": "return num[-1]"}

    def sample(rng, length):
        return {"num": sampling.digits(rng, length), "index": rng.randrange(length)}


@task("nupa_add", source="nupa", split="downstream", length="the larger number of digits")
class AddInteger:
    """The sum of two numbers, column by column (NUPA, add, integers; the paper's Table 6)."""

    question = "Add two numbers: {num1} + {num2}."

    def rule(num1, num2):
        result = ''
        carry = 0
        while num1 or num2:
            digit1 = int(num1[-1]) if num1 else 0
            digit2 = int(num2[-1]) if num2 else 0
            total = digit1 + digit2 + carry
            result = str(total % 10) + result
            carry = total // 10
            num1 = num1[:-1]
            num2 = num2[:-1]
        if carry:
            result = str(carry) + result
        result = result.lstrip('0') or '0'
        return result

    counterfactual = {"carry = total // 10": "carry = 0"}

    def sample(rng, length):
        num1, num2 = sampling.two_numbers(rng, length)
        return {"num1": num1, "num2": num2}


@task("nupa_digit_max", source="nupa", split="downstream", length="the larger number of digits",
      title="Digit max")
class DigitMaxInteger:
    """The larger digit at each place of two numbers (NUPA, digit max, integers)."""

    question = ("Align the numbers {num1} and {num2} at the right, missing digits being 0. "
                "What are the larger digits at each place?")

    def rule(num1, num2):
        result = ''
        while num1 or num2:
            digit1 = num1[-1] if num1 else '0'
            digit2 = num2[-1] if num2 else '0'
            result = max(digit1, digit2) + result
            num1 = num1[:-1]
            num2 = num2[:-1]
        return result

    counterfactual = {
        "result = max(digit1, digit2) + result": "result = min(digit1, digit2) + result"}

    def sample(rng, length):
        num1, num2 = sampling.two_numbers(rng, length)
        return {"num1": num1, "num2": num2}


@task("nupa_length", source="nupa", split="downstream", length="number of digits of num",
      title="Integer length")
class LengthInteger:
    """The number of digits of a number (NUPA, length, integers)."""

    question = "How many digits does the number {num} have?"

    def rule(num):
        length = 0
        while num:
            num = num[1:]
            length += 1
        return length

    counterfactual = {"length += 1": "length += 2"}

    def sample(rng, length):
        return {"num": sampling.digits(rng, length)}
