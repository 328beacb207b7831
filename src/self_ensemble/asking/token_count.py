"""How many tokens a method alone sends through the model for a question: what it costs.

A run of several methods shares a prefill and most of what it decodes, so the engine's counters say
nothing of one of them. What a method costs by itself follows from its layout and from how long its
answers are, whatever it was run beside and however large the batch was.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from self_ensemble.asking.layout import Streams, original_only, request_layouts
from self_ensemble.asking.methods import Method
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Answer, Outcome, Request
from self_ensemble.captured.decode import LAG
from self_ensemble.packing.layout import Layout


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Counts the prompt and decode tokens that the engine counts for one question and one method.

    These are the segments and cues that the method reads, tokens that wordings begin with alike
    once, and the generated tokens that are fed back. Not among them are the run's prefix, which is
    encoded once a run, padding, and what is asked again apart because it was not finite.

    Attributes:
        prefiller: Lays prompts out.
        decode: The way to decode: "tree", "captured" or "compiled".
    """

    prefiller: Prefiller
    decode: str
    # Most methods of a run read the same streams.
    _layouts: dict[tuple[Request, Streams], Layout] = field(default_factory=dict)

    def of(self, method: Method, request: Request, outcome: Outcome) -> tuple[int | None, ...]:
        """The tokens of each row of a question; None where it has no answer.

        Args:
            method: The method.
            request: The question.
            outcome: What came of it.

        Returns:
            One number; where every wording answers (`per_prompt`) one for each, which add up to
            the question's: what the wording adds to those before it.
        """
        layout = self._layout(method, request)
        answers = outcome.members if method.kind in ("alone", "vote") else (outcome,)
        lengths = [len(one.token_ids) if isinstance(one, Answer) else 0 for one in answers]
        fed = [self._num_fed(length, max(lengths)) for length in lengths]
        if method.kind == "alone":
            prompts = _of_wordings(layout)
            return tuple(
                prompt + more if isinstance(one, Answer) else None
                for prompt, more, one in zip(prompts, fed, answers, strict=True)
            )
        if not isinstance(outcome, Answer):
            return (None,)
        # The streams of a fused answer all take its tokens.
        num_fed = sum(fed) if method.kind == "vote" else len(layout.streams) * fed[0]
        return (len(layout.token_ids) + num_fed,)

    def _layout(self, method: Method, request: Request) -> Layout:
        asked = original_only(request) if method.kind == "original" else request
        streams = Streams.of([method], len(asked.wordings))
        if (asked, streams) not in self._layouts:
            own = self.prefiller
            (self._layouts[asked, streams],) = request_layouts(
                [asked], [method], streams, own.frame, own.settings, own.engine.model
            )
        return self._layouts[asked, streams]

    def _num_fed(self, length: int, longest: int) -> int:
        """Tokens fed back on one stream, of an answer so long among answers up to `longest`."""
        if self.decode == "tree":
            return max(length - 1, 0)  # what ends an answer is not fed
        # Steps of fixed shape go on for all streams until the host has seen the last end.
        return min(longest - 1 + LAG, self.prefiller.settings.max_new_tokens - 1)


def _of_wordings(layout: Layout) -> Sequence[int]:
    """Tokens that each wording continued alone adds to those of the wordings before it."""
    of_group = Counter(layout.groups)
    added = [of_group[stream.group] for stream in layout.alone]
    for group, wordings in enumerate(layout.wordings, start=1):
        added[min(wordings)] += of_group[group]
    return added
