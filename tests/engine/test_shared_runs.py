"""Wordings that begin alike: their common tokens once, every stream's logits as before."""

import pytest
import torch
from asking import QUESTIONS, ensemble
from hypothesis import given, settings
from hypothesis import strategies as st

from self_ensemble.packing.layout import build_layout, stacked_tables
from self_ensemble.packing.runs import separate_runs, shared_runs
from self_ensemble.passes.prefill import encode_prefix, prefill
from self_ensemble.prompts.parts import PromptParts

# float32 sums in another order; logits of these models are around 10.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}
wording = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)
wordings = st.lists(wording, min_size=1, max_size=5)


@given(wordings)
def test_the_runs_of_a_wording_in_order_are_the_wording(spans):
    for runs in (shared_runs(spans), separate_runs(spans)):
        for index, span in enumerate(spans):
            mine = [run for run in runs if index in run.wordings]
            assert sum((run.token_ids for run in mine), ()) == span
            assert [run.start for run in mine] == [0, *(run.end for run in mine[:-1])]


@given(wordings)
def test_shared_runs_hold_every_beginning_once(spans):
    beginnings = {span[:end] for span in spans for end in range(1, len(span) + 1)}
    assert sum(len(run.token_ids) for run in shared_runs(spans)) == len(beginnings)


@given(wordings)
def test_shared_runs_are_as_few_as_the_branches_and_ends_of_the_prefix_tree(spans):
    beginnings = {span[:end] for span in spans for end in range(len(span) + 1)}
    children = [sum(len(b) == len(a) + 1 and b[:-1] == a for b in beginnings) for a in beginnings]
    cut = sum(
        a != () and (number != 1 or a in spans)
        for a, number in zip(beginnings, children, strict=True)
    )
    assert len(shared_runs(spans)) == cut


@st.composite
def packed(draw):
    spans = draw(wordings)
    num = len(spans)
    weight = st.sampled_from([0.0, 0.25, 1.0, 3.0])
    weights = draw(st.lists(weight, min_size=num, max_size=num).filter(any))
    options = {
        "segment_weights": draw(st.sampled_from([None, weights])),
        "alone": (*draw(st.permutations(range(num))), None),
        "fusion_point": draw(st.sampled_from(["cue", "last_segment"])),
    }
    return PromptParts((7, 8, 9), tuple(spans), (5, 6)), options


def _logits(asked, layouts):
    _, frontier = prefill(asked.engine, layouts, encode_prefix(asked.engine, (7, 8, 9)))
    return frontier.logits_MV


@settings(max_examples=60)
@given(st.lists(packed(), min_size=1, max_size=3))
def test_sharing_moves_no_logits_of_any_stream(asked, questions):
    for one, options in questions:
        # Questions of a batch have the same streams; here each is a batch of its own ...
        apart = build_layout(one, **options)
        shared = build_layout(one, share=True, **options)
        assert len(shared.token_ids) <= len(apart.token_ids)
        torch.testing.assert_close(_logits(asked, [shared]), _logits(asked, [apart]), **TOLERANCE)


def test_a_batch_of_layouts_with_different_numbers_of_runs_is_each_alone(asked):
    layouts = [
        build_layout(asked.frame.parts(wordings), alone=range(3), share=True)
        for wordings in (*QUESTIONS, (QUESTIONS[0][0],) * 3)
    ]
    assert len({layout.padding_group for layout in layouts}) > 1
    together = _logits(asked, layouts)
    alone = torch.cat([_logits(asked, [layout]) for layout in layouts])
    torch.testing.assert_close(together, alone, **TOLERANCE)


def test_padding_of_a_batch_reads_the_prefix_and_the_first_run_and_is_read_by_nobody(asked):
    layouts = [
        build_layout(asked.frame.parts(wordings), share=True)
        for wordings in (QUESTIONS[0], (QUESTIONS[0][0],) * 3)
    ]
    for table in stacked_tables(layouts):
        assert (table[-1] == 0.0).nonzero()[:, 0].tolist() == [0, 1]
        assert torch.isinf(table[:-1, -1]).all()


@pytest.mark.parametrize("method", ["flex_attention", "avg", "per_prompt"])
def test_equal_wordings_cost_the_tokens_of_one(loaded, method):
    one, five = (ensemble(loaded("llama"), method, max_new_tokens=1) for _ in range(2))
    text = QUESTIONS[0][0]
    one.answer([text])
    five.answer([text] * 5)
    # The cues of wordings that are continued alone are their own.
    cues = 0 if method == "flex_attention" else 4 * len(five.frame.parts([text] * 5).cue)
    assert five.counters.prompt_tokens == one.counters.prompt_tokens + cues


@pytest.fixture(scope="module")
def asked(loaded):
    return ensemble(loaded("llama"), "flex_attention")
