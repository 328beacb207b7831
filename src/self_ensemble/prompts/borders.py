r"""Places in a prompt behind which tokens do not depend on what stands before them.

Encoding a long prefix again for every wording would cost as much as everything else that is done
with its text. Two places are sure to be borders, whatever follows:

- the beginning of an added token, such as the special tokens of a chat template: the tokenizers
  library cuts a text there before it does anything else;
- between a line break and a letter, where the text is split by one of the expressions below: in
  none of them does a match hold a line break and go on with a letter.
"""

import json
from typing import Any

SUFFIX = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT_FORMS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
EXPRESSIONS = frozenset(
    # Llama 3, Qwen 2 and their kin.
    f"{SHORT_FORMS}|{WORDS}|{digits}|{SIGNS}{SUFFIX}"
    for digits in (r"\p{N}{1,3}", r"\p{N}")
)
# What composes characters: nothing is composed with a line break.
COMPOSING = ("NFC", "NFKC")


def splits_at_lines(tokenizer: Any) -> bool:
    """Whether a tokenizer cuts every text between a line break and a letter.

    Args:
        tokenizer: One of transformers that runs on the tokenizers library.
    """
    backend = tokenizer.backend_tokenizer
    normaliser = _state(backend.normalizer)
    splitter = _state(backend.pre_tokenizer)
    if normaliser is not None and normaliser["type"] not in COMPOSING:
        return False
    if any(_joins_lines(token.content) for token in tokenizer.added_tokens_decoder.values()):
        return False
    steps = splitter["pretokenizers"] if splitter and "pretokenizers" in splitter else [splitter]
    return _splits(steps)


def last_line(text: str) -> int:
    """Place of the last letter behind a line break; 0 where there is none."""
    for place in range(len(text) - 1, 0, -1):
        # Of ASCII, because NFKC makes a space of some other letters.
        if text[place - 1] == "\n" and text[place].isascii() and text[place].isalpha():
            return place
    return 0


def _splits(steps: list[Any]) -> bool:
    *splits, last = steps
    if last is None or last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return False
    # By default it splits by GPT-2's expression.
    return (
        all(step["type"] == "Digits" for step in splits)
        if last["use_regex"]
        else (
            len(splits) == 1
            and splits[0]["type"] == "Split"
            and splits[0]["behavior"] == "Isolated"
            and not splits[0]["invert"]
            and splits[0]["pattern"].get("Regex") in EXPRESSIONS
        )
    )


def _joins_lines(token: str) -> bool:
    return last_line(token) > 0


def _state(part: Any) -> Any:
    return None if part is None else json.loads(part.__getstate__())
