"""Runs a training of the kit with CPU processes in the place of GPUs.

accelerate shards a model on accelerators alone: on a CPU its FSDP silently becomes DDP. The two
lines of accelerate that look for a device are replaced here, and everything after them is the real
thing: torch's fully_shard over gloo, the gathering, saving and loading of a sharded model.

    accelerate launch --config_file FILE tests/fsdp_on_cpu.py --params FILE --stage pretrain

A configuration without FSDP is taken as it is. --float32 keeps the training from bfloat16 on
processors that are fast with it.
"""

import os
import sys


def pretend() -> None:
    """Make accelerate take the processes of this launch for ones that have a GPU each."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    from accelerate import DistributedType
    from accelerate.state import PartialState

    started = PartialState.__init__
    PartialState.__init__ = lambda self, cpu=False, **options: started(self, False, **options)
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)


if __name__ == "__main__":
    if "ACCELERATE_USE_FSDP" in os.environ:
        pretend()
    from metarfft_core import models, training

    if sys.argv[1] == "--float32":
        del sys.argv[1]
        models.compute = lambda: "float32"
    sys.exit(training.main())
