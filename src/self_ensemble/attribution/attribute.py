"""From an answer to what each wording has done for it, by the kinds that are asked for.

N wordings, T tokens of the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from self_ensemble.asking.methods import Method
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Answer, Request
from self_ensemble.attribution.asked import Asked, NoAttributionError
from self_ensemble.attribution.contributions import contributions
from self_ensemble.attribution.fused import fused_worth, mass_shares, mean_shares
from self_ensemble.attribution.games import (
    NUM_ORDERS,
    Subset,
    Worth,
    all_but_one,
    leave_one_out,
    sampled_orders,
    shapley,
    shapley_subsets,
)
from self_ensemble.attribution.kinds import (
    Attribution,
    LeaveOneOut,
    Mass,
    Shapley,
    Share,
    Table,
    check_kinds,
)
from self_ensemble.attribution.tied import forced_logits, fused_scores, token_logprobs
from self_ensemble.errors import UserError
from self_ensemble.prompts.token_texts import token_text, token_texts


@dataclass(frozen=True, slots=True)
class OrderSampling:
    """How Shapley values are estimated where there are too many wordings for all orders.

    Attributes:
        num_orders: Orders of the wordings that are sampled, from 2.
        seed: Of the orders; with it they are always the same.
    """

    num_orders: int = NUM_ORDERS
    seed: int = 0


class Found(NamedTuple):
    """Those kinds of attribution that could be had.

    Attributes:
        kinds: What was found, by kind.
        missing: Why others could not be had; None where all could.
    """

    kinds: dict[str, Attribution]
    missing: str | None


class _Shared(NamedTuple):
    """What the rule's score of one token is made of."""

    shares_N: Tensor
    margin_N: Tensor
    prior: float
    runner_up: int
    unit: str


def attribute(
    prefiller: Prefiller,
    request: Request,
    method: Method,
    answer: Answer,
    kinds: Sequence[str],
    sampling: OrderSampling,
) -> dict[str, Attribution]:
    """See `Ensemble.attribute`."""
    check_asked(prefiller, request, method, kinds)
    _check_answer(answer, prefiller)
    asked = Asked(prefiller, request, method, answer.token_ids)
    orders = sampled_orders(asked.num_wordings, sampling.num_orders, sampling.seed)
    subsets = dict.fromkeys(_subsets(kinds, asked.num_wordings, orders))
    shared: list[_Shared] = []
    worth: Worth = {}
    if method.kind == "tied":
        worth, shared = _walked(asked, list(subsets), Share.kind in kinds)
    elif subsets:
        worth = fused_worth(asked, list(subsets))
    asked.check_worth(worth)
    tokenizer = prefiller.engine.model.tokenizer
    common = (method.name, answer.token_ids, tuple(token_texts(tokenizer, answer.token_ids)))
    found: dict[str, Attribution] = {}
    for kind in dict.fromkeys(kinds):
        if kind == Mass.kind:
            layers = mass_shares(asked)
            mean = mean_shares(layers)
            shares = np.array(mean.wordings)
            found[kind] = Mass(
                *common, mean.wordings, _row(shares.mean(axis=0)),
                mean.prefix, mean.cue, mean.earlier, layers,
            )  # fmt: skip
        elif kind == LeaveOneOut.kind:
            values = leave_one_out(worth, asked.num_wordings)
            full = _row(worth[tuple(range(asked.num_wordings))])
            found[kind] = LeaveOneOut(*common, _table(values), _row(values.sum(axis=0)), full)
        elif kind == Shapley.kind:
            found[kind] = _shapley(common, worth, asked.num_wordings, orders)
        else:
            found[kind] = _share(common, shared, tokenizer)
    return found


def attribute_possible(
    prefiller: Prefiller,
    request: Request,
    method: Method,
    answer: Answer,
    kinds: Sequence[str],
    sampling: OrderSampling,
) -> Found:
    """The same, where a kind that cannot be had does not take the others with it."""
    ask = partial(attribute, prefiller, request, method, answer)
    try:
        return Found(ask(kinds, sampling), None)
    except NoAttributionError as error:
        reasons = [str(error)]
    found: dict[str, Attribution] = {}
    # One by one, which is seldom needed; together they share what is computed.
    for kind in kinds if len(kinds) > 1 else ():
        try:
            found |= ask([kind], sampling)
        except NoAttributionError as error:
            reasons.append(str(error))
    return Found(found, " ".join(dict.fromkeys(reasons)))


def check_asked(
    prefiller: Prefiller, request: Request, method: Method, kinds: Sequence[str]
) -> None:
    """Refuse kinds of attribution that cannot be had, whatever the answer is.

    Raises:
        UserError: The first of them, why, and what there is instead.
    """
    check_kinds(kinds, method)
    if (request.frame or prefiller.frame).parts(request.wordings).without_question:
        return
    asked = Asked(prefiller, request, method, ())
    for kind in kinds:
        # Shapley values begin with no wording, in whatever order.
        subsets = [()] if kind == Shapley.kind else _subsets([kind], asked.num_wordings, None)
        if not all(map(asked.effective, subsets)):
            raise UserError(
                f"Attribution {kind!r} compares with the prompt without the question, and these "
                "wordings are whole prompts. Ask for 'leave_one_out' of two wordings or more.",
                "SE-0503",
            )


def _check_answer(answer: Answer, prefiller: Prefiller) -> None:
    """Refuse an answer that this model could not have given, for one may be made up."""
    longest, model = prefiller.settings.max_new_tokens, prefiller.engine.model.model
    vocabulary = int(model.config.get_text_config().vocab_size)
    if not answer.token_ids:
        raise UserError("The answer has no token, so nothing can be attributed.", "SE-0606")
    if len(answer.token_ids) > longest:
        raise UserError(
            f"The answer has {len(answer.token_ids)} tokens, and answers have at most {longest}. "
            "Give Settings(max_new_tokens=...) that holds it.",
            "SE-0606",
        )
    unknown = [token for token in answer.token_ids if not 0 <= token < vocabulary]
    if unknown:
        raise UserError(
            f"The answer has token {unknown[0]}, and the model has tokens 0 to {vocabulary - 1}. "
            "Give an answer of this model.",
            "SE-0606",
        )


def _subsets(
    kinds: Sequence[str], num_wordings: int, orders: Sequence[Subset] | None
) -> list[Subset]:
    found: list[Subset] = []
    if LeaveOneOut.kind in kinds:
        found += all_but_one(num_wordings)
    if Shapley.kind in kinds:
        found += shapley_subsets(num_wordings, orders)
    return found


def _walked(
    asked: Asked, subsets: Sequence[Subset], with_shares: bool
) -> tuple[Worth, list[_Shared]]:
    """Along the answer once: log-probabilities under subsets, and what scores are made of."""
    columns: dict[Subset, list[float]] = {subset: [] for subset in subsets}
    shared = []
    each = zip(asked.token_ids, forced_logits(asked), strict=True)
    for place, (token_id, logits) in enumerate(each, start=1):
        for subset, logprob in token_logprobs(asked, logits, token_id, subsets).items():
            columns[subset].append(logprob)
        if with_shares:
            shared.append(_shared(asked, logits, token_id, place))
    return {subset: np.array(column) for subset, column in columns.items()}, shared


@torch.inference_mode()
def _shared(asked: Asked, logits: Tensor, token_id: int, place: int) -> _Shared:
    every = tuple(range(asked.num_wordings))
    scores = fused_scores(asked, logits, [every])[0].clone()
    scores[token_id] = -torch.inf
    runner_up = int(scores.argmax())
    assert asked.method.rule is not None
    weights = torch.tensor(asked.rule_weights(every), device=logits.device)
    wordings, prior, unit = contributions(asked.method.rule, logits, weights)
    own = wordings[:, token_id].double().cpu()
    if not float(own.sum()) > 0:
        what = "is below the mean of the vocabulary" if unit == "logit" else "is 0"
        raise NoAttributionError(
            f"The score of token {place} of the answer {what} ({asked.method.name}), so nobody "
            "has a share of it. Ask for leave_one_out or shapley."
        )
    margin = own - wordings[:, runner_up].double().cpu()
    of_prior = 0.0 if prior is None else float(prior[token_id] - prior[runner_up])
    return _Shared(own / own.sum(), margin, of_prior, runner_up, unit)


def _shapley(
    common: tuple[str, tuple[int, ...], tuple[str, ...]],
    worth: Worth,
    num_wordings: int,
    orders: Sequence[Subset] | None,
) -> Shapley:
    values, error = shapley(worth, num_wordings, orders)
    return Shapley(
        *common, _table(values), _row(values.sum(axis=0)),
        full=_row(worth[tuple(range(num_wordings))]), empty=_row(worth[()]),
        standard_error=None if error is None else _row(error),
        num_orders=None if orders is None else len(orders),
    )  # fmt: skip


def _share(
    common: tuple[str, tuple[int, ...], tuple[str, ...]],
    shared: Sequence[_Shared],
    tokenizer: object,
) -> Share:
    shares = torch.stack([one.shares_N for one in shared]).numpy()
    margins = torch.stack([one.margin_N for one in shared]).numpy()
    prior = np.array([one.prior for one in shared])
    return Share(
        *common, _table(shares), _row(shares.mean(axis=0)), shared[0].unit,
        tuple(token_text(tokenizer, one.runner_up) for one in shared),
        _row(margins.sum(axis=1) + prior), _table(margins), _row(prior),
    )  # fmt: skip


def _row(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.tolist())


def _table(values: NDArray[np.float64]) -> Table:
    return tuple(_row(row) for row in values)
