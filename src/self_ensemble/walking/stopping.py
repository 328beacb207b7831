"""When an answer ends: end-of-sequence token, stop string, or length."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel


@dataclass(slots=True)
class StopRule:
    """Decides after every token whether an answer has ended.

    Attributes:
        tokenizer: The model's tokenizer.
        eos_token_ids: Tokens that end an answer.
        stop: Strings that end an answer; the text is cut before them.
        max_new_tokens: Longest answer in tokens.

    Raises:
        UserError: An empty stop string, or no new token.
    """

    tokenizer: Any
    eos_token_ids: frozenset[int]
    stop: tuple[str, ...]
    max_new_tokens: int
    _may_end: dict[int, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, model: LoadedModel, stop: tuple[str, ...], max_new_tokens: int) -> "StopRule":
        """The rule with a model's own end tokens."""
        found = model.model.generation_config.eos_token_id
        if found is None:
            found = model.tokenizer.eos_token_id
        ids = [] if found is None else [found] if isinstance(found, int) else found
        return cls(model.tokenizer, frozenset(ids), stop, max_new_tokens)

    def __post_init__(self) -> None:
        if "" in self.stop:
            raise UserError("Got an empty stop string. Every stop string needs text.", "SE-0010")
        if self.max_new_tokens < 1:
            raise UserError(
                f"Got {self.max_new_tokens} new tokens; expected at least 1.", "SE-0010"
            )

    def reason(self, token_ids: Sequence[int]) -> str | None:
        """Which rule ended the answer ("eos", "stop", "length"), or None to go on."""
        if token_ids[-1] in self.eos_token_ids:
            return "eos"
        if self._may_end_here(token_ids[-1]) and self._cut(self._decode(token_ids)) is not None:
            return "stop"
        return "length" if len(token_ids) >= self.max_new_tokens else None

    def text(self, token_ids: Sequence[int]) -> str:
        """The answer's text, without special tokens, cut before the first stop string."""
        kept = [token for token in token_ids if token not in self.eos_token_ids]
        text = self._decode(kept)
        cut = self._cut(text)
        return text if cut is None else text[:cut]

    def plain(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, without special ones, and not cut."""
        return self._decode(token_ids)

    def settled(self, token_ids: Sequence[int]) -> str:
        """The text so far, without what further tokens may change, or may make a stop string."""
        # Bytes of a character whose others are still to come are shown as this.
        text = self.text(token_ids).rstrip("\ufffd")
        held = max((_begun(text, string) for string in self.stop), default=0)
        return text[: len(text) - held]

    def _cut(self, text: str) -> int | None:
        places = [text.find(string) for string in self.stop if string in text]
        return min(places) if places else None

    def _decode(self, token_ids: Sequence[int]) -> str:
        decoded: str = self.tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def _may_end_here(self, token_id: int) -> bool:
        # Decoding a whole answer after every token is slow; only a token that holds the last
        # character of a stop string (or half a character) can complete one.
        if token_id not in self._may_end:
            # Twice, because some tokenizers drop a text's first space.
            piece = self._decode([token_id, token_id])
            last = {string[-1] for string in self.stop}
            self._may_end[token_id] = "\ufffd" in piece or any(char in piece for char in last)
        return self._may_end[token_id]


def _begun(text: str, string: str) -> int:
    """How many characters at the end of a text may be the beginning of a longer string."""
    most = min(len(string) - 1, len(text))
    return next((n for n in range(most, 0, -1) if text.endswith(string[:n])), 0)
