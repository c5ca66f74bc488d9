"""The data type in which models compute on this machine."""

from typing import Literal


def compute() -> Literal["bfloat16", "float32"]:
    """Return the data type of the matrix products of trainings and engines on this machine.

    It is bfloat16 on a GPU and on a processor with instructions for it. Other processors convert
    every number, which takes four to eight times as long as float32.
    """
    import torch

    abilities = torch.cpu.get_capabilities()
    fast = torch.cuda.is_available() or any(
        abilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return "bfloat16" if fast else "float32"
