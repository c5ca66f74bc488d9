"""Item 0: versions, the peak of matrix products, and copy rates."""

import importlib.metadata
import platform
import statistics
import subprocess
import time

from sitting.record import Record

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "pydantic",
            "liger-kernel", "triton", "flash-attn", "kernels", "vllm")


def run(record: Record) -> None:
    with record.case("versions") as values:
        values |= {"python": platform.python_version(), "packages": versions()}
        values |= _gpu()
    with record.case("matrix products, bfloat16") as values:
        values |= matmul(record)
    with record.case("copies") as values:
        values |= copies(record)


def versions() -> dict[str, str]:
    """The installed versions of the packages that matter here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _gpu() -> dict:
    import torch

    if not torch.cuda.is_available():
        return {"gpu": None}
    about = torch.cuda.get_device_properties(0)
    asked = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                           capture_output=True, text=True)
    return {"gpu": about.name, "memory_gib": round(about.total_memory / 2**30, 2),
            "driver": asked.stdout.strip() or None, "cuda": torch.version.cuda}


def seconds(work, rounds: int, device: str) -> list[float]:
    """How long each of some rounds of a piece of work takes, after two that do not count."""
    import torch

    took = []
    for number in range(rounds + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        if number >= 2:
            took.append(time.perf_counter() - began)
    return took


def matmul(record: Record) -> dict:
    """The rate of a large product of random matrices, which no training exceeds."""
    import torch

    size = record.pick(8192, 128)
    left, right = (torch.randn(size, size, device=record.device, dtype=torch.bfloat16)
                   for _ in range(2))
    took = seconds(lambda: left @ right, record.pick(20, 3), record.device)
    return {"size": size, "tflops": round(2 * size**3 / statistics.median(took) / 1e12, 3),
            "best_tflops": round(2 * size**3 / min(took) / 1e12, 3)}


def copies(record: Record) -> dict:
    """GB a second: within the device (bytes read and written), and from the host to it."""
    import torch

    count = record.pick(2**30, 2**16)
    source = torch.randint(0, 127, (count,), dtype=torch.int8, device=record.device)
    target = torch.empty_like(source)
    within = seconds(lambda: target.copy_(source), record.pick(20, 3), record.device)
    host = torch.randint(0, 127, (count,), dtype=torch.int8)
    plain = seconds(lambda: target.copy_(host), 3, record.device)
    values = {"bytes": count,
              "within_gb_per_second": round(2 * count / statistics.median(within) / 1e9, 2),
              "from_host_gb_per_second": round(count / statistics.median(plain) / 1e9, 2)}
    if record.device == "cuda":
        pinned = host.pin_memory()
        fast = seconds(lambda: target.copy_(pinned, non_blocking=True), 3, record.device)
        values["from_pinned_gb_per_second"] = round(count / statistics.median(fast) / 1e9, 2)
    return values
