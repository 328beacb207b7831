"""The kinds of attribution, what each says, and of which methods.

T tokens of an answer, the one that ended it included, N wordings, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from self_ensemble.asking.methods import Method
from self_ensemble.errors import UserError, unknown_name
from self_ensemble.walking.user_rule import built_in

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """What each wording has done for each token of an answer.

    Attributes:
        method: The method that gave the answer.
        token_ids: The answer's tokens, `(T,)`.
        tokens: Their texts, `(T,)`; joined, the whole answer.
        values: What is attributed to each wording at each token, `(T, N)`; see the kinds.
        total: The same for the whole answer, `(N,)`.
    """

    kind: ClassVar[str]
    method: str
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    values: Table
    total: tuple[float, ...]

    @property
    def wordings(self) -> int:
        """N."""
        return len(self.total)


@dataclass(frozen=True, slots=True)
class MassShares:
    """Where attention goes that predicts each token.

    All shares of a token sum to 1, less what a model's attention sinks take.

    Attributes:
        prefix: Share of instruction and examples, `(T,)`.
        wordings: Share of each wording, `(T, N)`.
        cue: Share of the answer cue, `(T,)`; 0 where it is part of the wordings.
        earlier: Share of the answer's earlier tokens, `(T,)`.
    """

    prefix: tuple[float, ...]
    wordings: Table
    cue: tuple[float, ...]
    earlier: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Mass(Attribution):
    """Attention mass: `values` are shares of the attention that predicts a token.

    They are means over heads and layers; `total` is the mean over the tokens.

    Attributes:
        prefix: Share of instruction and examples, `(T,)`.
        cue: Share of the answer cue, `(T,)`.
        earlier: Share of the answer's earlier tokens, `(T,)`.
        per_layer: The same of each layer, mean over its heads, `(L,)`.
    """

    kind: ClassVar[str] = "mass"
    prefix: tuple[float, ...]
    cue: tuple[float, ...]
    earlier: tuple[float, ...]
    per_layer: tuple[MassShares, ...]


@dataclass(frozen=True, slots=True)
class LeaveOneOut(Attribution):
    """`values` are log-probabilities of the tokens, less what they are without the wording.

    In nats; `total` is their sum. Above 0: the wording makes the answer more probable.

    Attributes:
        full: Log-probability of each token with all wordings, `(T,)`.
    """

    kind: ClassVar[str] = "leave_one_out"
    full: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shapley(Attribution):
    """`values` are Shapley values of the tokens' log-probabilities (Shapley 1953).

    In nats; over the wordings they sum to `full` less `empty`, and `total` is the sum over tokens.

    Attributes:
        full: Log-probability of each token with all wordings, `(T,)`.
        empty: Without any: by the prompt without the question, `(T,)`.
        standard_error: Of each entry of `total`, `(N,)`, where orders of the wordings were
            sampled; None: exact.
        num_orders: How many orders were sampled; None: exact.
    """

    kind: ClassVar[str] = "shapley"
    full: tuple[float, ...]
    empty: tuple[float, ...]
    standard_error: tuple[float, ...] | None = None
    num_orders: int | None = None


@dataclass(frozen=True, slots=True)
class Share(Attribution):
    """`values` are shares of the score that a logit-level rule gives a token; they sum to 1.

    `total` is the mean over the tokens.

    Attributes:
        unit: What is shared: "probability", or "logit", above the mean of the vocabulary.
        runner_up: Text of the best other token, `(T,)`.
        margin: The token's score less the runner-up's, `(T,)`, in that unit.
        margin_values: What each wording adds to the margin, `(T, N)`.
        prior: What the prompt without the question adds to the margin, `(T,)`; 0 but for
            `contrast`. With the wordings' it sums to the margin.
    """

    kind: ClassVar[str] = "share"
    unit: str
    runner_up: tuple[str, ...]
    margin: tuple[float, ...]
    margin_values: Table
    prior: tuple[float, ...]


KINDS = (Mass.kind, LeaveOneOut.kind, Shapley.kind, Share.kind)


def kinds_of(method: Method) -> tuple[str, ...]:
    """The kinds of attribution that make sense for a method's answers."""
    return tuple(kind for kind in KINDS if why_not(kind, method) is None)


def kinds_among(asked: Sequence[str], method: Method) -> tuple[str, ...]:
    """Those of some kinds that make sense for a method's answers, in the order of `KINDS`."""
    return tuple(kind for kind in kinds_of(method) if kind in asked)


def check_kinds(kinds: Sequence[str], method: Method) -> None:
    """Refuse kinds of attribution that there are not, or not for this method.

    Raises:
        UserError: The first of them, why, and what there is instead.
    """
    if not kinds:
        raise UserError(
            f"No kind of attribution given. Choose from: {', '.join(KINDS)}.", "SE-0013"
        )
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name("kind of attribution", kind, KINDS)
        reason = why_not(kind, method)
        if reason is not None:
            others = kinds_of(method)
            remedy = f"Choose from: {', '.join(others)}." if others else "Leave it out."
            raise UserError(
                f"Attribution {kind!r} is not for {method.name!r}: {reason}. {remedy}", "SE-0606"
            )


def check_engine_of(kinds: Sequence[str], engine: str) -> None:
    """Refuse kinds of attribution that an engine cannot tell.

    Raises:
        UserError: Attention mass of a graph, which does not show its queries and keys.
    """
    if engine != "torch" and Mass.kind in kinds:
        raise UserError(
            f"Attribution {Mass.kind!r} needs queries and keys, which --engine {engine} keeps to "
            f"itself. Ask for {LeaveOneOut.kind} or {Shapley.kind}, or use --engine torch.",
            "SE-0407",
        )


def why_not(kind: str, method: Method) -> str | None:
    """Why a kind of attribution makes no sense for a method, or None."""
    if method.goes_alone:
        return "each wording writes its own answer, so no token is decided by several"
    if kind == Mass.kind and method.kind != "fused":
        return "each wording is read by its own stream, and no attention goes to several"
    if kind == Share.kind and method.kind != "tied":
        return "it has one distribution and no score of each wording"
    if kind == Share.kind and built_in(method.rule) is None:
        return "how a rule of your own puts scores together is not known"
    return None
