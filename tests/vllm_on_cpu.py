"""vLLM's CPU build lacks code for some processors: its tests are skipped there, and say why."""

import os
import signal
import subprocess
import sys

import pytest

from metarfft_core.system.places import ROOT

PROGRAM = """
from metarfft_core import models
from metarfft_core.evaluation import engines
folder = models.resolve(models.EMBEDDED)
prompts = models.encode_prompts(models.load_tokenizer(folder), ["What is 2 + 3?"])
list(engines.generate(folder, prompts, [4], "vllm", 1))
"""


def skip_if_it_cannot_run() -> None:
    """Skip the test if vLLM ends with an illegal instruction where it answers one prompt alone."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    if done.returncode == -signal.SIGILL:
        pytest.skip("vLLM's CPU build has no code for this processor (illegal instruction)")
