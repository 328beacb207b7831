"""How `mask` lays a question out, whatever the question is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from self_ensemble.asking.layout import relative_weights
from self_ensemble.asking.request import Settings
from self_ensemble.errors import UserError
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
        segment_weights: "uniform", "none", or one of each wording.
    """

    num_generated: int
    positions: str
    fusion_point: str
    segment_weights: str | tuple[float, ...]

    @property
    def fact(self) -> str:
        """The same in words."""
        weights = self.segment_weights
        if isinstance(weights, str):
            weights = {"uniform": "1/N each", "none": "1 each"}[weights]
        else:
            weights = ", ".join(f"{weight:.3g}" for weight in self.weights(len(weights)))
        return (
            f"{self.positions.capitalize()} positions, fusion point: {self.fusion_point}, "
            f"weights of the segments: {weights}"
        )

    def weights(self, num_wordings: int) -> list[float]:
        """Weight of each wording inside attention; given ones are scaled to sum 1.

        Raises:
            UserError: There are not as many as wordings.
        """
        if self.segment_weights == "none":
            return [1.0] * num_wordings
        if isinstance(self.segment_weights, str):
            return [1.0 / num_wordings] * num_wordings
        if len(self.segment_weights) != num_wordings:
            raise UserError(
                f"Got {len(self.segment_weights)} --segment-weights for {num_wordings} wordings. "
                "Give one per wording.",
                "SE-0603",
            )
        relative = relative_weights(self.segment_weights)
        return [weight / sum(relative) for weight in relative]

    def layout(
        self,
        parts: PromptParts,
        readable: Sequence[tuple[int, int]] = (),
        *,
        as_engine: bool = False,
    ) -> Layout:
        """Lay a question out for attention-level fusion.

        Args:
            parts: The question.
            readable: Pairs of wordings of which the first may read the second.
            as_engine: Whether tokens that wordings begin with alike stand once, where they can;
                the engine's logits are the same either way.

        Raises:
            UserError: Not as many weights as wordings.
        """
        return build_layout(
            parts,
            segment_weights=self.weights(len(parts.segments)),
            positions=cast(Any, self.positions),
            fusion_point=cast(Any, self.fusion_point),
            readable=readable,
            share=as_engine and self.positions == "aligned" and not readable,
        )

    def settings(self, question_set: QuestionSet) -> Settings:
        """The same as the engine takes it, with the ends of answers of a data set."""
        weights = self.segment_weights
        return Settings(
            max_new_tokens=question_set.max_new_tokens,
            stop=question_set.stop,
            positions=cast(Any, self.positions),
            fusion_point=cast(Any, self.fusion_point),
            segment_weights=cast(Any, weights if isinstance(weights, str) else "given"),
        )
