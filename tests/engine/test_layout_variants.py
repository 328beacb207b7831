"""Variants of the layout against loops that say once more what each one means."""

import math

import pytest
import torch
from asking import QUESTIONS, ensemble, tokens
from hypothesis import given
from packed_layouts import packed_batches

from self_ensemble.asking.request import Request
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import greedy_fused
from self_ensemble.packing.layout import build_layout

FAMILIES = ["llama", "gpt2"]
VARIANTS = [
    ("aligned", "cue"),
    ("contiguous", "cue"),
    ("aligned", "last_segment"),
    ("contiguous", "last_segment"),
]
PAIRS = ((1, 0), (2, 1))


def _written_out(parts, positions, fusion_point, num_generated):
    """Tokens as (position, owner), and the index of the token that predicts the first answer."""
    tokens = [(n, "prefix") for n in range(len(parts.prefix))]
    behind, ends = len(parts.prefix), []
    for n, segment in enumerate(parts.segments):
        start = len(parts.prefix) if positions == "aligned" else behind
        length = len(segment) + (len(parts.cue) if fusion_point == "last_segment" else 0)
        tokens += [(start + m, n) for m in range(length)]
        behind = start + length
        ends.append(behind)
    predictor = len(tokens) - 1
    position = max(ends)
    tail = num_generated + (len(parts.cue) if fusion_point == "cue" else 0)
    tokens += [(position + m, "fused") for m in range(tail)]
    if fusion_point == "cue":
        predictor += len(parts.cue)
    return tokens, predictor


@torch.inference_mode()
def _answer_by_hand(model, parts, positions, fusion_point, readable, weight, num_tokens):
    """The attention-level answer, the whole sequence again for every token, eager attention."""
    model.set_attn_implementation("eager")
    generated = []
    while len(generated) < num_tokens:
        placed, predictor = _written_out(parts, positions, fusion_point, len(generated))
        ids = list(parts.prefix)
        for segment in parts.segments:
            ids += segment + (parts.cue if fusion_point == "last_segment" else ())
        ids += (list(parts.cue) if fusion_point == "cue" else []) + generated
        mask = torch.full((1, 1, len(ids), len(ids)), torch.finfo(torch.float32).min)
        for q, (_, reader) in enumerate(placed):
            for k, (_, read) in enumerate(placed[: q + 1]):
                if read in ("prefix", reader) or (reader, read) in readable:
                    mask[0, 0, q, k] = 0.0
                elif reader == "fused":
                    mask[0, 0, q, k] = math.log(weight)
        logits = model(
            input_ids=torch.tensor([ids]),
            position_ids=torch.tensor([[position for position, _ in placed]]),
            attention_mask=mask,
            use_cache=False,
        ).logits[0]
        generated.append(int(logits[predictor + len(generated)].argmax()))
    return generated


@pytest.mark.parametrize("readable", [(), PAIRS], ids=["isolated", "readable"])
@pytest.mark.parametrize(("positions", "fusion_point"), VARIANTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_variant_equals_the_one_written_by_hand(
    loaded, tiny_model, family, positions, fusion_point, readable
):
    asked = ensemble(
        loaded(family), "flex_attention",
        positions=positions, fusion_point=fusion_point, max_new_tokens=4,
    )  # fmt: skip
    answers = asked.run(
        [Request(str(n), wordings, readable=readable) for n, wordings in enumerate(QUESTIONS)]
    )["flex_attention"]
    for wordings, answer in zip(QUESTIONS, answers, strict=True):
        expected = _answer_by_hand(
            tiny_model(family), asked.frame.parts(wordings), positions, fusion_point, readable,
            1 / 3, len(answer.token_ids),
        )  # fmt: skip
        assert list(answer.token_ids) == expected


@pytest.mark.parametrize(("positions", "fusion_point"), VARIANTS)
def test_the_variants_differ_from_one_another(loaded, positions, fusion_point):
    def answer(positions, fusion_point, readable=()):
        asked = ensemble(
            loaded("llama"), "flex_attention", positions=positions, fusion_point=fusion_point
        )
        asking = [Request(str(n), w, readable=readable) for n, w in enumerate(QUESTIONS)]
        return tokens(asked.run(asking)["flex_attention"])

    mine = answer(positions, fusion_point)
    assert mine != answer(positions, fusion_point, PAIRS)
    assert all(mine != answer(*other) for other in VARIANTS if other != (positions, fusion_point))


@pytest.mark.parametrize("positions", ["aligned", "contiguous"])
@pytest.mark.parametrize("fusion_point", ["cue", "last_segment"])
@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_weight_zero_drops_a_wording_exactly(loaded, positions, fusion_point, dropped):
    # QUESTIONS[0][1] is the longest wording, QUESTIONS[0][2] the last.
    options = {"positions": positions, "fusion_point": fusion_point, "segment_weights": "given"}
    asked = ensemble(loaded("llama"), "flex_attention", **options)
    weights = [0.5, 0.5, 0.5]
    weights[dropped] = 0.0
    rest = [wording for n, wording in enumerate(QUESTIONS[0]) if n != dropped]
    with_it = asked.run([Request("a", QUESTIONS[0], segment_weights=tuple(weights))])
    without = asked.run([Request("a", tuple(rest), segment_weights=(0.5, 0.5))])
    assert tokens(with_it["flex_attention"]) == tokens(without["flex_attention"])


def test_weight_zero_drops_the_longest_wording_from_the_oracle_too(loaded):
    asked = ensemble(loaded("llama"), "flex_attention")
    parts, rest = (asked.frame.parts(wordings) for wordings in (QUESTIONS[0], QUESTIONS[0][::2]))
    untouched = loaded("llama")
    assert greedy_fused(untouched, parts, [0.5, 0.0, 0.5], 5) == greedy_fused(
        untouched, rest, [0.5, 0.5], 5
    )


def test_given_segment_weights_equal_the_full_recompute(loaded):
    asked = ensemble(loaded("llama"), "flex_attention", segment_weights="given")
    weights = (0.05, 2.0, 0.7)
    answer = asked.run([Request("a", QUESTIONS[0], segment_weights=weights)])["flex_attention"][0]
    parts = asked.frame.parts(QUESTIONS[0])
    scaled = [weight / sum(weights) for weight in weights]
    expected = greedy_fused(loaded("llama"), parts, scaled, len(answer.token_ids))
    assert list(answer.token_ids) == expected


def test_the_weight_of_a_single_wording_does_not_matter(loaded):
    asked = ensemble(loaded("llama"), ["flex_attention", "origin"], segment_weights="given")
    answers = asked.run([Request("a", QUESTIONS[0][:1], segment_weights=(0.07,))])
    assert tokens(answers["flex_attention"]) == tokens(answers["origin"])


def test_readable_wordings_leave_the_other_methods_as_they_are(loaded):
    methods = ["flex_attention", "avg", "per_prompt"]
    asked = ensemble(loaded("llama"), methods)
    plain = asked.run([Request("a", QUESTIONS[0])])
    paired = asked.run([Request("a", QUESTIONS[0], readable=PAIRS)])
    assert tokens(paired["avg"]) == tokens(plain["avg"])
    assert tokens(paired["per_prompt"][0].members) == tokens(plain["per_prompt"][0].members)
    assert tokens(paired["flex_attention"]) != tokens(plain["flex_attention"])


def test_contiguous_positions_leave_the_other_methods_as_they_are(loaded):
    methods = ["flex_attention", "avg", "origin"]
    asking = [Request("a", QUESTIONS[0])]
    aligned = ensemble(loaded("llama"), methods).run(asking)
    contiguous = ensemble(loaded("llama"), methods, positions="contiguous").run(asking)
    assert tokens(contiguous["avg"]) == tokens(aligned["avg"])
    assert tokens(contiguous["origin"]) == tokens(aligned["origin"])


@given(packed_batches())
def test_positions_of_a_wording_are_those_it_has_alone(batch):
    variant, questions = batch
    if variant.positions != "aligned":
        return
    for parts in questions:
        layout = variant.layout(parts)
        for n in range(variant.num_segments):
            own = [p for p, g in zip(layout.positions, layout.groups, strict=True) if g == n + 1]
            assert own == [len(parts.prefix) + m for m in range(len(own))]
        for stream, n in zip(layout.alone, variant.alone, strict=True):
            alone = parts.prefix + parts.cue if n is None else parts.alone(n)
            assert stream.position == len(alone)
            assert layout.positions[stream.predictor] == stream.position - 1
            assert layout.token_ids[stream.predictor] == parts.cue[-1]


@given(packed_batches())
def test_contiguous_positions_never_repeat(batch):
    variant, questions = batch
    if variant.positions != "contiguous" or 0.0 in variant.weights:
        return
    for parts in questions:
        positions = list(variant.layout(parts).positions)
        assert positions == [len(parts.prefix) + n for n in range(len(positions))]


def test_contiguous_prompts_longer_than_the_context_are_refused(loaded):
    # With the cue in every wording, one cue each; GPT-2 has no positions behind its 512.
    wordings = ("Who wrote the play?",) * 20
    for fusion_point in ("cue", "last_segment"):
        asked = ensemble(
            loaded("gpt2"), "flex_attention",
            positions="contiguous", fusion_point=fusion_point, prefix="", max_new_tokens=1,
        )  # fmt: skip
        parts = asked.frame.parts(wordings)
        layout = build_layout(
            parts, segment_weights=None, positions="contiguous", fusion_point=fusion_point
        )
        assert layout.fused is not None
        spare = 512 - layout.fused.position
        for max_new_tokens, fits in ((spare, True), (spare + 1, False)):
            asked = ensemble(
                loaded("gpt2"), "flex_attention", positions="contiguous",
                fusion_point=fusion_point, prefix="", max_new_tokens=max_new_tokens,
            )  # fmt: skip
            assert (asked.problem(Request("a", wordings)) is None) == fits
            if not fits:
                with pytest.raises(UserError, match="take 513 positions; the model has 512"):
                    asked.answer(wordings)
