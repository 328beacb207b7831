"""The text of each token where it stands."""

from collections.abc import Sequence
from typing import Any

# Tokens that one character, or several that do not end where tokens do, may take.
MOST_TOGETHER = 8
HALF = "\ufffd"  # what tokenizers write for bytes that are no character yet


def token_texts(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Decode tokens one by one, special ones included; joined, they are the whole text.

    Where only several tokens together make a character, as of an emoji, the first of them has the
    text and the others have none.
    """
    texts: list[str] = []
    while len(texts) < len(token_ids):
        start = len(texts)
        before = token_ids[max(0, start - 1) : start]
        text, end = _behind(tokenizer, before, token_ids[start : start + 1]), start + 1
        while HALF in text and end < min(start + MOST_TOGETHER, len(token_ids)):
            longer = _behind(tokenizer, before, token_ids[start : end + 1])
            # What is no character yet changes with the next token, or grows by nothing.
            if longer != text and longer.startswith(text):
                break
            text, end = longer, end + 1
        texts += [text, *[""] * (end - start - 1)]
    return texts


def token_text(tokenizer: Any, token_id: int) -> str:
    """Decode a token that may stand anywhere."""
    # Behind itself, because some tokenizers drop a text's first space.
    return token_texts(tokenizer, [token_id, token_id])[1]


def _behind(tokenizer: Any, before: Sequence[int], token_ids: Sequence[int]) -> str:
    """What tokens add to a text; by itself, one may have lost the space that it begins with."""
    given, whole = _decoded(tokenizer, before), _decoded(tokenizer, [*before, *token_ids])
    return whole[len(given) :] if whole.startswith(given) else _decoded(tokenizer, token_ids)


def _decoded(tokenizer: Any, token_ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(
        list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text
