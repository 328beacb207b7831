"""Questions of uneven lengths are attended to one by one on a CPU, with the same outcome."""

import pytest
import torch
from asking import FAMILIES, METHODS, QUESTIONS, ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.packing.layout import build_layout
from self_ensemble.passes import attention, packed_pass
from self_ensemble.passes.cache import rank_within
from self_ensemble.passes.packed_pass import PackedPass
from self_ensemble.passes.prefill import prefill

NEVER, ALWAYS = 0.0, 2.0


@pytest.fixture
def one_by_one(monkeypatch):
    """Calls of the function that takes questions one by one."""
    calls = []
    original = attention._by_question

    def counted(attend, query, key, value, packed, window):
        calls.append(len(packed.spans()))
        return original(attend, query, key, value, packed, window)

    monkeypatch.setattr(attention, "_by_question", counted)
    return calls


# gemma2 runs on eager; gemma3 has layers with and without a window.
@pytest.mark.parametrize(
    ("family", "window"),
    [*((name, None) for name in FAMILIES), ("mistral", 8), ("gemma3", 8)],
)
def test_answers_are_those_of_padded_rows(loaded, monkeypatch, one_by_one, family, window):
    model = loaded(family, sliding_window=window)
    monkeypatch.setattr(packed_pass, "PADDED_FROM", NEVER)
    padded = ensemble(model)
    before = padded.run(requests())
    assert one_by_one == []
    monkeypatch.setattr(packed_pass, "PADDED_FROM", ALWAYS)
    alone = ensemble(model)
    after = alone.run(requests())
    layers = model.model.config.num_hidden_layers
    assert len(one_by_one) == alone.counters.forwards * layers
    assert alone.counters == padded.counters
    for method in METHODS:
        assert tokens(after[method]) == tokens(before[method]), method
        for one, two in zip(before[method], after[method], strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)


def test_questions_of_one_length_stay_together_and_ended_ones_are_left_out(loaded, one_by_one):
    asked = ensemble(loaded("llama"), "per_prompt")
    parts = asked.frame.parts(QUESTIONS[0])
    layouts = [build_layout(parts, alone=range(3)) for _ in range(3)]
    batch, frontier = prefill(asked.engine, layouts, asked.prefix())

    def step(nodes):
        rows, groups = frontier.rows_M[nodes], frontier.groups_M[nodes]
        batch.feed(torch.full_like(rows, 5), rows, groups, frontier.positions_M[nodes], None)

    step(frontier.rows_M >= 0)
    assert one_by_one == []
    step(frontier.rows_M == 0)
    assert one_by_one == [1] * asked.model.model.config.num_hidden_layers


@given(
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any), more=st.integers(0, 9)
)
def test_spans_are_the_questions_that_have_queries(counts, more):
    rows = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    used = torch.tensor(counts) + more
    seen = PackedPass(rows, rank_within(rows), used, num_padding=3)
    found = seen.spans()
    assert [span.row for span in found] == [row for row, count in enumerate(counts) if count]
    assert [span.num_slots for span in found] == [int(used[span.row]) for span in found]
    tokens_of = [rows[span.start : span.end].tolist() for span in found]
    assert tokens_of == [[span.row] * counts[span.row] for span in found]
    seen.bias_BRS = torch.zeros(len(counts), max(counts), int(used.max()))
    work = sum(count * (count + more) for count in counts)
    assert seen.wastes_padding() == (work < 0.75 * seen.bias_BRS.numel())
