"""How far rounding alone may move what a test compares. Each bound follows from a data type.

A processor rounds every sum in an order of its own, so no two kinds of processor give the same
bits. What they give differs by no more than the bounds here, which name no processor.
"""

import torch

FLOAT32 = torch.finfo(torch.float32).eps
BFLOAT16 = torch.finfo(torch.bfloat16).eps


def float32(products: int, terms: int) -> float:
    """How far apart two float32 results may be, as a share of their norm.

    Each is the last of `products` matrix products in a row, whose sums have up to `terms` terms. A
    sum of n terms is off by at most n half units of rounding, whatever its order (Higham, Accuracy
    and Stability of Numerical Algorithms, section 3.1), and both sides are off: n whole units.
    """
    return products * terms * FLOAT32


def measured(one, other) -> float:
    """Ten times how far two right results are apart that add the same up in another order, as a
    share; two more units of float32 each, because they may agree by chance.

    Where rounding goes through many steps no bound is near the truth, so it is measured, in the
    same process and on the same data, by a computation that differs in its order alone.
    """
    one, other = torch.as_tensor(one).double(), torch.as_tensor(other).double()
    return 10 * (((one - other).abs().max() / other.abs().max()).item() + 2 * FLOAT32)


def once_in_bfloat16(values: torch.Tensor) -> torch.Tensor:
    """How far each value may move where it is rounded to bfloat16 once: half a unit of its size."""
    return values.abs() * BFLOAT16 / 2


def truncated(values, size: int, rank: int) -> float:
    """How far a decomposition in float32, cut to `rank`, may be from the exact one, as a norm.

    `values` are the singular values, the largest first; `size` is the matrix's longer side. What
    LAPACK returns is exact for a matrix that is `size` units of the largest value away; the gap
    after the last value kept says how much the kept part turns with it (Wedin's theorem).
    """
    turn = values[rank - 1] / (values[rank - 1] - values[rank])
    return float(size * FLOAT32 * values[0] * turn)


def apart(got: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference, as a share of the norm of what is expected."""
    return ((got - expected).norm() / expected.norm()).item()


def linear(model) -> dict[str, torch.Tensor]:
    """The weights of a plain model's linear layers, in float32; the output layer is left out."""
    return {name: weight.float() for name, weight in model.state_dict().items()
            if name.endswith("_proj.weight")}
