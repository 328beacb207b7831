"""Rules on what was kept of the wordings' predictions, against the same rules on all of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from self_ensemble.replaying.choice import Replayed, replayed
from self_ensemble.replaying.rules import CONTRAST, MIN_LOGPROB, REPLAY_RULES, WEIGHTED, Setting
from self_ensemble.replaying.stored import FirstPlace, StoredQuestion
from self_ensemble.running.logprobs import first_columns
from self_ensemble.walking import fusion

TOLERANCE = 1e-3


def kept(logits: torch.Tensor, top_k: int, answers: list[int]) -> StoredQuestion:
    """What the file has of a question."""
    *rows, prior = first_columns(logits, answers, top_k)
    column = {name: np.array([row[f"first_{name}"] for row in rows]) for name in
              ("logprobs", "bound", "rest", "gap", "entropy")}  # fmt: skip
    first = FirstPlace(**column, prior=np.array(prior["first_logprobs"]))
    ids = tuple(prior["first_ids"])
    return StoredQuestion("q", ids, tuple(map(str, ids)), tuple(answers), first, None)


def whole(name: str, logits: torch.Tensor, weights: torch.Tensor, strength: float):
    """The rule of a run on the whole vocabulary, normalised."""
    if name == "contrast":
        return fusion.contrast(logits, weights, strength).log_softmax(dim=-1)
    return fusion.RULES[name](logits[:-1], weights).log_softmax(dim=-1)


@st.composite
def questions(draw):
    """Logits of wordings and prior, alike enough that rules hesitate; K; weights; strength."""
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    num_wordings, size = draw(st.integers(1, 4)), draw(st.integers(2, 24))
    spread, own = draw(st.sampled_from([0.3, 1.0, 4.0])), draw(st.sampled_from([0.0, 0.3, 2.0]))
    logits = spread * rng.normal(size=size) + own * rng.normal(size=(num_wordings + 1, size))
    if draw(st.booleans()):
        logits[:, rng.integers(size)] = -np.inf  # a place that is no token
    if draw(st.booleans()):
        logits = logits.round()  # equals
    weights = rng.random(num_wordings) * (rng.random(num_wordings) > 0.3)
    weights[rng.integers(num_wordings)] += 0.1
    top_k = draw(st.sampled_from([1, 2, 3, size]))
    return (
        torch.tensor(logits),
        top_k,
        torch.tensor(weights),
        draw(st.sampled_from([0, 0.25, 2.0])),
    )


def replay(name, question, weights, strength) -> Replayed:
    return replayed(question, REPLAY_RULES[name], Setting(weights.numpy(), strength, TOLERANCE))


@pytest.mark.parametrize("name", REPLAY_RULES)
@settings(max_examples=300, deadline=None)
@given(asked=questions())
def test_where_replay_says_exact_the_whole_vocabulary_agrees(name, asked) -> None:
    logits, top_k, weights, strength = asked
    row = replay(name, kept(logits, top_k, []), weights, strength)
    full = whole(name, logits, weights, strength)
    if row.status == "exact":
        assert row.token_id == int(full.argmax())
    # And it does say so where all is known and nothing is close.
    best = full.topk(2).values
    clear = best[0] - best[1] > TOLERANCE * (1 + 2 * strength) + 1e-9
    if top_k == logits.shape[1] and clear and name not in ("gated", "min_entropy"):
        assert row.status == "exact"


@pytest.mark.parametrize("name", sorted(REPLAY_RULES.keys() - {"gated", "min_entropy"}))
@settings(max_examples=200, deadline=None)
@given(asked=questions())
def test_an_answers_log_probability_is_between_its_bounds(name, asked) -> None:
    logits, top_k, weights, strength = asked
    answers = [token for token in (0, 1) if (logits[:, token] > -np.inf).all()]
    row = replay(name, kept(logits, top_k, answers), weights, strength)
    full = whole(name, logits, weights, strength)
    assert [one.token_id for one in row.answers] == answers
    for one in row.answers:
        assert one.low - 1e-6 <= float(full[one.token_id]) <= one.high + 1e-6


def test_what_was_left_out_makes_a_choice_doubtful() -> None:
    # Both wordings think well of token 2, and each has one that it thinks better of.
    logits = torch.tensor([[3.0, 0.0, 2.9], [0.0, 3.0, 2.9], [0.0, 0.0, 0.0]]).double()
    weights = torch.ones(2)
    assert int(whole("avg", logits, weights, 0).argmax()) == 2
    assert replay("avg", kept(logits, 1, []), weights, 0).status == "rest"
    assert replay("avg", kept(logits, 3, []), weights, 0)[1:4] == (2, "2", "exact")
    assert replay("avg", kept(logits, 1, [2]), weights, 0)[1:4] == (2, "2", "exact")
    assert replay("avg", kept(logits[[0, 0, 2]], 1, []), weights, 0).status == "exact"
    close = torch.tensor([[1.0, 1.0005, 0.0], [0.0, 0.0, 0.0]]).double()
    assert replay("avg", kept(close, 3, []), torch.ones(1), 0).status == "close"


def test_what_decides_between_wordings_or_rules_may_be_close_too() -> None:
    prior = [0.0, 0.0, 0.0]
    # Equally certain, of different tokens; then one more so.
    mirrored = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], prior]).double()
    sure = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.5, 0.0], prior]).double()
    assert replay("min_entropy", kept(mirrored, 3, []), torch.ones(2), 0).status == "close"
    assert replay("min_entropy", kept(sure, 3, []), torch.ones(2), 0)[1:4] == (1, "1", "exact")
    # Whether two of three agree hangs on a hair, and the mixture takes another token.
    hair = [1.0, 1.0001, 0.0]
    split = torch.tensor([[1.0, 0.0, 0.0], hair, [0.0, 5.0, 0.0], prior]).double()
    clear = split.clone()
    clear[1, 1] = 1.5
    assert replay("gated", kept(split, 3, []), torch.ones(3), 0).status == "close"
    assert replay("gated", kept(clear, 3, []), torch.ones(3), 0)[1:4] == (1, "1", "exact")
    # A token that was not kept, as likely as the one that the largest probability has.
    equal = torch.tensor([[2.0, 2.0, 0.0], prior]).double()
    assert replay("max", kept(equal, 1, []), torch.ones(1), 0).status == "rest"


def test_every_built_in_rule_is_there_with_the_same_constants() -> None:
    assert REPLAY_RULES.keys() == fusion.RULES.keys()
    assert WEIGHTED == fusion.WEIGHTED
    assert (CONTRAST, MIN_LOGPROB) == (fusion.CONTRAST, fusion.MIN_LOGPROB)
