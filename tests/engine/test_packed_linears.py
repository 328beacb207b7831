"""The engine on packed linear layers gives the answers of plain ones."""

import pytest
from asking import FAMILIES, METHODS, QUESTIONS, ensemble, requests, tokens

from self_ensemble.models.packed_linear import pack_linears, unpack_linears
from self_ensemble.oracle.reference import next_logits_fused
from self_ensemble.walking.sampling import Sampling


def on_packed_layers(plain):
    pack_linears(plain.model)
    return plain


# The compiler itself uses what its own library deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
# sdpa cannot cap attention scores, which gemma2 needs.
@pytest.mark.parametrize(
    ("family", "attention"),
    [
        (family, attention)
        for family in FAMILIES
        for attention in ("sdpa", "eager")
        if (family, attention) != ("gemma2", "sdpa")
    ]
    + [("llama", "flex")],
)
def test_every_method_answers_as_on_plain_layers(loaded, family, attention):
    plain = loaded(family)
    before = ensemble(plain, attention=attention).run(requests())
    after = ensemble(on_packed_layers(plain), attention=attention).run(requests())
    for method in METHODS:
        assert tokens(after[method]) == tokens(before[method]), method
        for one, two in zip(before[method], after[method], strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)


def test_samples_are_those_of_plain_layers(loaded):
    asked = {"sampling": Sampling(temperature=1.0, seed=3)}
    plain = loaded("llama")
    before = ensemble(plain, **asked).run(requests())
    after = ensemble(on_packed_layers(plain), **asked).run(requests())
    assert {m: tokens(a) for m, a in after.items()} == {m: tokens(a) for m, a in before.items()}


def test_the_first_logits_are_those_of_the_oracle(loaded):
    plain = loaded("llama", 6, 2)
    asked = ensemble(on_packed_layers(plain), "flex_attention")
    (answer,) = asked.run(requests(QUESTIONS[:1]))["flex_attention"]
    unpack_linears(plain.model)
    parts = asked.frame.parts(QUESTIONS[0])
    for place, token in enumerate(answer.token_ids):
        logits = next_logits_fused(plain, parts, answer.token_ids[:place], [1 / 3] * 3)
        assert token == int(logits.argmax())


def test_an_answer_does_not_depend_on_the_batch(loaded):
    asked = ensemble(on_packed_layers(loaded("llama")))
    together = asked.run(requests())
    for row, request in enumerate(requests()):
        for method, (answer,) in asked.run([request]).items():
            assert answer.token_ids == together[method][row].token_ids
