"""A tokenizer and a tiny model that need no network: for the items that go through the kit."""

from pathlib import Path

SIZES = {"vocab_size": 640, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1}
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def write_tokenizer(folder: Path) -> Path:
    """Write a byte-level tokenizer of at most 640 tokens, learnt from samples of the kit."""
    if (folder / "tokenizer.json").exists():
        return folder
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from metarfft_core import formats, tasks

    texts = [text for task in tasks.select(split="downstream") for text in formats.render(
        task, task.sample(length=3, seed=0, index=0, stream="tokenizer"), "rfft")]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=SIZES["vocab_size"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"]))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>",
                                   pad_token="<|pad|>", clean_up_tokenization_spaces=False)
    fast.chat_template = _TEMPLATE
    fast.save_pretrained(folder)
    return folder


def write_model(folder: Path, spread: float = 0.02) -> Path:
    """Write the tiny model, with weights of that standard deviation, and its tokenizer."""
    import torch

    from sitting import shapes

    torch.manual_seed(0)
    write_tokenizer(folder)
    model = shapes.random_model(SIZES, torch.float32, "sdpa", "cpu")
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=spread)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder
