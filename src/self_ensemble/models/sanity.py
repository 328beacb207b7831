"""Whether the parts of a model fit each other: sizes, weights and tokens.

A configuration is believed by the library, which builds what it says before it looks at the
weights: a million layers take hours, and a tokenizer with tokens that the model has not fails at
the first question that holds one.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from self_ensemble.errors import UserError

MOST_LAYERS = 10_000
# Weights that one byte can hold; packed ones of less than two bits are not far below.
WEIGHTS_A_BYTE = 8
REMEDY = "Download or convert it again."


def check_sizes(config: PreTrainedConfig, weights: Iterable[Path], name: str) -> None:
    """Refuse a configuration of more than the files can hold, before anything is built.

    Args:
        config: The model's configuration.
        weights: The files with its weights.
        name: What the model is called, for the message.

    Raises:
        UserError: A size is no positive whole number, or larger than the files allow.
    """
    num_bytes = sum(path.stat().st_size for path in weights)
    text_config = config.get_text_config()
    hidden = _size(text_config, "hidden_size", name)
    layers = _size(text_config, "num_hidden_layers", name)
    # The embedding has a row for every token, every layer its own matrices.
    needed = hidden * max(_size(text_config, "vocab_size", name), layers)
    for option in ("intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
        if isinstance(getattr(text_config, option, None), int):
            needed = max(needed, hidden * getattr(text_config, option))
    if needed > WEIGHTS_A_BYTE * num_bytes or layers > MOST_LAYERS:
        raise UserError(
            f"The weights of model {name!r} have {num_bytes:,} bytes, too few for its "
            f"config.json: {layers:,} layers of size {hidden:,}, {needed:,} weights in one part. "
            f"{REMEDY}",
            "SE-0305",
        )


def _size(config: PreTrainedConfig, option: str, name: str) -> int:
    size = getattr(config, option, None)
    if size is None:
        # A family with names of its own, which the library would not have built without.
        return 1
    if not isinstance(size, int) or size < 1:
        raise UserError(
            f"The config.json of model {name!r} has {option} {str(size)[:40]!r}. Expected a whole "
            f"number from 1. {REMEDY}",
            "SE-0305",
        )
    return size


def check_tokens(tokenizer: Any, model: PreTrainedModel, name: str) -> None:
    """Refuse a tokenizer that knows tokens which the model has not.

    Special tokens may lie beyond, all but the one that every text begins with: the library and
    many a user add some that no text is ever read as. A prompt that has one is refused by
    `check_prompt`.

    Raises:
        UserError: With such a token, its id and the size of the model's vocabulary.
    """
    rows = num_rows(model)
    special = {str(one) for one in tokenizer.added_tokens_decoder.values() if one.special}
    unread = {*tokenizer.all_special_tokens, *special} - {tokenizer.bos_token}
    beyond = {
        token: number
        for token, number in tokenizer.get_vocab().items()
        if not 0 <= number < rows and token not in unread
    }
    if beyond:
        token, number = max(beyond.items(), key=lambda item: item[1])
        raise UserError(
            f"The tokenizer of model {name!r} has the token {token!r} with id {number}, but the "
            f"model's vocabulary is of size {rows}. Take the tokenizer that belongs to the model.",
            "SE-0305",
        )


def check_prompt(token_ids: Iterable[int], tokenizer: Any, model: PreTrainedModel) -> None:
    """Refuse a prompt of special tokens which the model has not, such as a chat template's.

    Raises:
        UserError: With such a token, its id and the size of the model's vocabulary.
    """
    rows, largest = num_rows(model), max(token_ids, default=0)
    if largest >= rows:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise UserError(
            f"The prompt has the token {token!r} with id {largest}, but the model's vocabulary is "
            f"of size {rows}. Use --chat-template off, or take the tokenizer that belongs to the "
            "model.",
            "SE-0305",
        )


def num_rows(model: PreTrainedModel) -> int:
    """The size of the vocabulary that a model can read."""
    return len(model.get_input_embeddings().weight)


def compute_once(model: PreTrainedModel) -> None:
    """Run the model on one token, which fails where its parts do not fit each other.

    Raises:
        Exception: Whatever the library raises.
    """
    with torch.inference_mode():
        model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False)
