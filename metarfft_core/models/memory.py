"""The size of a model and the GPU memory that training it takes, from its shape alone.

All sizes are in bytes. A shape comes from the model's config.json, or from a short table for the
models of the paper, so nothing is loaded. The formulas follow what trl, transformers and peft
allocate; `benchmarks/plan.py` compares them with small trainings. On a GPU they assume an attention
that computes each sample alone (`packed_attention`): `sdpa` would add a mask of tokens x tokens.
"""

import bisect
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

from metarfft_core.models.hub import EMBEDDED
from metarfft_core.params import ParamsError
from metarfft_core.system.files import read_json

NODE = 8
"""GPUs of a node, which share a sharded model. Each of several nodes holds a replica."""

USABLE = 0.92
"""Share of a GPU's memory that a training may take. CUDA, NCCL and fragmentation take the rest."""

ROOMY = 0.92
"""Share of what is usable up to which a training keeps all activations. Rows of changing length
leave gaps in the memory, and only time is lost by computing activations again."""
FAMILIES = ("llama", "qwen2")
"""The types of models whose shape is known."""

_MOST_TOKENS = 2**24  # no micro batch is larger
_TILE_TOKENS, _TILE_WORDS = 4096, 32768  # of trl's loss on a GPU


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder of the Llama or Qwen2 family."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head: int  # size of one head
    vocabulary: int
    tied: bool  # the output layer shares the embedding's weights
    bias: bool  # whether queries, keys and values have biases

    @property
    def queries(self) -> int:
        """The width of all query heads."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """The width of all key heads, which is also the width of all value heads."""
        return self.kv_heads * self.head

    @property
    def layer(self) -> int:
        """Parameters of a layer: attention, MLP and two norms."""
        attention = 2 * self.hidden * (self.queries + self.keys)
        biases = (self.queries + 2 * self.keys) * self.bias
        return attention + biases + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def embedding(self) -> int:
        """Parameters of the embedding; the output layer has as many."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters: layers, embedding, output layer unless it is tied, the last norm."""
        return (self.layers * self.layer + self.embedding * (1 if self.tied else 2)
                + self.hidden)

    def adapter(self, rank: int) -> int:
        """Parameters of an adapter of that rank.

        Each of the seven linear parts of a layer has rank x (inputs + outputs).
        """
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))


_QWEN_7B = Shape(3584, 18944, 28, 28, 4, 128, 152064, tied=False, bias=True)
_QWEN_32B = Shape(5120, 27648, 64, 40, 8, 128, 152064, tied=False, bias=True)
_LLAMA_8B = Shape(4096, 14336, 32, 32, 8, 128, 128256, tied=False, bias=False)
KNOWN = {
    "Qwen/Qwen2.5-7B-Instruct": _QWEN_7B,
    "Qwen/Qwen2.5-32B-Instruct": _QWEN_32B,
    "meta-llama/Llama-3.1-8B": _LLAMA_8B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_8B,
    # Tulu has one token more, for padding, and its vocabulary is rounded up to a multiple of 8.
    "allenai/Llama-3.1-Tulu-3.1-8B": replace(_LLAMA_8B, vocabulary=128264),
    EMBEDDED: Shape(576, 1536, 30, 9, 3, 64, 49152, tied=True, bias=False)}
"""Shapes of models that can be planned for without their config.json."""


def shape(folder: str | Path) -> Shape:
    """Read the shape of the model in `folder` from its config.json.

    Raises:
        ParamsError: If the model is not of the Llama or Qwen2 family.
    """
    config = read_json(Path(folder) / "config.json")
    family = config["model_type"]
    if family not in FAMILIES:
        raise ParamsError("model.name: a plan can be made for models of type "
                          f"{' and '.join(FAMILIES)}; {folder} holds one of type {family}")
    heads = config["num_attention_heads"]
    return Shape(
        hidden=config["hidden_size"], intermediate=config["intermediate_size"],
        layers=config["num_hidden_layers"], heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head=config.get("head_dim") or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"], tied=config.get("tie_word_embeddings", False),
        bias=family == "qwen2" or config.get("attention_bias", False))


@dataclass(frozen=True)
class Memory:
    """Peak memory of a training on one GPU in bytes, by purpose.

    `activations` are what all layers keep for the backward pass (only their inputs, where they are
    recomputed), and the one layer that the backward pass is at. `loss` is what the output layer and
    the loss take beyond that one layer. `buffers` are what FSDP has gathered.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    loss: float
    buffers: float

    @property
    def total(self) -> float:
        return sum(vars(self).values())


PARTS = tuple(part.name for part in fields(Memory))


@dataclass(frozen=True)
class Load:
    """What a training puts on one device: the kind of training and its fullest micro batch.

    `rank` is None for full fine-tuning. Weights, gradients and optimizer are spread over `shards`
    devices (1: each device has all of them). `device` is "gpu" or "cpu"; `compute` is the data
    type. `recompute` is gradient checkpointing: a layer keeps its input alone, and runs again in
    the backward pass. `fused` says that liger-kernel computes norms and MLPs.
    """

    shape: Shape
    rank: int | None
    tokens: int  # of the micro batch
    completion_tokens: int  # of these; the loss is computed on them
    shards: int = 1
    device: str = "gpu"
    compute: str = "bfloat16"
    recompute: bool = True
    fused: bool = False

    @property
    def stream(self) -> int:
        """Bytes of a value of the residual stream: float32 if the embedding is.

        Autocast does not change it, but FSDP casts the weights.
        """
        own = self.rank is None and self.shards == 1
        return 4 if own or self.compute == "float32" else 2

    @property
    def trainable(self) -> int:
        """Trained parameters: all N of the model, or the A of the adapter."""
        return self.shape.parameters if self.rank is None else self.shape.adapter(self.rank)


def training(load: Load) -> Memory:
    """Return the memory of one device in training with gradient accumulation.

    With N parameters of the model, A of the adapter and D shards:

        weights      full 4 N / D (float32); PiSSA 2 N / D (bfloat16; 4 N in float32) + 4 A / D
        gradients    4 x trained parameters / D
        optimizer    8 x trained parameters / D (AdamW's two averages in float32)
        activations  tokens x (layers x hidden x bytes of the residual stream + one `_layer`);
                     without recomputation, tokens x (layers - 1) x `_kept` + one `_layer`, and the
                     bfloat16 copies of float32 weights that autocast keeps (2 a trained one)
        loss         `_loss`, less the one layer: both are never in memory at the same time
        buffers      FSDP: 4 x parameters of a layer (two layers gathered in bfloat16); if the
                     weights are trained, 2 more for a gradient, spread after each micro batch
    """
    shape, full, single = load.shape, load.rank is None, load.compute == "float32"
    weights = 4.0 * shape.parameters
    if not full:
        weights = (4 if single else 2) * shape.parameters + 4 * load.trainable
    layer = _layer(load)
    if load.recompute:
        kept = load.tokens * shape.layers * shape.hidden * load.stream
    else:
        kept = load.tokens * (shape.layers - 1) * _kept(load)
        if load.shards == 1:
            kept += 2.0 * min(load.trainable, shape.layers * shape.layer)
    return Memory(
        weights=weights / load.shards, gradients=4 * load.trainable / load.shards,
        optimizer=8 * load.trainable / load.shards, activations=kept + layer,
        loss=max(0.0, _loss(load) - layer),
        buffers=(6 if full else 4) * shape.layer if load.shards > 1 else 0.0)


def _layer(load: Load) -> float:
    """Memory of one layer in the backward pass: what its operations saved, and their gradients.

    In bytes per token, with H hidden, Q the width of the queries and I intermediate:

                     full                    PiSSA
        float32      24 H + 16 Q + 24 I      16 H + 16 Q + 24 I
        bfloat16     26 H + 8 Q + 12 I       22 H + 10 Q + 14 I

    The norms compute in float32. Six tensors of width I exist at once: four saved ones, and two
    gradients that are not yet freed. peft copies the inputs of every adapter.
    """
    shape, full = load.shape, load.rank is None
    if load.compute == "float32":
        per_hidden, per_query, per_intermediate = (24 if full else 16), 16, 24
    else:
        per_hidden, per_query, per_intermediate = (26, 8, 12) if full else (22, 10, 14)
    return load.tokens * (per_hidden * shape.hidden + per_query * shape.queries
                          + per_intermediate * shape.intermediate)


def _kept(load: Load) -> float:
    """Bytes that a layer keeps of each token for the backward pass, on a GPU in bfloat16.

    With H hidden, Q the width of the queries, K that of the keys and I intermediate:

                                plain                       fused
        full, float32 stream    26 H + 4 Q + 4 K + 8 I      18 H + 4 Q + 4 K + 6 I
        full, sharded           16 H + 4 Q + 4 K + 8 I       8 H + 4 Q + 4 K + 6 I
        PiSSA                   18 H + 6 Q + 4 K + 8 I      14 H + 6 Q + 4 K + 6 I

    A plain norm keeps its input in float32 and what it is before and after its weights; a fused one
    keeps its input. A plain MLP keeps gate, its activation, the other half and their product; a
    fused one computes the activation again. The seven adapters keep an input each, and 2 bytes for
    each rank. Attention keeps queries, keys, values, its output, and 4 bytes for each head. So does
    each norm, once.
    """
    shape = load.shape
    per_query, per_intermediate = (4 if load.rank is None else 6), (6 if load.fused else 8)
    if load.rank is not None:
        per_hidden = 14 if load.fused else 18
    elif load.stream == 4:
        per_hidden = 18 if load.fused else 26
    else:
        per_hidden = 8 if load.fused else 16
    return (per_hidden * shape.hidden + per_query * shape.queries + 4 * shape.keys
            + per_intermediate * shape.intermediate + 4 * (shape.heads + 2)
            + 14 * (load.rank or 0))


def recomputes(load: Load, usable: float) -> bool:
    """Return whether a training must recompute activations to fit `usable` bytes of a GPU well."""
    return training(replace(load, recompute=False)).total > ROOMY * usable


def largest(load: Load, usable: float) -> int:
    """Return the tokens of the largest micro batch that needs no recomputation, or 0.

    The share of completion tokens stays that of `load`.
    """
    def too_many(tokens: int) -> bool:
        trained = math.ceil(tokens * load.completion_tokens / load.tokens)
        return recomputes(replace(load, tokens=tokens, completion_tokens=trained), usable)

    return bisect.bisect_left(range(1, _MOST_TOKENS), True, key=too_many)


def _loss(load: Load) -> float:
    """Memory of output layer and loss, at the end of the forward or the start of the backward pass.

    On a CPU the logits of all C completion tokens over V words are held three times in float32
    (log-probabilities, their gradient and the gradient of the logits): 12 V C. On a GPU trl
    computes them in tiles of 4,096 tokens by 32,768 words. It accumulates, in float32, the
    gradients of the last hidden states and of the output layer. If the model is sharded, the output
    layer is gathered. If one device trains all weights in bfloat16, autocast keeps a copy of them
    until here.
    """
    shape, full, count = load.shape, load.rank is None, load.completion_tokens
    copies = 2.0 * shape.layers * shape.layer
    head = 2.0 * shape.embedding
    if load.device == "cpu":
        logits = shape.vocabulary * count
        if load.compute == "float32" or not full:
            return 12.0 * logits
        return max(10 * logits + copies + head, 12 * logits + head)
    tile = 2 * _TILE_WORDS * (min(count, _TILE_TOKENS) + shape.hidden)
    gathered = (2 if full else 1) * head if load.shards > 1 else 0
    backward = tile + gathered + 6 * count * shape.hidden + (2 * head if full else 0)
    return max(backward, tile + copies if full and load.shards == 1 else 0)


def validation(load: Load) -> float:
    """Return the bytes of a validation, without weights and optimizer; no gradient is held.

    A token takes 12 H + 2 Q + 6 I bytes in the one layer that computes (float32 in the norm,
    bfloat16 in the MLP). The loss takes a tile of logits; on a CPU it takes 8 V for each completion
    token.
    """
    shape = load.shape
    width = 12 * shape.hidden + 2 * shape.queries + 6 * shape.intermediate
    if load.compute == "float32":
        width = 12 * shape.hidden + 16 * shape.queries + 12 * shape.intermediate
    if load.device == "cpu":
        loss = 8.0 * shape.vocabulary * load.completion_tokens
    else:
        loss = (2 * _TILE_WORDS * (min(load.completion_tokens, _TILE_TOKENS) + shape.hidden)
                + (2 * shape.embedding if load.shards > 1 else 0))
    buffers = 4 * shape.layer if load.shards > 1 else 0
    return max(load.tokens * width, loss) + buffers


def cache(shape: Shape) -> int:
    """Return the bytes of the keys and values of one token during generation, in bfloat16."""
    return 2 * 2 * shape.layers * shape.keys
