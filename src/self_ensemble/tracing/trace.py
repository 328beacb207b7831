"""What a look into one question found: plain values, from which every view is drawn.

    steps      0 ---- 1 ---- 2        a step is a beginning of an answer: () , (Par) , (Par, is)
                \
                 3 ---- 4             where two methods part, each goes on with steps of its own

Wordings are numbered from 0 here and from 1 in what people read.
"""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # it imports torch
    from self_ensemble.attribution.kinds import Attribution


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    Attributes:
        id: Its number.
        text: What it stands for by itself; part of a character is U+FFFD.
        is_special: Whether it is one of the tokenizer's special tokens.
    """

    id: int
    text: str
    is_special: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that may come next.

    Attributes:
        token: The token.
        logprob: Its log-probability, natural logarithm, at temperature 1 and without a nucleus.
    """

    token: Token
    logprob: float

    @property
    def prob(self) -> float:
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of the next token.

    Attributes:
        top: The most probable tokens, falling; of equals the lower id first. None of them where
            the distribution is not finite.
        entropy: In nats; nan where it is not finite.
        margin: Probability of the best token minus that of the second; nan where not finite.
    """

    top: tuple[Candidate, ...]
    entropy: float
    margin: float

    @property
    def is_finite(self) -> bool:
        return bool(self.top)


@dataclass(frozen=True, slots=True)
class WordingStep:
    """What one wording alone says at a step.

    Attributes:
        distribution: Of the next token.
        ahead: Its greedy continuation from here, up to the end of its answer or as many tokens
            as the trace looks ahead.
    """

    distribution: Distribution
    ahead: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class MethodStep:
    """What a method that fuses distributions says at a step.

    Attributes:
        method: Its name.
        distribution: Of the next token.
        why: How its best token came about, a phrase.
        wording: The wording whose distribution, or whose probability of that token, was taken
            over; None where no single one was.
    """

    method: str
    distribution: Distribution
    why: str
    wording: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A token that an answer took at a step: the run's own.

    Attributes:
        method: The method whose answer it is.
        token: The token and its log-probability in the run.
        why: How it came about, a phrase.
    """

    method: str
    token: Candidate
    why: str


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that is said behind one beginning of an answer.

    Attributes:
        answer: The answer's tokens so far.
        text: Their text.
        wordings: What each wording says, `(N,)`.
        methods: What each method that fuses distributions says, whether its own answer comes by
            here or not.
        prior: What the prompt without the question says, where a method reads it.
        taken: What the answers took that come by here.
    """

    answer: tuple[Token, ...]
    text: str
    wordings: tuple[WordingStep, ...]
    methods: tuple[MethodStep, ...]
    prior: Distribution | None
    taken: tuple[Taken, ...]

    @property
    def parties(self) -> tuple[tuple[Token, tuple[int, ...]], ...]:
        """The tokens that wordings like best, each with those wordings; most wordings first."""
        found: dict[Token, list[int]] = {}
        for n, wording in enumerate(self.wordings):
            if wording.distribution.is_finite:
                found.setdefault(wording.distribution.top[0].token, []).append(n)
        ordered = sorted(found.items(), key=lambda party: -len(party[1]))
        return tuple((token, tuple(wordings)) for token, wordings in ordered)

    @property
    def agree(self) -> bool:
        """Whether all wordings like the same token best."""
        return len(self.parties) == 1


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the prompts, as tokens.

    Attributes:
        kind: "prefix", "wording", "cue", or "prior": what follows the prefix in the prompt
            without the question.
        wording: Which wording it is; None for the other kinds.
        tokens: Its tokens.
    """

    kind: Literal["prefix", "wording", "cue", "prior"]
    wording: int | None
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Tokens of the packed sequence that may be read by the same ones.

    Attributes:
        number: Its row and column in the visibility table.
        kind: "prefix"; "segment": a wording, or what some wordings begin with alike; "fused": the
            tail that reads all wordings; "alone": the tail of one; "prior": of none.
        wordings: The wordings that it is of.
        num_tokens: Tokens of the prompt in it.
        first_position: Position id of the first of them.
        weight: What the fused tail's attention on it is multiplied by; None where there is no
            fused tail, or it does not read the group.
    """

    number: int
    kind: Literal["prefix", "segment", "fused", "alone", "prior"]
    wordings: tuple[int, ...]
    num_tokens: int
    first_position: int
    weight: float | None


@dataclass(frozen=True, slots=True)
class TracedAnswer:
    """An answer of a method, or of a wording alone: the run's own.

    Attributes:
        method: The method; "per_prompt" for wordings alone.
        wording: The wording that it is the answer of; None where all are read.
        text: The answer; empty where there is none.
        tokens: Its tokens with their log-probabilities, the one that ended it included.
        stop_reason: "eos", "stop" or "length"; "error" where there is no answer.
        error: Why there is none.
        is_right: Whether the library's scorer takes it; None without accepted answers or without
            an answer.
        steps: Of each token the step at which it was taken; empty for a wording's own answer.
    """

    method: str
    wording: int | None
    text: str
    tokens: tuple[Candidate, ...]
    stop_reason: str
    error: str | None
    is_right: bool | None
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """One question looked into.

    Attributes:
        key: The question's identity.
        model: The model's name.
        backend: The attention backend.
        wordings: The wordings that were asked, `(N,)`.
        accepted: Accepted answers; empty if unknown.
        positions: "aligned" or "contiguous".
        fusion_point: "cue" or "last_segment".
        temperature: 0 is greedy.
        num_ahead: Most tokens that a wording's continuation from a step has.
        parts: The prompts as tokens: prefix, wordings, cue, and the prompt without the question
            where a method reads it.
        groups: The packed sequence.
        steps: What was said, in the order of the methods' answers: all steps of the first
            method's answer, then those of the second where it goes another way, and so on.
        methods: The answer of each method.
        alone: The answer of each wording alone, `(N,)`.
        attributions: Which wording decided which token of a method's answer, where asked for.
        note: What could not be had, and why.
    """

    key: str
    model: str
    backend: str
    wordings: tuple[str, ...]
    accepted: tuple[str, ...]
    positions: str
    fusion_point: str
    temperature: float
    num_ahead: int
    parts: tuple[Part, ...]
    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    methods: tuple[TracedAnswer, ...]
    alone: tuple[TracedAnswer, ...]
    attributions: "tuple[Attribution, ...]" = ()
    note: str | None = None

    def prompt(self, wording: int) -> tuple[Token, ...]:
        """The whole prompt of one wording asked alone: prefix, wording, cue."""
        return tuple(
            token
            for part in self.parts
            if part.kind in ("prefix", "cue") or part.wording == wording
            for token in part.tokens
        )

    def _repr_html_(self) -> str:
        # The one thing of an object that a notebook asks for is drawn by a later stage.
        from self_ensemble.report.trace_page import notebook_frame

        return notebook_frame(self)

    def as_dict(self) -> dict[str, object]:
        """The same as plain JSON values; nan is None."""
        found = _plain(self)
        assert isinstance(found, dict)
        return found


def _plain(value: Any) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        found = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        # Of an attribution its class has the kind.
        return {"kind": value.kind} | found if hasattr(value, "kind") else found
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
