"""What goes into an ensemble and comes out: settings, a request, an answer."""

import math
from dataclasses import dataclass, field
from typing import Literal

from self_ensemble.packing.layout import FusionPoint, Positions
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.walking.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are made.

    Attributes:
        max_new_tokens: Longest answer, in tokens.
        stop: Strings that end an answer.
        positions: `aligned`: every wording stands right behind the prefix, as if asked alone.
            `contiguous`: positions count through the packed sequence (attention level only).
        fusion_point: `cue`: the cue reads every wording and predicts the first answer token.
            `last_segment`: the last wording predicts it, as in earlier published code.
        segment_weights: Weight of each wording inside attention: `uniform` 1/N, so that N copies
            of a wording answer as one; `none` 1; `given` the request's own, scaled to sum 1.
        sampling: Greedy by default.
        num_top: How many of the likeliest tokens of every step an answer keeps beside its own.
    """

    max_new_tokens: int = 20
    stop: tuple[str, ...] = ("\n",)
    positions: Positions = "aligned"
    fusion_point: FusionPoint = "cue"
    segment_weights: Literal["uniform", "none", "given"] = "uniform"
    sampling: Sampling = field(default_factory=Sampling)
    num_top: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One question to answer.

    Attributes:
        key: Its identity; with the seed it fixes what is sampled.
        wordings: The original first.
        weights: Weight of each wording for the weighted methods, `(N,)`.
        segment_weights: Weight of each wording inside attention, `(N,)`, where settings say
            `given`.
        readable: Pairs (i, j): wording i may read wording j < i inside attention.
        frame: The prompt that its wordings are put into, where it is not the ensemble's.
        settings: How its answers are made, where it is not as the ensemble's.
    """

    key: str
    wordings: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    segment_weights: tuple[float, ...] | None = None
    readable: tuple[tuple[int, int], ...] = ()
    frame: PromptFrame | None = None
    settings: Settings | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method answered.

    Attributes:
        method: Name of the method.
        text: First line of the generation.
        generation: All that was generated, cut before the stop string.
        token_ids: Generated tokens, the one that ended the answer included.
        logprobs: Log-probability of each token under the method's distribution, at temperature 1
            and without a nucleus.
        stop_reason: "eos", "stop" (a stop string) or "length".
        members: For `vote` and `per_prompt` the answer of each wording; `per_prompt` itself
            shows the answer of the original wording.
        tops: For `Settings.num_top` the likeliest tokens at the place of each token, with their
            log-probabilities, falling.
    """

    method: str
    text: str
    generation: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: str
    members: tuple["Answer | Unanswered", ...] = ()
    tops: tuple[tuple[tuple[int, float], ...], ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of the generated tokens."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else math.nan


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A method has no answer: a score is nan or infinite, or in a stream a user's rule has failed.

    Attributes:
        method: Name of the method.
        error: At which token of the answer, by which wording or rule, and what to do.
        members: For `vote` and `per_prompt` what became of each wording.
        code: What kind of trouble it is, as `UserError.code`.
    """

    method: str
    error: str
    members: tuple["Answer | Unanswered", ...] = ()
    code: str = "SE-0611"


Outcome = Answer | Unanswered
