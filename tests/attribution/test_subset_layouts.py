"""Rows of the visibility table for some of the wordings, against loops over their tokens."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.packing.layout import build_layout
from self_ensemble.packing.subsets import reading_row, streams_of_wordings, wording_shares
from self_ensemble.passes.batch import Batch
from self_ensemble.passes.cache import RowCache
from self_ensemble.passes.tails import _forget, _open_groups
from self_ensemble.prompts.parts import PromptParts

# Few different tokens, so that wordings begin alike, are equal, or one begins another.
SPANS = st.lists(st.integers(1, 2), min_size=1, max_size=4).map(tuple)


@st.composite
def packed(draw):
    segments = draw(st.lists(SPANS, min_size=1, max_size=4))
    weights = [draw(st.sampled_from([0.0, 0.25, 1.0])) for _ in segments]
    point = draw(st.sampled_from(["cue", "last_segment"]))
    share = draw(st.booleans())
    parts = PromptParts((7, 8), tuple(segments), (9, 9))
    layout = build_layout(
        parts, segment_weights=[1.0] * len(segments), fusion_point=point, share=share
    )
    return parts, point, layout, weights


def _tokens_of(layout, wording):
    """Places of a wording's tokens, in the order of their positions."""
    groups = {n for n, several in enumerate(layout.wordings, start=1) if wording in several}
    places = [place for place, group in enumerate(layout.groups) if group in groups]
    return sorted(places, key=lambda place: layout.positions[place])


@given(packed())
def test_a_tail_reads_each_token_with_the_weights_of_its_wordings(question) -> None:
    parts, point, layout, weights = question
    row = reading_row(layout, weights)
    assert row[0] == 0.0
    read = {place: 0.0 for place in range(len(layout.token_ids))}
    for wording, weight in enumerate(weights):
        places = _tokens_of(layout, wording)
        cue = parts.cue if point == "last_segment" else ()
        assert tuple(layout.token_ids[p] for p in places) == parts.segments[wording] + cue
        for place in places:
            read[place] += weight
    for place, group in enumerate(layout.groups):
        if 1 <= group <= len(layout.wordings):
            expected = math.log(read[place]) if read[place] > 0 else -math.inf
            np.testing.assert_allclose(row[group], expected, rtol=1e-6)


@given(packed())
def test_what_is_read_of_shared_tokens_is_divided_by_weight(question) -> None:
    _, _, layout, weights = question
    shares = wording_shares(layout, weights)
    for group, several in enumerate(layout.wordings):
        total = sum(weights[n] for n in several)
        for wording, weight in enumerate(weights):
            expected = weight / total if wording in several and total > 0 else 0.0
            np.testing.assert_allclose(shares[group, wording], expected, rtol=1e-6)


@given(packed())
def test_the_stream_of_a_wording_stands_at_its_last_token(question) -> None:
    parts, _, layout, _ = question
    streams = streams_of_wordings(layout)
    assert len(streams) == len(parts.segments)
    for wording, stream in enumerate(streams):
        last = _tokens_of(layout, wording)[-1]
        assert stream.predictor == last
        assert stream.position == layout.positions[last] + 1


@given(st.lists(st.lists(st.sampled_from([0.0, -math.inf, -1.5]), min_size=3, max_size=3),
                min_size=1, max_size=6))  # fmt: skip
def test_tails_read_themselves_and_the_prompt_and_not_each_other(rows) -> None:
    table = torch.zeros(1, 5, 5)
    batch = Batch(None, RowCache(num_rows=1), table, padding_group=4)
    batch.key_group_BS = torch.tensor([[0, 1, 2]])
    batch.used_B = torch.tensor([3])
    used, num_groups = batch.used_B, batch.num_groups_B
    for _ in range(2):  # the second time groups of the first are there no more
        groups = _open_groups(batch, [torch.tensor(row) for row in rows]).tolist()
        assert groups == list(range(5, 5 + len(rows)))
        for group, row in zip(groups, rows, strict=True):
            found = batch.bias_BGG[0, group].tolist()
            assert found[:3] == row
            assert [place for place, bias in enumerate(found) if place > 2 and bias == 0] == [
                group
            ]
            assert all(bias == -math.inf for n, bias in enumerate(found) if n > 2 and n != group)
        batch.key_group_BS = torch.tensor([[0, 1, 2, 5, 5]])
        batch.key_position_BS = torch.zeros(1, 5)
        _forget(batch, used, num_groups)
        assert batch.key_group_BS.tolist() == [[0, 1, 2]]
        assert batch.key_position_BS.shape == (1, 3)
