"""Item 7: PiSSA's decomposition of the largest matrices of 7B and 32B: time and error.

`exact` is what a start is made of today: all singular values, in float32. `squared` takes the
eigenvectors of the smaller of A A' and A' A, in float64, and is the reference. `sketched` computes
only the largest ones (torch.svd_lowrank). The error is that of the best product of rank 8 (and of
rank 32): the distance to the reference's product, as a share of its length.
"""

import time

from sitting.record import Record
from sitting.shapes import QWEN_7B, QWEN_32B, TOY

RANKS = (8, 32)
_ITERATIONS = 8  # of the sketch; its matrix has a flat spectrum, the hardest case


def run(record: Record) -> None:
    import torch

    for model, sizes in record.pick({"7B": QWEN_7B, "32B": QWEN_32B}, {"toy": TOY}).items():
        hidden, wide = sizes["hidden_size"], sizes["intermediate_size"]
        for rows, columns in ((hidden, hidden), (hidden, wide)):
            torch.manual_seed(0)
            matrix = torch.randn(rows, columns, device=record.device) / columns**0.5
            matrix = matrix.bfloat16().float()
            name = f"{model} {rows} x {columns}"
            reference = None
            for kind, work in WAYS.items():
                with record.case(f"{name}, {kind}") as values:
                    work(matrix[:64, :64])  # loads the libraries
                    took, (left, right) = _timed(work, matrix)
                    values["seconds"] = round(took, 4)
                    products = {rank: left[:, :rank].double() @ right[:rank].double()
                                for rank in RANKS}
                    reference = reference or products
                    values["errors"] = {rank: _apart(products[rank], reference[rank])
                                        for rank in RANKS}


def squared(matrix) -> tuple:
    """Left factor and right factor by the eigenvectors of A A', in float64, largest first."""
    import torch

    whole = matrix.double()
    _, vectors = torch.linalg.eigh(whole @ whole.T)
    largest = vectors.flip(1)[:, :max(RANKS)]
    return largest, largest.T @ whole


def exact(matrix) -> tuple:
    """The factors by the full decomposition in float32, as `models.pissa_start` computes it."""
    import torch

    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left[:, :max(RANKS)], values[:max(RANKS), None] * right[:max(RANKS)]


def sketched(matrix) -> tuple:
    """The factors by a random sketch in float32."""
    import torch

    size = min(2 * max(RANKS), *matrix.shape)
    left, values, right = torch.svd_lowrank(matrix, q=size, niter=_ITERATIONS)
    return left, values[:, None] * right.T


WAYS = {"squared": squared, "exact": exact, "sketched": sketched}


def _timed(work, matrix) -> tuple:
    import torch

    def now() -> float:
        if matrix.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    began = now()
    found = work(matrix)
    return now() - began, found


def _apart(one, two) -> float:
    return float(f"{((one - two).norm() / two.norm()).item():.3g}")
