"""What waiting threads cost a training on this machine: spinning against giving the core away.

    python benchmarks/waiting.py [--steps N]

Trains a small Llama of random weights for N steps (8 unless told), with two OpenMP threads: alone,
and beside one program that keeps a core busy. Prints tokens a second for threads that spin while
they wait (OpenMP's default) and for threads that soon give their core away (the kit's choice, see
`metarfft_core/__init__.py`). The four runs alternate, because machines are noisy.
"""

import argparse
import os
import subprocess
import sys
from contextlib import nullcontext

SPIN: dict[str, str] = {}
SLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
TOKENS = 512  # of a step

TRAINING = f"""
import sys, time, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=8192, hidden_size=384, intermediate_size=1024,
                                     num_hidden_layers=6, num_attention_heads=6))
optimizer, tokens = torch.optim.AdamW(model.parameters()), torch.randint(8192, (1, {TOKENS}))
def step():
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step(), optimizer.zero_grad()
step()
start = time.monotonic()
for _ in range(int(sys.argv[1])):
    step()
print(int(sys.argv[1]) * {TOKENS} / (time.monotonic() - start))
"""


def rate(variables: dict[str, str], steps: int, beside: bool) -> float:
    """Tokens a second of a training in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in SLEEP}
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside else nullcontext()
    with busy:
        try:
            done = subprocess.run([sys.executable, "-c", TRAINING, str(steps)], check=True,
                                  env=kept | variables | {"OMP_NUM_THREADS": "2"},
                                  stdout=subprocess.PIPE, text=True)
        finally:
            if beside:
                busy.kill()
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="What waiting threads cost a training.")
    parser.add_argument("--steps", type=int, default=8)
    steps = parser.parse_args().steps
    print("tokens a second          spinning   giving way   ratio")
    for name, beside in (("alone", False), ("beside a busy program", True)):
        spin, sleep = (rate(variables, steps, beside) for variables in (SPIN, SLEEP))
        print(f"{name:22} {spin:10.0f} {sleep:12.0f} {sleep / spin:7.2f}", flush=True)


if __name__ == "__main__":
    main()
