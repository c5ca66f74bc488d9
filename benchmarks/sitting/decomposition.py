"""Item 7: PiSSA's decomposition of the largest matrices of 7B and 32B: time and error.

`exact` is what a start is made of today: all singular values, in float32. `squared` takes the
eigenvectors of A A' in float64, and is the reference. `sketched` computes only the largest ones
(torch.svd_lowrank). The error is that of the best product of rank 8 (and of rank 32): the distance
to the reference's product, as a share of its length. The matrices are noise and SPIKES directions
that stand out of it, as those of trained weights do.
"""

import time

from sitting.record import Record
from sitting.shapes import QWEN_7B, QWEN_32B, TOY

RANKS = (8, 32)
SPIKES = 64
_ITERATIONS = 4  # of the sketch


def run(record: Record) -> None:
    for model, sizes in record.pick({"7B": QWEN_7B, "32B": QWEN_32B}, {"toy": TOY}).items():
        hidden, wide = sizes["hidden_size"], sizes["intermediate_size"]
        for rows, columns in ((hidden, hidden), (hidden, wide)):
            matrix, reference = _matrix(rows, columns, record.device), {}
            for kind, work in WAYS.items():
                with record.case(f"{model} {rows} x {columns}, {kind}") as values:
                    work(matrix[:64, :64])  # loads the libraries
                    took, (left, right) = _timed(work, matrix)
                    values["seconds"] = round(took, 4)
                    products = {rank: left[:, :rank].double() @ right[:rank].double()
                                for rank in RANKS}
                    reference = reference or {"kind": kind} | products
                    values["compared_with"] = reference["kind"]
                    values["errors"] = {rank: _apart(products[rank], reference[rank])
                                        for rank in RANKS}


def _matrix(rows: int, columns: int, device: str):
    """Noise, and directions whose singular values fall from four times its largest to that."""
    import torch

    torch.manual_seed(0)
    noise = torch.randn(rows, columns, device=device) / (rows**0.5 + columns**0.5)
    count = min(SPIKES, rows)
    left, right = (torch.linalg.qr(torch.randn(size, count, device=device))[0]
                   for size in (rows, columns))
    heights = 4 ** torch.linspace(1, 0, count, device=device)
    return (noise + left * heights @ right.T).bfloat16().float()


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
