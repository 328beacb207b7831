"""Questions of one batch whose wordings leave them more or less of the run's prefix."""

import pytest
from asking import METHODS, ready, requests, tokens
from tokenizer_families import gpt2

from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.oracle.reference import greedy_fused, greedy_tied
from self_ensemble.questions.schema import Framing

# A line break and a space after it change how the line break before them is read.
MIXED = (
    ("is it old?", "Who wrote it?", "the river"),
    ("\n Who wrote it?", "is it?", "the prince"),
    ("What?", "\n\n the old river?", "17 or 12?"),
)


@pytest.fixture
def make(tiny_model):
    def make(method, attention=None, decode="tree", **settings):
        return Ensemble(
            ready(tiny_model("llama"), gpt2()), method,
            prefix="Q: is it?\nA: so\n", framing=Framing("{}\n", "A:"), decode=decode,
            settings=Settings(max_new_tokens=6, stop=(), **settings), attention=attention,
        )  # fmt: skip

    return make


def test_the_questions_have_prefixes_of_different_lengths(make):
    frame = make("avg").frame
    lengths = [len(frame.parts(wordings).prefix) for wordings in MIXED]
    assert lengths[1] == lengths[2] == lengths[0] - 1
    assert lengths[0] == len(frame.prefix)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_their_answers_are_those_of_the_oracle(make, tiny_model, attention):
    asked = make(["flex_attention", "avg"], attention)
    untouched = ready(tiny_model("llama"), asked.model.tokenizer)
    answers = asked.run(requests(MIXED, None))
    for n, wordings in enumerate(MIXED):
        parts = asked.frame.parts(wordings)
        fused, tied = (answers[name][n].token_ids for name in ("flex_attention", "avg"))
        assert list(fused) == greedy_fused(untouched, parts, [1 / 3] * 3, len(fused))
        assert list(tied) == greedy_tied(
            untouched, parts, lambda each: sum(each[1:], each[0]), len(tied)
        )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"decode": "captured"},
        {"segment_weights": "none"},
        {"fusion_point": "last_segment"},
        {"positions": "contiguous", "segment_weights": "none"},
    ],
)
def test_an_answer_does_not_depend_on_the_others_prefixes(make, settings):
    together = make(METHODS, **settings).run(requests(MIXED))
    for n, request in enumerate(requests(MIXED)):
        alone = make(METHODS, **settings).run([request])
        for method in METHODS:
            assert tokens(together[method])[n] == tokens(alone[method])[0]
