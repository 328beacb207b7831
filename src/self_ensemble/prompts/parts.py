"""A question in token ids: the prefix, one segment per wording, and the answer cue."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptParts:
    """One question as token ids: every wording's prompt, cut at the same kind of places.

    Attributes:
        prefix: Instruction and few-shot examples, the same for the whole run; may be empty.
        segments: One span per wording.
        cue: The answer cue, which the first answer token is predicted from.
        prior: What follows the prefix in the prompt without the question; None: the cue.
    """

    prefix: tuple[int, ...]
    segments: tuple[tuple[int, ...], ...]
    cue: tuple[int, ...]
    prior: tuple[int, ...] | None = None

    def alone(self, index: int) -> tuple[int, ...]:
        """The ordinary prompt of one wording: prefix, segment, cue."""
        return self.prefix + self.segments[index] + self.cue

    @property
    def num_tokens(self) -> int:
        """Tokens of all wordings, with what they have in common once."""
        return len(self.prefix) + sum(map(len, self.segments)) + len(self.cue)

    @property
    def without_question(self) -> tuple[int, ...]:
        """What follows the prefix in the prompt without the question."""
        return self.cue if self.prior is None else self.prior


def num_common_front(*sequences: Sequence[int]) -> int:
    """How many tokens all sequences begin with alike."""
    shortest = min(map(len, sequences))
    if all(sequence[:shortest] == sequences[0][:shortest] for sequence in sequences[1:]):
        return shortest
    return next(n for n in range(shortest) if len({sequence[n] for sequence in sequences}) > 1)


def num_common_tail(*sequences: Sequence[int]) -> int:
    """How many tokens all sequences end with alike."""
    return num_common_front(*(sequence[::-1] for sequence in sequences))
