"""How `mask` lays a question out, whatever the question is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from self_ensemble.asking.request import Settings
from self_ensemble.packing.layout import Layout, build_layout
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.questions.schema import QuestionSet


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a question is laid out, whatever it is.

    Attributes:
        num_generated: Generated tokens to draw.
        positions: "aligned" or "contiguous".
        fusion_point: "cue" or "last_segment".
        segment_weights: "uniform" or "none".
    """

    num_generated: int
    positions: str
    fusion_point: str
    segment_weights: str

    @property
    def fact(self) -> str:
        """The same in words."""
        weights = {"uniform": "1/N each", "none": "1 each"}[self.segment_weights]
        return (
            f"{self.positions.capitalize()} positions, fusion point: {self.fusion_point}, "
            f"weights of the segments: {weights}"
        )

    def layout(self, parts: PromptParts, readable: Sequence[tuple[int, int]] = ()) -> Layout:
        """Lay a question out as the engine does for attention-level fusion."""
        num_wordings = len(parts.segments)
        weight = 1.0 / num_wordings if self.segment_weights == "uniform" else 1.0
        return build_layout(
            parts,
            segment_weights=[weight] * num_wordings,
            positions=cast(Any, self.positions),
            fusion_point=cast(Any, self.fusion_point),
            readable=readable,
        )

    def settings(self, question_set: QuestionSet) -> Settings:
        """The same as the engine takes it, with the ends of answers of a data set."""
        return Settings(
            max_new_tokens=question_set.max_new_tokens,
            stop=question_set.stop,
            positions=cast(Any, self.positions),
            fusion_point=cast(Any, self.fusion_point),
            segment_weights=cast(Any, self.segment_weights),
        )
