"""A question in token ids: the prefix, one segment per wording, and the answer cue."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptParts:
    """One question as token ids; the parts are tokenised apart and never joined as text.

    Attributes:
        prefix: Instruction and few-shot examples, the same for the whole run; may be empty.
        segments: One span per wording.
        cue: The answer cue, which the first answer token is predicted from.
    """

    prefix: tuple[int, ...]
    segments: tuple[tuple[int, ...], ...]
    cue: tuple[int, ...]

    def alone(self, index: int) -> tuple[int, ...]:
        """The ordinary prompt of one wording: prefix, segment, cue."""
        return self.prefix + self.segments[index] + self.cue
