"""Stop rules against decoding the whole answer after every token."""

import pytest
from asking import ensemble, requests
from hypothesis import given
from hypothesis import strategies as st
from marking_tokenizers import STYLES, marking_tokenizer

from self_ensemble.errors import UserError
from self_ensemble.walking.stopping import StopRule

STOPS = ["\n", "\n\n", ".", "Q:", " is", "is ", " ", "é", "猫", "er t", "ürich", "the\n"]
TEXTS = [
    "the river is wide.\nQ: what",
    "caf\u00e9 Z\u00fcrich \u732b\n",
    "Paris is the capital. Q: Who",
    "slow  and\n\nwide",
]


@pytest.fixture(scope="module", params=["bytes", *STYLES])
def tokenizer(request, tiny_tokenizer):
    return tiny_tokenizer if request.param == "bytes" else marking_tokenizer(request.param)


def _decode(tokenizer, token_ids):
    return tokenizer.decode(
        token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


def _reason(tokenizer, token_ids, stop, eos, max_new_tokens):
    """Decode everything after every token."""
    if token_ids[-1] in eos:
        return "eos"
    if any(string in _decode(tokenizer, token_ids) for string in stop):
        return "stop"
    return "length" if len(token_ids) == max_new_tokens else None


@given(data=st.data())
def test_the_reason_equals_decoding_after_every_token(tokenizer, data):
    stop = tuple(data.draw(st.sets(st.sampled_from(STOPS), max_size=2)))
    ids = data.draw(
        st.one_of(
            st.sampled_from(TEXTS).map(lambda text: tokenizer(text).input_ids),
            st.lists(st.integers(0, len(tokenizer) - 1), min_size=1, max_size=20),
        )
    )
    eos = frozenset(data.draw(st.sets(st.sampled_from(ids), max_size=1)))
    rule = StopRule(tokenizer, eos, stop, max_new_tokens=len(ids))
    for length in range(1, len(ids) + 1):
        expected = _reason(tokenizer, ids[:length], stop, eos, len(ids))
        assert rule.reason(ids[:length]) == expected
        if expected is not None:
            break


def _ended(rule, ids):
    """Tokens until the rule ends the answer, why, and the text that is left."""
    for length in range(1, len(ids) + 1):
        reason = rule.reason(ids[:length])
        if reason is not None:
            return length, reason, rule.text(ids[:length])
    raise AssertionError("the rule never ended the answer")


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("wide\nslow", ("\n",), "wide"),
        ("the old town is wide", ("old town",), "the "),
        ("Zürich is wide", ("ü",), "Z"),
        ("猫 is wide", ("猫",), ""),
        ("a. b\nc", ("\n", "."), "a"),
        ("slow Q: wide", ("Q: ",), "slow "),
        ("river", ("\n",), "river"),
    ],
)
def test_the_text_is_cut_before_the_first_stop_string(tokenizer, text, stop, left):
    ids = tokenizer(text).input_ids
    length, reason, kept = _ended(StopRule(tokenizer, frozenset(), stop, len(ids)), ids)
    assert kept == left
    assert (reason == "stop") == (left != text)
    # It ends at the first token whose text holds the stop string.
    assert not any(string in _decode(tokenizer, ids[: length - 1]) for string in stop)


def test_of_two_stop_strings_in_one_text_the_first_one_cuts(tokenizer):
    rule = StopRule(tokenizer, frozenset(), ("\n", "."), 50)
    assert rule.text(tokenizer("a. b\nc").input_ids) == "a"


def test_an_end_of_sequence_token_ends_the_answer_and_is_no_text(tokenizer):
    eos = tokenizer.eos_token_id
    ids = [*tokenizer("wide").input_ids, eos, *tokenizer("slow").input_ids]
    _, reason, kept = _ended(StopRule(tokenizer, frozenset({eos}), ("\n",), 50), ids)
    assert (reason, kept) == ("eos", "wide")


def test_the_length_ends_the_answer(tokenizer):
    ids = tokenizer("the river is wide and slow").input_ids
    length, reason, kept = _ended(StopRule(tokenizer, frozenset(), (), 3), ids)
    assert (length, reason, kept) == (3, "length", _decode(tokenizer, ids[:3]))


def test_answers_of_a_run_stop_where_decoding_says(loaded):
    free = ensemble(loaded("llama"), max_new_tokens=12).run(requests())
    stop = ("a", "e", "\ufffd")
    model = loaded("llama")
    stopped = ensemble(model, max_new_tokens=12, stop=stop).run(requests())
    reasons = set()
    for method, answers in stopped.items():
        if method == "vote":
            continue  # other texts, other winners
        for answer, whole in zip(answers, free[method], strict=True):
            length = len(answer.token_ids)
            assert answer.token_ids == whole.token_ids[:length]
            eos = frozenset({model.tokenizer.eos_token_id})
            for end in range(1, length + 1):
                reason = _reason(model.tokenizer, list(whole.token_ids[:end]), stop, eos, 12)
                assert (reason is None) == (end < length)
            assert answer.stop_reason == reason
            assert not any(string in answer.generation for string in stop)
            reasons.add(reason)
    assert "stop" in reasons


@pytest.mark.parametrize(
    ("stop", "max_new_tokens", "message"),
    [(("\n", ""), 5, "empty stop string"), (("\n",), 0, "Got 0 new tokens")],
)
def test_a_rule_that_cannot_work_is_refused(loaded, stop, max_new_tokens, message):
    with pytest.raises(UserError, match=message):
        ensemble(loaded("llama"), stop=stop, max_new_tokens=max_new_tokens)
