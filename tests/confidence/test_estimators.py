"""Each estimator against a slow formula of its own, and what must hold of all of them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.asking.request import Answer
from self_ensemble.confidence.estimators import ESTIMATORS, Evidence
from self_ensemble.results.paths import ESTIMATORS as NAMES

LEMMAS = st.lists(st.sampled_from(["rome", "the", "city", "of"]), max_size=3)


def _evidence(
    lemma=("rome",), samples=(("rome",),), logits=(1.0, 0.0), logprobs=(-0.1,), true=0.5
):
    answer = Answer("greedy", " ".join(lemma), " ".join(lemma), (5,) * len(logprobs),
                    tuple(logprobs), "eos")  # fmt: skip
    return Evidence(
        answer, list(lemma), [list(one) for one in samples], torch.tensor(logits), true
    )


@st.composite
def questions(draw: st.DrawFn) -> list[Evidence]:
    """What was seen of two to five wordings."""
    vocabulary, num_samples = draw(st.integers(2, 8)), draw(st.integers(1, 5))
    scale = draw(st.sampled_from([0.0, 1.0, 60.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    return [
        _evidence(
            draw(LEMMAS),
            draw(st.lists(LEMMAS, min_size=num_samples, max_size=num_samples)),
            (scale * torch.randn(vocabulary, generator=generator)).tolist(),
            draw(st.lists(st.floats(-80, 0), min_size=1, max_size=6)),
            draw(st.floats(0, 1)),
        )
        for _ in range(draw(st.integers(2, 5)))
    ]


def _agree(ours, theirs):
    """Whether one list stands in the other without a gap, by joining and searching."""
    one, other = "|" + "|".join(ours) + "|", "|" + "|".join(theirs) + "|"
    return bool(ours) and bool(theirs) and (one in other or other in one)


def _probs(logits):
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def _slowly(name, wordings):
    """Confidences from the definitions, in floats of Python."""
    found = []
    for place, one in enumerate(wordings):
        probs = sorted(_probs(one.first_logits.tolist()), reverse=True)
        if name == "sampling":
            agreeing = [s for s in one.sample_lemmas if _agree(s, one.greedy_lemma)]
            found.append(len(agreeing) / len(one.sample_lemmas))
        elif name == "logprob":
            product = math.prod(math.exp(logprob) for logprob in one.greedy.logprobs)
            found.append(product ** (1 / len(one.greedy.logprobs)))
        elif name == "margin":
            found.append(probs[0] - probs[1])
        elif name == "entropy":
            bits = -math.fsum(p * math.log2(p) for p in probs if p > 0)
            found.append(1 - bits / math.log2(len(probs)))
        elif name == "agreement":
            others = [other for n, other in enumerate(wordings) if n != place]
            agreeing = [other for other in others if _agree(other.greedy_lemma, one.greedy_lemma)]
            found.append(len(agreeing) / len(others))
        else:
            assert name == "p_true"
            found.append(one.p_true)
    return found


@pytest.mark.parametrize("name", NAMES)
@given(wordings=questions())
def test_an_estimator_equals_its_definition(name, wordings):
    assert ESTIMATORS[name](wordings) == pytest.approx(_slowly(name, wordings), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
@given(wordings=questions())
def test_a_confidence_lies_between_0_and_1(name, wordings):
    assert all(0.0 <= confidence <= 1.0 for confidence in ESTIMATORS[name](wordings))


@pytest.mark.parametrize("name", NAMES)
@given(wordings=questions(), data=st.data())
def test_wordings_may_come_in_any_order(name, wordings, data):
    order = data.draw(st.permutations(range(len(wordings))))
    moved = ESTIMATORS[name]([wordings[n] for n in order])
    still = ESTIMATORS[name](wordings)
    assert moved == [still[n] for n in order]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "agreement"])
@given(wordings=questions())
def test_all_but_agreement_look_at_one_wording_at_a_time(name, wordings):
    alone = [ESTIMATORS[name]([one])[0] for one in wordings]
    assert ESTIMATORS[name](wordings) == alone


def test_agreement_leaves_out_the_wording_itself():
    one, other, third = (_evidence(lemma) for lemma in (("rome",), ("paris",), ("nice",)))
    assert ESTIMATORS["agreement"]([one, other, third]) == [0.0, 0.0, 0.0]
    # Wordings of which the same was seen are still different wordings.
    assert ESTIMATORS["agreement"]([one, one, other]) == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("name", ["sampling", "agreement"])
def test_empty_answers_agree_with_nothing(name):
    said = _evidence(("rome",), [(), ("rome",)])
    nothing = _evidence((), [(), ("rome",)])
    assert ESTIMATORS[name]([said, nothing, nothing]) == [0.5 * (name == "sampling"), 0.0, 0.0]


def test_a_longer_answer_that_holds_the_shorter_one_agrees_both_ways():
    samples = [("the", "city", "of", "rome"), ("rome",), ("city", "rome"), ("rome", "city")]
    long, short = _evidence(("city", "of", "rome"), samples), _evidence(("rome",), samples)
    assert ESTIMATORS["sampling"]([long, short]) == [0.5, 1.0]
    assert ESTIMATORS["agreement"]([long, short]) == [1.0, 1.0]


def test_a_certain_first_token_has_confidence_1_and_an_open_one_0():
    certain = _evidence(logits=(0.0, -math.inf, -math.inf))
    uniform = _evidence(logits=(3.0, 3.0, 3.0))
    for name in ("entropy", "margin"):
        assert ESTIMATORS[name]([certain, uniform]) == pytest.approx([1.0, 0.0], abs=1e-12)


def test_the_ending_token_counts_for_logprob():
    found = ESTIMATORS["logprob"]([_evidence(logprobs=(0.0, math.log(0.25)))])
    assert found == pytest.approx([0.5])
