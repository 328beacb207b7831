"""What a method thinks of a given continuation: its log-probability, token by token.

The streams of a question are fed the continuation's tokens (teacher forcing), all of them in one
pass where their logits fit. At each place a method's own distribution tells the probability of the
next one: of the fused stream, of a rule's normalised scores, or of a wording alone. Continuations
of one question are walked on one tree, so what they begin with alike is computed once.

Q questions, A continuations, R of them with a token left, N streams of each, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from self_ensemble.asking.isolation import REMEDY
from self_ensemble.asking.layout import Streams, original_only, relative_weights
from self_ensemble.asking.methods import Method
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Request
from self_ensemble.errors import UserError
from self_ensemble.passes import tails
from self_ensemble.walking.choose import largest
from self_ensemble.walking.forced import forced_steps
from self_ensemble.walking.loop import LOGITS_AT_ONCE
from self_ensemble.walking.user_rule import RuleError


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """How likely a continuation is.

    Attributes:
        method: Name of the method.
        token_ids: The continuation's tokens, `(T,)`.
        logprobs: Log-probability of each under the method's distribution behind those before it,
            at temperature 1 and without a nucleus, `(T,)`. -inf where the method rules it out.
        best: The token that the method itself would take at each place, `(T,)`.
        members: For `per_prompt` that of each wording; it shows the original's itself.
    """

    method: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    best: tuple[int, ...]
    members: tuple["LogLikelihood", ...] = ()

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation."""
        return math.fsum(self.logprobs)

    @property
    def is_greedy(self) -> bool:
        """Whether it is what the method would say by itself."""
        return self.token_ids == self.best


class _NotFiniteError(UserError):
    """A distribution has nan or infinity in it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "SE-0611")


@torch.inference_mode()
def log_likelihoods(
    prefiller: Prefiller, method: Method, asked: Sequence[tuple[Request, Sequence[int]]]
) -> list[LogLikelihood]:
    """See `Ensemble.log_likelihoods`; continuations as token ids."""
    if method.kind == "vote":
        raise UserError(
            "'vote' decides between texts that wordings have answered, so a given text has no "
            "probability. Choose a method with a distribution, or per_prompt for each wording's.",
            "SE-0013",
        )
    vocabulary = int(prefiller.engine.model.model.config.get_text_config().vocab_size)
    for request, token_ids in asked:
        _check_tokens(request, token_ids, vocabulary)
    found: list[LogLikelihood | None] = [None] * len(asked)
    for size in sorted({len(request.wordings) for request, _ in asked}):
        places = [n for n, (request, _) in enumerate(asked) if len(request.wordings) == size]
        same = [asked[place] for place in places]
        try:
            at_once = min(tails.TOKENS_AT_ONCE, tails.LOGITS_AT_ONCE // vocabulary)
            each = _walked(prefiller, method, same, at_once)
        except _NotFiniteError:
            # Whose it is, and where: nan reaches what shares a batch, or a pass, with it.
            each = [_walked(prefiller, method, [one], 1)[0] for one in same]
        for place, one in zip(places, each, strict=True):
            found[place] = one
    return [one for one in found if one is not None]


def _walked(
    prefiller: Prefiller,
    method: Method,
    asked: Sequence[tuple[Request, Sequence[int]]],
    at_once: int,
) -> list[LogLikelihood]:
    """Those of questions with as many wordings each; `at_once` as in `forced_steps`."""
    longest: dict[Request, int] = {}
    for request, token_ids in asked:
        longest[request] = max(longest.get(request, 1), len(token_ids))
    # The last token is predicted and not fed; with it there is room as for an answer of as many.
    requests = [
        replace(
            original_only(request) if method.kind == "original" else request,
            settings=replace(request.settings or prefiller.settings, max_new_tokens=length),
        )
        for request, length in longest.items()
    ]
    questions = {request: row for row, request in enumerate(longest)}
    of_A = [questions[request] for request, _ in asked]
    num_wordings = len(requests[0].wordings)
    streams = Streams.of([method], num_wordings)
    batch, frontier = prefiller.prefill(requests, [method], streams)
    weights_QN = torch.tensor(
        [relative_weights(one.weights or (1.0,) * num_wordings) for one in requests]
    )
    chosen: list[list[list[float]]] = [[] for _ in asked]
    best: list[list[list[int]]] = [[] for _ in asked]
    for place, step in enumerate(
        forced_steps(batch, frontier, [ids for _, ids in asked], of_A, at_once=at_once), start=1
    ):
        rows = step.rows_R.tolist()
        weights_RN = weights_QN[[of_A[row] for row in rows]]
        logprobs_RM, best_RM = _of_step(method, step.logits_RNV, step.tokens_R, weights_RN)
        for row, logprobs, tokens in zip(
            rows, logprobs_RM.tolist(), best_RM.tolist(), strict=True
        ):
            if any(math.isnan(logprob) for logprob in logprobs):
                key = asked[row][0].key
                raise _NotFiniteError(
                    f"Token {place} of the continuation has no finite score ({method.name}, "
                    f"question {key}): the model or the rule gives nan or infinity. {REMEDY}"
                )
            chosen[row].append(logprobs)
            best[row].append(tokens)
    return [
        _made(method, token_ids, chosen[row], best[row])
        for row, (_, token_ids) in enumerate(asked)
    ]


def _of_step(
    method: Method, logits_RNV: Tensor, tokens_R: Tensor, weights_RN: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the tokens, and the best ones, `(R, M)` each on the CPU.

    M is 1, or the number of wordings where each has a distribution of its own. Log-probabilities
    are nan where a distribution is not finite.
    """
    num_at_once = max(1, LOGITS_AT_ONCE // logits_RNV[0].numel())
    logprobs, best = [], []
    for logits, tokens, weights in zip(
        *(torch.split(one, num_at_once) for one in (logits_RNV, tokens_R, weights_RN)), strict=True
    ):
        scores = logits
        if method.rule is not None:
            try:
                scores = method.rule(logits, weights.to(logits.device))[:, None]
            except RuleError as error:
                raise UserError(f"{error} (log-likelihood).", "SE-0013") from error
        totals = scores.logsumexp(dim=-1)
        places = tokens.to(scores.device)[:, None, None].expand(-1, scores.shape[1], 1)
        found = scores.gather(-1, places)[..., 0] - totals
        # A token may be ruled out. A normaliser that is not finite says nothing of any.
        logprobs.append(found.where(totals.isfinite(), math.nan).cpu())
        best.append(largest(scores)[1].cpu())
    return torch.cat(logprobs), torch.cat(best)


def _made(
    method: Method,
    token_ids: Sequence[int],
    logprobs: Sequence[Sequence[float]],
    best: Sequence[Sequence[int]],
) -> LogLikelihood:
    each = [
        LogLikelihood(method.name, tuple(token_ids), of_wording, tokens)
        for of_wording, tokens in zip(
            zip(*logprobs, strict=True), zip(*best, strict=True), strict=True
        )
    ]
    return replace(each[0], members=tuple(each) if method.kind == "alone" else ())


def _check_tokens(request: Request, token_ids: Sequence[int], vocabulary: int) -> None:
    if not token_ids:
        raise UserError(
            f"The continuation of question {request.key!r} has no token. Give text or token ids.",
            "SE-0013",
        )
    unknown = [token for token in token_ids if not 0 <= token < vocabulary]
    if unknown:
        raise UserError(
            f"The continuation of question {request.key!r} has token {unknown[0]}, and the model "
            f"has tokens 0 to {vocabulary - 1}. Give tokens of this model.",
            "SE-0013",
        )
