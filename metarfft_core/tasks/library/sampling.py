"""What several samplers share: words, digits, and an even share of yes and no."""

from random import Random

WORDS = """apple arrow autumn basket beacon berry bottle branch bridge bronze butter button camera
candle canyon carbon castle cedar chalk cherry circle cliff cloud clover cobalt coffee comet copper
coral cotton crane crater cricket crystal daisy desert dragon eagle ember engine falcon feather
fern fiddle forest fossil galaxy garden garlic ginger glacier glass granite guitar hammer harbor
hazel helmet honey island ivory jacket jasmine jungle kettle ladder lagoon lantern lemon lily
linen lizard lotus magnet maple marble meadow melon mirror mitten morning mosaic mountain needle
oasis ocean olive onion orange orchid otter oyster paddle palace panda paper parrot pearl pebble
pepper piano pigeon planet plum pocket pollen prairie puzzle quartz quill rabbit raven ribbon river
rocket saddle saffron salmon sand shadow silver spider spruce squid stone summer sunset teapot
temple thistle thunder tiger timber tulip tunnel turtle valley velvet violet walnut water whale
willow window winter wolf yellow zebra zinc""".split()
"""Lower-case English words of 4 to 8 letters."""


def digits(rng: Random, length: int) -> str:
    """A number of exactly `length` digits, without leading zeros ("0" is one of length 1)."""
    if length == 1:
        return str(rng.randrange(10))
    return str(rng.randrange(1, 10)) + "".join(rng.choices("0123456789", k=length - 1))


def two_numbers(rng: Random, length: int) -> tuple[str, str]:
    """Two numbers, the longer of exactly `length` digits; the other as long in half the draws."""
    one = digits(rng, length)
    two = digits(rng, length if rng.random() < 0.5 else rng.randint(1, length))
    return (one, two) if rng.random() < 0.5 else (two, one)
