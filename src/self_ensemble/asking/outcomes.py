"""From decoded tokens to what a method answers, or why it has no answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from self_ensemble.asking.isolation import IsFinite, reason
from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Answer, Outcome, Request, Unanswered
from self_ensemble.scoring.normalise import first_line
from self_ensemble.scoring.vote import vote
from self_ensemble.walking.loop import Decoded
from self_ensemble.walking.stopping import StopRule


@dataclass(frozen=True, slots=True)
class OutcomeMaker:
    """Makes outcomes.

    Attributes:
        stop_of: When the answers of a question end, and what their text is.
        is_finite: Tells whether the model's own logits are finite.
    """

    stop_of: Callable[[Request], StopRule]
    is_finite: IsFinite

    def of(self, method: Method, request: Request, found: Sequence[Decoded]) -> Outcome:
        """What a method answers to a question: from its one answer, or those of all wordings."""
        if not method.goes_alone:
            return self.of_one(method, request, found[0], None)
        members = tuple(
            self.of_one(method, request, decoded, wording) for wording, decoded in enumerate(found)
        )
        if method.kind == "original":
            return members[0]
        answers = [member for member in members if isinstance(member, Answer)]
        shown = members[0]
        if method.kind == "vote" and len(answers) < len(members):
            shown = next(member for member in members if isinstance(member, Unanswered))
        elif method.kind == "vote":
            winner = vote([a.text for a in answers], [a.mean_logprob for a in answers])
            shown = answers[winner]
        named = tuple(replace(member, method="per_prompt") for member in members)
        return replace(shown, method=method.name, members=named)

    def of_one(
        self, method: Method, request: Request, decoded: Decoded, wording: int | None
    ) -> Outcome:
        """What became of one continuation: of a wording alone, or, for None, of all together."""
        if not decoded.is_finite:
            why = reason(self.is_finite, method, request, decoded, wording)
            return Unanswered(method.name, why)
        generation = self.stop_of(request).text(decoded.token_ids)
        return Answer(
            method=method.name,
            text=first_line(generation),
            generation=generation,
            token_ids=tuple(decoded.token_ids),
            logprobs=tuple(decoded.logprobs),
            stop_reason=decoded.stop_reason or "length",
            tops=tuple(decoded.tops),
        )
