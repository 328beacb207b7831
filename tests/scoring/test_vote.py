"""Who wins the vote."""

from math import log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.scoring.normalise import normalise
from self_ensemble.scoring.vote import vote

LOW, MID, HIGH = log(0.1), log(0.5), log(0.9)


@pytest.mark.parametrize(
    ("predictions", "logprobs", "winner"),
    [
        pytest.param(["Rome", "Oslo", "rome."], [LOW, HIGH, MID], 2, id="majority"),
        pytest.param(["Rome", "Oslo", "Bonn"], [MID, LOW, HIGH], 2, id="tie by probability"),
        # As log-probabilities the second pair's sum would be the larger one.
        pytest.param(
            ["Rome", "Oslo", "Rome", "Oslo"],
            [log(0.9), log(0.4), log(0.01), log(0.4)],
            0,
            id="tie by sum of probabilities",
        ),
        pytest.param(["Rome", "Oslo"], [MID, MID], 0, id="tie by order"),
        pytest.param(["", ".", "", "Oslo"], [HIGH, HIGH, nan, LOW], 3, id="empty does not vote"),
        pytest.param(["", "..", ""], [LOW, MID, nan], 1, id="all empty"),
        pytest.param(["Oslo"], [LOW], 0, id="one wording"),
    ],
)
def test_winner_of_the_vote(predictions, logprobs, winner):
    assert vote(predictions, logprobs) == winner


@given(
    st.lists(
        st.tuples(st.sampled_from(["Rome", "the Rome!", "Oslo", "Bonn", ""]), st.floats(-9, 0)),
        min_size=1,
    )
)
def test_no_answer_has_more_votes_than_the_winner(ballots):
    predictions, logprobs = zip(*ballots, strict=True)
    answers = [normalise(prediction) for prediction in predictions]
    winner = answers[vote(predictions, logprobs)]
    assert all(answers.count(winner) >= answers.count(other) for other in answers if other)
    assert winner or not any(answers)


@pytest.mark.parametrize(("predictions", "logprobs"), [([], []), (["a", "b"], [0.0])])
def test_vote_without_one_logprob_for_every_prediction_is_refused(predictions, logprobs):
    with pytest.raises(ValueError, match=f"Got {len(logprobs)} log-prob.* for {len(predictions)}"):
        vote(predictions, logprobs)
