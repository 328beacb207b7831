"""Contributions of wordings against the scores that the rules give."""

import numpy as np
import pytest
import torch
from tests.engine.asking import QUESTIONS, TIED, WEIGHTS, ensemble

from self_ensemble.asking.methods import resolve_method, resolve_methods
from self_ensemble.asking.request import Answer, Request
from self_ensemble.attribution.contributions import contributions
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import next_logits_alone
from self_ensemble.walking.fusion import RULES


def _logits(seed, num_wordings=4, vocabulary=50):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(num_wordings + 1, vocabulary, generator=generator)


def _rule_scores(name, rule, logits, weights):
    return rule(logits if name == "contrast" else logits[:-1], weights)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", RULES)
def test_they_sum_to_what_the_rule_gives(name, seed) -> None:
    logits, weights = _logits(seed), torch.tensor([0.1, 0.5, 0.0, 0.4])
    if seed == 2:
        # Three of four wordings have the first one's favourite, as `gated` asks for.
        logits[:3, 7] = 20.0
    if seed == 3:
        # A mask that every wording has on what is no token.
        logits[:, :5] = -torch.inf
    found = contributions(RULES[name], logits, weights)
    score = found.wordings.sum(dim=0)
    if found.prior is not None:
        score = score + found.prior
    expected = _rule_scores(name, RULES[name], logits, weights).exp().double()
    possible = logits.isfinite().all(dim=0)
    score, expected = score[possible].double(), expected[possible]
    # Ranks are the rule's, and so are ratios of what it gives two tokens.
    scale = score if found.unit == "probability" else score.exp()
    torch.testing.assert_close(scale / scale.sum(), expected / expected.sum(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["avg", "weighted_avg", "contrast", "prob_avg"])
def test_a_shift_of_a_wordings_logits_moves_nothing(name) -> None:
    logits, weights = _logits(0), torch.tensor([0.1, 0.5, 0.0, 0.4])
    shifted = logits + torch.tensor([5.0, -3.0, 0.0, 100.0, 7.0])[:, None]
    found, expected = (contributions(RULES[name], one, weights) for one in (shifted, logits))
    torch.testing.assert_close(found.wordings, expected.wordings, rtol=1e-4, atol=1e-4)


def test_contrast_has_the_strength_that_it_was_given() -> None:
    (strong,) = resolve_methods(["contrast"], has_weights=False, contrast_strength=2.0)
    logits, weights = _logits(1), torch.ones(4)
    strong_ones, plain = (
        contributions(rule, logits, weights).wordings for rule in (strong.rule, RULES["contrast"])
    )
    torch.testing.assert_close(strong_ones, plain * 3 / 1.25)


@pytest.mark.parametrize("method", TIED)
def test_shares_sum_to_one_and_margins_to_the_margin(loaded, method) -> None:
    asked = ensemble(loaded(), method)
    request = Request("q", QUESTIONS[0], weights=WEIGHTS[0])
    share = asked.attribute(request, ["share"])["share"]
    np.testing.assert_allclose(np.sum(share.values, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.mean(share.values, axis=0), share.total)
    margins = np.sum(share.margin_values, axis=1) + share.prior
    np.testing.assert_allclose(margins, share.margin, atol=1e-9)
    # Greedy: the chosen token is the best.
    assert min(share.margin) > 0
    assert len(share.runner_up) == len(share.tokens) == len(share.token_ids)
    assert set(share.prior) != {0.0} if method == "contrast" else set(share.prior) == {0.0}
    assert share.unit == ("logit" if resolve_method(method).name in _IN_LOGITS else "probability")


@pytest.mark.parametrize("method", ["avg", "contrast"])
def test_a_token_that_no_wording_likes_has_no_shares(loaded, method) -> None:
    asked = ensemble(loaded(), method)
    request = Request("q", QUESTIONS[0])
    parts = asked.frame.parts(QUESTIONS[0])
    each = [next_logits_alone(loaded(), parts.alone(n)) for n in range(3)]
    worst = int(torch.stack(each).mean(dim=0).argmin())
    given = Answer(method, "", "", (worst,), (0.0,), "length")
    with pytest.raises(UserError, match="token 1 of the answer is below the mean"):
        asked.attribute(request, ["share"], answer=given)
    assert asked.attribute(request, ["shapley"], answer=given)["shapley"].full[0] < -5


_IN_LOGITS = ("avg", "weighted_avg", "logprob_avg", "contrast")
