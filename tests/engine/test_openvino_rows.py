"""What a graph has read of each question stays its own, wherever it lies."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from self_ensemble.models import openvino_rows
from self_ensemble.models.openvino_rows import FEW, FEWEST, Room, Rows, Spare


def test_memory_is_handed_on_where_it_fits_and_nobody_else_has_it():
    spare = Spare()
    first, larger = spare.take(8 * FEWEST), torch.empty(12 * FEWEST)
    place = first.data_ptr()
    spare.give_back([larger, first])
    # Not to who needs less than a quarter of it.
    assert spare.take(FEWEST).data_ptr() not in {place, larger.data_ptr()}
    again = spare.take(4 * FEWEST)
    assert again.data_ptr() == place
    assert len(again) == 8 * FEWEST
    assert spare.take(4 * FEWEST).data_ptr() == larger.data_ptr()
    # Who needs more than there is has the rest freed.
    spare.give_back([again])
    assert spare.take(9 * FEWEST).data_ptr() != place
    assert spare.new_bytes(8 * FEWEST) == 8 * FEWEST * 4
    # No more are kept than two batches need, the last ones.
    for size in (6, 50, 4, 3, 2, 1):
        spare.give_back([torch.empty(size * FEWEST)])
    new = [[50], [6], [1, 2, 3, 4], [1, 1, 4, 4], [1] * 5]
    missing = [spare.new_bytes(*(size * FEWEST for size in sizes)) / 4 / FEWEST for sizes in new]
    # A piece is one's only.
    assert missing == [50, 6, 0, 4, 1]


def test_memory_that_cannot_be_had_leaves_nobody_with_anothers(monkeypatch):
    monkeypatch.setattr(openvino_rows, "FEWEST", 1)
    spare = Spare()
    room = Room(spare, num_layers=1, num_kv_heads=1, head_dim=2)
    room.lay(3, 1)
    spare.give_back([torch.empty(10_000)])

    def refuse(size):
        if size:
            raise RuntimeError("no memory")
        return torch.zeros(0)

    with monkeypatch.context() as full:
        full.setattr(openvino_rows.torch, "empty", refuse)
        with pytest.raises(RuntimeError, match="no memory"):
            room.lay(3, 100)
    del room
    given = [spare.take(size) for size in (12, 12, 3_000)]
    assert len({one.data_ptr() for one in given}) == 3


@settings(max_examples=60)
@given(st.data())
def test_rows_keep_what_was_read_of_each_question_wherever_they_stand(data):
    num_rows = data.draw(st.integers(1, 5), label="questions")
    room = Room(Spare(), num_layers=2, num_kv_heads=1, head_dim=3)
    room._piece[0] = torch.full((data.draw(st.sampled_from([0, 500, 4000])),), torch.nan)
    rows = Rows(room, num_rows)
    read = [torch.zeros(4, 1, 0, 3) for _ in range(num_rows)]
    for step in range(data.draw(st.integers(1, 6), label="passes")):
        live = data.draw(st.sets(st.integers(0, num_rows - 1), min_size=1), label="going on")
        asked = [one for one in sorted(live) for _ in range(1 + one % 3)]
        num_read = rows.num_read(torch.tensor(asked))
        at = rows.bring_forward(torch.tensor(asked))
        assert rows.num_front == num_read
        assert [rows.front[place] for place in at.tolist()] == asked
        assert FEW * rows.num_front < len(live) or rows.num_front == len(live)
        brought = torch.randn(4, rows.num_front, 1, 4, 3)
        firsts, counts = [], []
        for question in rows.front:
            # Some go back before they go on.
            length = read[question].shape[2]
            firsts.append(data.draw(st.integers(max(0, length - 2), length)))
            counts.append(asked.count(question))
        rows.forget(firsts, counts)
        ends = [first + count for first, count in zip(firsts, counts, strict=True)]
        rows.keep(brought, max(8 * (step + 1), *ends), firsts, counts)
        for place, question in enumerate(rows.front):
            if counts[place]:
                before = read[question][:, :, : firsts[place]]
                read[question] = torch.cat([before, brought[:, place, :, : counts[place]]], dim=2)
        for question, right in enumerate(read):
            torch.testing.assert_close(rows.of_question(question), right, rtol=0, atol=0)
        assert rows.values.isfinite().all()
