"""A small run to evaluate: its parameters, a random model with a real tokenizer, and what a killed
evaluation leaves."""

import made_up_run

from metarfft_core import evaluation, models
from metarfft_core.evaluation import cells
from metarfft_core.system import files

TASK = "nupa_length"


def values(methods, lengths, samples, limit_factor, limit_extra):
    """Parameters for one task, with batches of two short outputs."""
    values = made_up_run.plain()
    values["adaptation"]["methods"] = methods
    values["corpus"]["adaptation"]["tasks"] = [TASK]
    values["corpus"]["evaluation"] = {"lengths": lengths, "samples_per_length": samples}
    values["evaluation"] |= {"batch_size": 2, "limit_factor": limit_factor,
                             "limit_extra": limit_extra}
    return values


def random_model(folder, seed, tied=False, ending=1.0):
    """Write a random model, some of whose outputs end before their limit; returns its folder.

    `ending` multiplies the weights of the end token, so that more of them end.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=2048,
        tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        initializer_range=0.3))
    model.lm_head.weight.data[2] *= ending
    models.save(model.to(torch.bfloat16), models.EMBEDDED, folder)
    return folder


def describe(job):
    """Write the manifest of a training that left the model in its folder."""
    name = "model/model.safetensors"
    files.write_json(job.manifest, {"params_digest": job.config.digest,
                                    "weights": {name: files.sha256(job.folder / name)}})


def begin(config, cell, content):
    """Write unfinished results with these bytes; returns their path."""
    results = evaluation.path(config, cell)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_bytes(content)
    cells.hashes(results).write_text("".join(
        f"{cells.line_hash(line)}\n" for line in content.split(b"\n")[:-1]))
    files.write_json(results.with_suffix(".json"),
                     evaluation.header(config, cell) | {"finished": False})
    return results
