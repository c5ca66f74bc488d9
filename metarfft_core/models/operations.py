"""The floating-point operations of trainings and generations, which MFU and plans are made of.

Counted are the matrix products of the layers (for every token), of the output head (for every token
that it scores) and of causal attention. The rest is below 1%: looking up embeddings, norms,
softmax, the optimizer.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operations:
    """The sizes that operations follow from.

    A sample of T tokens takes 2 x attention x T² in the attention of a forward pass: scores and
    weighted values, half of the square each. A forward pass takes 2 for a weight and a token, and
    so do the gradient of its inputs and the gradient of the weight, which a frozen one has not.
    """

    trained: int  # weights of the layers that are trained
    frozen: int  # weights of the layers that are not
    head: int  # weights of the output head
    head_trained: bool
    attention: int  # layers x width of all query heads

    def training(self, tokens: float, scored: float, squares: float) -> float:
        """Return the operations of training.

        Args:
            tokens: The tokens of all samples.
            scored: The tokens that the loss is computed on.
            squares: The sum over the samples of the squared number of tokens.
        """
        return ((6 * self.trained + 4 * self.frozen) * tokens
                + (6 if self.head_trained else 4) * self.head * scored
                + 6 * self.attention * squares)

    def forward(self, tokens: float, scored: float, squares: float) -> float:
        """Return the operations of forward passes alone; arguments as in `training`."""
        return 2.0 * ((self.trained + self.frozen) * tokens + self.head * scored
                      + self.attention * squares)

    def recomputed(self, tokens: float, squares: float) -> float:
        """Return what gradient checkpointing adds to training: the layers' forward pass, again."""
        return self.forward(tokens, 0, squares)


def of_model(model) -> Operations:
    """Return the sizes of a loaded transformers or peft model.

    A weight that is both embedding and output head counts as the head alone.
    """
    config, head = model.config, model.get_output_embeddings().weight
    outside = {id(head), id(model.get_input_embeddings().weight)}
    layers = [weight for weight in model.parameters() if id(weight) not in outside]
    trained = sum(weight.numel() for weight in layers if weight.requires_grad)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Operations(trained, sum(weight.numel() for weight in layers) - trained, head.numel(),
                      head.requires_grad,
                      config.num_hidden_layers * config.num_attention_heads * width)
