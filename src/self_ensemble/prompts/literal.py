"""A tokenizer that reads the names of special tokens as plain text, except where they are meant.

transformers reads `<|im_end|>` as the special token either everywhere in a text or nowhere, and a
Unigram vocabulary holds `</s>` as an ordinary piece besides. So the special tokens of a copy are
renamed, in all that the tokenizer consists of: data that spell the old name are then only
characters, and a chat template's own text is spelled with the new ones. What is around them goes
through the same steps as ever.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from self_ensemble.errors import UserError

STEM = "selfensemblespecialtoken"
LETTERS = "abcdefghij"
BYTE = re.compile("<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The special tokens of a tokenizer.

    Attributes:
        ids: Their ids by name.
        unknown: Id of the token for what the vocabulary lacks, which plain text may become.
        known: The other ids.
        cutting: Names of those that are looked for in a text before anything else, and cut it
            whatever stands around them.
    """

    ids: dict[str, int]
    unknown: int | None
    known: frozenset[int]
    cutting: frozenset[str]

    def are_in(self, text: str) -> bool:
        """Whether a text spells one."""
        return any(name in text for name in self.ids)

    def last_border(self, text: str) -> int | None:
        """Where the last one begins at which every text is cut."""
        start = max((text.rfind(name) for name in self.cutting), default=-1)
        return None if start < 0 else start

    def count(self, token_ids: Sequence[int]) -> int:
        """How many of some tokens are special, unknown ones not counted."""
        return sum(token in self.known for token in token_ids)


def special_tokens(tokenizer: Any) -> SpecialTokens:
    """The special tokens of a tokenizer of transformers."""
    added = tokenizer.added_tokens_decoder.items()
    ids = {token.content: index for index, token in added if token.special and token.content}
    ids |= dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    # Plain text is made of bytes, whatever they are called.
    ids = {name: index for name, index in ids.items() if not BYTE.fullmatch(name)}
    unknown = tokenizer.unk_token_id
    plain = [token for _, token in added if not (token.normalized or token.single_word)]
    cutting = frozenset(token.content for token in plain if token.content in ids)
    return SpecialTokens(ids, unknown, frozenset(ids.values()) - {unknown}, cutting)


class LiteralTokenizer:
    """The copy with renamed special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        """Make the copy.

        Args:
            tokenizer: One of transformers that runs on the tokenizers library.
        """
        names = sorted(special_tokens(tokenizer).ids, key=len, reverse=True)
        self._new = {name: _new_name(number) for number, name in enumerate(names)}
        self._names = re.compile("|".join(map(re.escape, names)))
        document = json.loads(tokenizer.backend_tokenizer.to_str())
        self._copy = Tokenizer.from_str(json.dumps(_renamed(document, self._new)))
        self._copy.encode_special_tokens = False

    def spelled(self, text: str, *, is_template: bool) -> str:
        """A text as `encode` takes it: special tokens are meant in a template's, not in data.

        Raises:
            UserError: Data hold the new name of a special token.
        """
        if is_template:
            return self._names.sub(lambda found: self._new[found.group()], text)
        if STEM in text.lower():
            raise UserError(f"A text holds {STEM!r}, which is reserved. Leave it out.", "SE-0504")
        return text

    def encode(self, text: str) -> Any:
        """Encode a text without adding special tokens."""
        return self._copy.encode(text, add_special_tokens=False)


def _new_name(number: int) -> str:
    # Lower-case letters only, which no normaliser changes; z ends a name, so none begins another.
    return STEM + "".join(LETTERS[int(digit)] for digit in str(number)) + "z"


def _renamed(document: dict[str, Any], new: dict[str, str]) -> dict[str, Any]:
    model = document["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {new.get(token, token): index for token, index in vocabulary.items()}
    else:
        model["vocab"] = [[new.get(token, token), score] for token, score in vocabulary]
    if model.get("unk_token") in new:
        model["unk_token"] = new[model["unk_token"]]
    if "merges" in model:
        # A merge that ends in a special token would read it from plain characters.
        model["merges"] = [pair for pair in model["merges"] if not _touches(pair, new)]
    for token in document["added_tokens"]:
        token["content"] = new.get(token["content"], token["content"])
    # What it adds around a text is not asked for, and it would trim offsets.
    return {**document, "post_processor": None, "truncation": None, "padding": None}


def _touches(pair: Any, new: dict[str, str]) -> bool:
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return left in new or right in new or left + right in new
