"""Wrong answers are never timed."""

from dataclasses import replace

import pytest
import torch

from benchmarks.check import CHECKED, check_work, in_float32
from benchmarks.random_models import random_model
from benchmarks.work import shape_work
from conftest import SHAPE
from self_ensemble.asking.methods import Method, resolve_method
from self_ensemble.errors import UserError


def with_rule(name, rule):
    return {one: resolve_method(one) for one in CHECKED} | {name: Method("avg", "tied", rule)}


def test_right_answers_are_counted(work):
    check = check_work(work, num_questions=2)
    # flex_attention, avg, three wordings of ours and of generate, causal_concat; two questions.
    assert check.num_tokens == 2 * (1 + 1 + 3 + 3 + 1) * SHAPE.new_tokens
    assert check.num_rows == 2 * 3
    assert (check.num_questions, check.num_ties, check.equal_tokens) == (2, 0, 1.0)


def test_a_corrupted_rule_is_refused(work):
    spoilt = with_rule("avg", lambda logits, weights: logits[..., 0, :])
    with pytest.raises(UserError, match=r"avg, question 0, token \d.*no numbers are reported"):
        check_work(work, methods=spoilt)


def test_a_logit_level_answer_in_place_of_flex_attention_is_refused(work):
    methods = {one: resolve_method(one) for one in CHECKED if one != "avg"}
    methods |= {"flex_attention": Method("max", "tied", resolve_method("max").rule)}
    with pytest.raises(UserError, match="flex_attention, question 0"):
        check_work(work, methods=methods | {"avg": resolve_method("avg")})


def test_an_answer_that_generate_does_not_give_is_refused(work):
    # Ours reads the wordings, generate the token ids: in the second question they are not alike.
    one, two, *others = work.parts
    other = replace(two, segments=(two.segments[1], *two.segments[1:]))
    spoilt = replace(work, parts=(one, other, *others))
    with pytest.raises(UserError, match="per_prompt, question 1, wording 0"):
        check_work(spoilt, num_questions=1)


def test_after_a_failure_layers_are_plain_again_and_of_their_own_type():
    def fails(logits, weights):
        raise KeyError("rule")

    loaded = random_model("tiny", device="cpu", dtype="bfloat16")
    weight, before = loaded.model.lm_head.weight, loaded.model.lm_head.weight.clone()
    with pytest.raises(KeyError, match="rule"):
        check_work(shape_work(loaded, SHAPE, num_questions=1), methods=with_rule("avg", fails))
    assert loaded.model.lm_head.weight is weight
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight, before)


def test_a_model_in_low_precision_is_checked_in_float32_and_left_as_it_was():
    loaded = random_model("tiny", device="cpu", dtype="bfloat16")
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    rotary = loaded.model.model.rotary_emb.inv_freq.clone()
    check = check_work(shape_work(loaded, SHAPE, num_questions=4, batch_size=4))
    assert check.num_tokens > 0
    # Rounding to 8 bits moves some answer of a random model, and it is said how many.
    assert 0.0 < check.equal_tokens < 1.0
    after = loaded.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    assert torch.equal(loaded.model.model.rotary_emb.inv_freq, rotary)


def test_weights_are_float32_meanwhile_and_keep_their_values():
    loaded = random_model("tiny", device="cpu", dtype="bfloat16")
    before = loaded.model.lm_head.weight.clone()
    with in_float32(loaded) as exact:
        assert exact.dtype == exact.model.dtype == torch.float32
        assert torch.equal(exact.model.lm_head.weight, before.float())
