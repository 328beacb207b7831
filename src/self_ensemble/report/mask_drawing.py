"""What the pictures of a mask show, whether as PNG or as HTML."""

from dataclasses import dataclass
from typing import NamedTuple

from self_ensemble.report.mask_blocks import BlockTable
from self_ensemble.report.packed_sequence import PackedSequence


class DrawnMask(NamedTuple):
    """One mask.

    Attributes:
        name: What it is.
        sequence: Its columns, and who reads whom.
        tokens: The text of each token of the prompt, `(C,)` without the generated ones; empty
            where only numbers of tokens are known.
        special: Columns of special tokens, which the same text in a question is not.
        facts: Lines that say what is to be known of it.
        answer: What was answered; None if nothing was asked.
        verdict: Whether that is accepted, in a word; empty if it is not known.
    """

    name: str
    sequence: PackedSequence
    tokens: tuple[str, ...]
    special: frozenset[int]
    facts: tuple[str, ...]
    answer: str | None = None
    verdict: str = ""

    @property
    def in_brackets(self) -> str:
        """The verdict as it stands behind the answer."""
        return f" ({self.verdict})" if self.verdict else ""


@dataclass(frozen=True, slots=True)
class MaskDrawing:
    """A picture.

    Attributes:
        title: What question of what is drawn.
        facts: Lines below the title.
        masks: The packed one, and what it is compared with.
        blocks: BlockMasks; empty if not asked for.
    """

    title: str
    facts: tuple[str, ...]
    masks: tuple[DrawnMask, ...]
    blocks: tuple[BlockTable, ...] = ()
