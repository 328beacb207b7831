"""Text to token ids, part by part.

Parts are tokenised apart, so that a wording has the same tokens wherever it stands, and text from
data stays text: `<|im_end|>` inside a question never becomes the special token.
"""

from typing import Any

from self_ensemble.errors import UserError

ANCHOR = "\n"  # keeps SentencePiece from putting its word mark before a part


def encode_text(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a part of a prompt; special tokens in it are read as plain text."""
    return _encode(tokenizer, text, split_special_tokens=True)


def encode_template(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a chat template's own text, where special tokens are meant."""
    return _encode(tokenizer, text, split_special_tokens=False)


def beginning(tokenizer: Any) -> tuple[int, ...]:
    """The token that this tokenizer puts before every text, if it does."""
    ids = tokenizer("a")["input_ids"]
    return (ids[0],) if ids and ids[0] == tokenizer.bos_token_id else ()


def _encode(tokenizer: Any, text: str, *, split_special_tokens: bool) -> tuple[int, ...]:
    def ids(piece: str) -> list[int]:
        encoded: list[int] = tokenizer(
            piece, add_special_tokens=False, split_special_tokens=split_special_tokens
        )["input_ids"]
        return encoded

    if not _marks_first_word(tokenizer):
        return tuple(ids(text))
    anchor, anchored = ids(ANCHOR), ids(ANCHOR + text)
    if not anchor or anchored[: len(anchor)] != anchor:
        raise UserError(
            f"This model's tokenizer drops a line break or joins it with {text[:20]!r} behind it, "
            "so parts of a prompt cannot be encoded apart. Choose another model."
        )
    return tuple(anchored[len(anchor) :])


def _marks_first_word(tokenizer: Any) -> bool:
    ids = tokenizer("a", add_special_tokens=False)["input_ids"]
    first: str = tokenizer.convert_ids_to_tokens(ids)[0]
    return first.startswith("\u2581")
