"""Answers as they grow: questions join and leave while others are being answered.

    step 1   Paris        | .           | .
    step 2   Paris is     | 1066        | .           a question has joined
    step 3   (ended)      | 1066        | The         and another one

Questions that join together share a prefill; from then on everything that is being answered goes
through the model in one pass a step (`passes/joint.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from self_ensemble.asking.beginning import Beginner
from self_ensemble.asking.methods import Method
from self_ensemble.asking.outcomes import OutcomeMaker
from self_ensemble.asking.request import Outcome, Request, Settings, Unanswered
from self_ensemble.asking.tracks import by_method, passes
from self_ensemble.errors import UserError
from self_ensemble.passes.batch import Move
from self_ensemble.passes.joint import advance_all
from self_ensemble.passes.kept_logits import KeptLogits
from self_ensemble.walking.loop import Decoded, Decoding
from self_ensemble.walking.stopping import StopRule
from self_ensemble.walking.user_rule import RuleError


@dataclass(frozen=True, slots=True)
class Step:
    """One answer, one token further or at its end.

    Attributes:
        number: Which question of the stream, counted from 0 in the order in which they joined.
        method: Name of the method.
        wording: Of `vote` and `per_prompt` the wording whose answer this is; None for the answer
            of the method.
        token_ids: Its tokens so far.
        logprobs: Their log-probabilities, as `Answer.logprobs`.
        tops: The likeliest tokens at the place of each, as `Answer.tops`.
        outcome: What the method answers, or why it has no answer, at the end; else None.
    """

    number: int
    method: str
    wording: int | None
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    tops: tuple[tuple[tuple[int, float], ...], ...]
    outcome: Outcome | None
    _stop: StopRule = field(repr=False)

    @property
    def text(self) -> str:
        """Its text so far, as far as no further token can change it.

        Half a character is left out, and so is what may become a stop string. At the end it is
        the answer's `generation`.
        """
        if self.outcome is not None:
            return "" if isinstance(self.outcome, Unanswered) else self.outcome.generation
        return self._stop.settled(self.token_ids)


@dataclass(slots=True)
class _Open:
    """A method's answer to a question that has not ended."""

    number: int
    request: Request
    method: Method
    found: list[Decoded]
    num_told: list[int]


@dataclass(slots=True)
class _Group:
    """Questions that have joined together."""

    decoding: Decoding
    numbers: Sequence[int]
    open: list[_Open]
    move: Move | None = None


class Stream:
    """Questions that are being answered, step by step.

    Example:
        >>> stream = ensemble.stream([Request("q", ("what is the capital of France?",))])
        >>> for steps in stream:
        ...     print([step.text for step in steps])

    Iterating makes steps until everything has ended. Between two of them questions may `join` and
    may be given up (`cancel`). It is no process of its own: nothing happens between two steps, and
    one that is not iterated any further costs nothing but memory, which `close` frees.
    """

    def __init__(
        self,
        beginner: Beginner,
        outcomes: OutcomeMaker,
        ask_alone: Callable[[Request, Method], Outcome],
        methods: Sequence[Method],
        settings: Settings,
    ) -> None:
        """See `Ensemble.stream`."""
        self._beginner = beginner
        self._outcomes = outcomes
        self._ask_alone = ask_alone
        self._methods = tuple(methods)
        self._settings = settings
        self._groups: list[_Group] = []
        self._kept = KeptLogits()
        self._next = 0

    def join(self, requests: Sequence[Request], methods: Sequence[Method] | None = None) -> range:
        """Take in more questions; they are prefilled now, and answered from the next step on.

        Args:
            requests: The questions. Keys need not be unique in the stream.
            methods: Some of the ensemble's methods; None for those of the stream.

        Returns:
            Their numbers.

        Raises:
            UserError: A question that cannot be asked. None of these has joined then.
            torch.OutOfMemoryError: They do not fit. None of them has joined then.
        """
        asked = self._methods if methods is None else tuple(methods)
        if not asked:
            raise UserError(
                "No method to answer with. Give one, or None for all of them.", "SE-0601"
            )
        groups = []
        for size in sorted({len(request.wordings) for request in requests}):
            places = [n for n, request in enumerate(requests) if len(request.wordings) == size]
            same = [requests[place] for place in places]
            for together in passes(asked, same, self._settings):
                groups.append(self._begun(together, same, [self._next + n for n in places]))
        self._groups += groups
        self._next += len(requests)
        return range(self._next - len(requests), self._next)

    def step(self) -> list[Step]:
        """Go on by one token in every answer; what is new of each, in the order they joined."""
        pending = [group for group in self._groups if group.move is not None]
        if pending:
            found = advance_all([group.move for group in pending if group.move], self._kept)
            for group, (frontier, nodes) in zip(pending, found, strict=True):
                group.decoding.go_on(frontier, nodes)
        steps: list[Step] = []
        for group in self._groups:
            try:
                group.move = group.decoding.choose()
            except RuleError as error:
                group.move = None
                for one in group.open:
                    failed = Unanswered(one.method.name, f"{error}.", code=error.code)
                    steps.append(self._failed(one, failed))
                continue
            steps += [step for one in group.open for step in self._news(one)]
            group.open = [one for one in group.open if not all(_has_ended(one))]
        self._groups = [group for group in self._groups if group.move is not None]
        return steps

    def cancel(self, number: int) -> None:
        """Give a question up: no step tells of it any more, and its work ends within a step."""
        for group in self._groups:
            if number in group.numbers:
                group.decoding.cancel(group.numbers.index(number))
                group.open = [one for one in group.open if one.number != number]

    def close(self) -> None:
        """Give everything up."""
        self._groups.clear()

    @property
    def is_live(self) -> bool:
        """Whether something is being answered."""
        return bool(self._groups)

    def __iter__(self) -> Iterator[list[Step]]:
        """Steps until everything has ended."""
        try:
            while self.is_live:
                yield self.step()
        finally:
            self.close()

    def _begun(
        self, methods: Sequence[Method], requests: Sequence[Request], numbers: Sequence[int]
    ) -> _Group:
        begun = self._beginner.begin(methods, requests)
        decoding = begun.decoding()
        found = by_method(methods, begun.tracks, decoding.answers)
        opened = [
            _Open(number, request, method, answers, [0] * len(answers))
            for method in methods
            for number, request, answers in zip(numbers, requests, found[method.name], strict=True)
        ]
        return _Group(decoding, numbers, opened)

    def _news(self, one: _Open) -> Iterator[Step]:
        is_apart = one.method.kind in ("vote", "alone")
        ended = all(_has_ended(one))
        for wording, decoded in enumerate(one.found):
            length = len(decoded.token_ids)
            if length > one.num_told[wording] and (is_apart or not ended):
                yield self._step(one, decoded, wording if is_apart else None, None)
            one.num_told[wording] = length
        if ended:
            outcome = (
                self._outcomes.of(one.method, one.request, one.found)
                if all(decoded.is_finite for decoded in one.found)
                # Somebody else may be to blame.
                else self._ask_alone(one.request, one.method)
            )
            if isinstance(outcome, Unanswered):
                yield self._failed(one, outcome)
            else:
                shown = Decoded(list(outcome.token_ids), list(outcome.logprobs), [*outcome.tops])
                yield self._step(one, shown, None, outcome)

    def _step(
        self, one: _Open, decoded: Decoded, wording: int | None, outcome: Outcome | None
    ) -> Step:
        return Step(
            one.number,
            one.method.name,
            wording,
            tuple(decoded.token_ids),
            tuple(decoded.logprobs),
            tuple(decoded.tops),
            outcome,
            self._outcomes.stop_of(one.request),
        )

    def _failed(self, one: _Open, outcome: Unanswered) -> Step:
        return self._step(one, Decoded(), None, outcome)


def _has_ended(one: _Open) -> list[bool]:
    return [decoded.stop_reason is not None for decoded in one.found]
