"""What is kept of the wordings' predictions, against all of them."""

import numpy as np
import pytest
import torch

from self_ensemble.asking.request import Request
from self_ensemble.oracle.reference import next_logits_alone
from self_ensemble.weighting.candidates import answer_candidates
from self_ensemble.weighting.pooling import Likelihood

WORDINGS = ("Who wrote the play?", "Writer of the play?", "The play is by whom?")
ANSWERS = ((60, 61, 62), (70, 71))
REQUESTS = [Request("one", WORDINGS), Request("two", WORDINGS[::-1])]
WEIGHTS = np.array([0.5, 0.3, 0.2])


@pytest.fixture
def slow_nll(loaded, ensemble) -> list[float]:
    """Each question's pooled negative log-likelihood over the whole vocabulary, by loops."""
    untouched = loaded()
    found = []
    for request, answer in zip(REQUESTS, ANSWERS, strict=True):
        parts, total = ensemble.frame.parts(request.wordings), 0.0
        for position, token in enumerate(answer):
            each = [
                next_logits_alone(untouched, [*parts.alone(n), *answer[:position]])
                for n in range(3)
            ]
            pooled = sum(w * logits.double() for w, logits in zip(WEIGHTS, each, strict=True))
            total -= torch.log_softmax(pooled, dim=-1)[token].item()
        found.append(total)
    return found


def test_with_the_whole_vocabulary_the_likelihood_is_exact(ensemble, slow_nll) -> None:
    candidates = answer_candidates(ensemble, REQUESTS, ANSWERS, top_k=10**6)
    assert candidates[0].logprobs.shape == (3, 3 * ensemble.model.model.config.vocab_size)
    assert Likelihood(candidates).each(WEIGHTS) == pytest.approx(slow_nll, abs=1e-3)


def test_fewer_candidates_make_the_likelihood_a_little_too_large(ensemble, slow_nll) -> None:
    each = {
        top_k: Likelihood(answer_candidates(ensemble, REQUESTS, ANSWERS, top_k)).each(WEIGHTS)
        for top_k in (5, 50, 200)
    }
    assert (each[5] > each[50]).all()
    assert (each[50] > each[200]).all()
    assert (each[200] >= np.array(slow_nll) - 1e-3).all()
    assert each[200] == pytest.approx(slow_nll, abs=0.01)


def test_each_wordings_candidates_have_probability_one(ensemble) -> None:
    for candidates in answer_candidates(ensemble, REQUESTS, ANSWERS, top_k=20):
        sums = np.add.reduceat(np.exp(candidates.logprobs), candidates.starts, axis=1)
        assert sums == pytest.approx(np.ones_like(sums), abs=1e-5)


def test_the_right_token_is_kept_where_no_wording_finds_it_probable(ensemble, loaded) -> None:
    (candidates,) = answer_candidates(ensemble, REQUESTS[:1], ANSWERS[:1], top_k=1)
    untouched, parts = loaded(), ensemble.frame.parts(WORDINGS)
    for position, token in enumerate(ANSWERS[0]):
        for n in range(3):
            logits = next_logits_alone(untouched, [*parts.alone(n), *ANSWERS[0][:position]])
            expected = logits.log_softmax(dim=-1)[token].item()
            kept = candidates.logprobs[n, candidates.right[position]]
            assert kept == pytest.approx(expected, abs=1e-3)


def test_a_batch_gives_what_each_question_gives_alone(ensemble) -> None:
    together = answer_candidates(ensemble, REQUESTS, ANSWERS, top_k=10**6)
    for n, ours in enumerate(together):
        (alone,) = answer_candidates(ensemble, REQUESTS[n : n + 1], ANSWERS[n : n + 1], 10**6)
        assert ours.logprobs == pytest.approx(alone.logprobs, abs=1e-3)
        assert list(ours.right) == list(alone.right)
        assert list(ours.starts) == list(alone.starts)
