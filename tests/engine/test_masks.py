"""Masks of random layouts, entry by entry."""

import pytest
import torch
from asking import PREFIX, QUESTIONS, ensemble, requests
from hypothesis import given
from hypothesis import strategies as st
from packed_layouts import attention_bias, owners, packed_batches

from self_ensemble.packing.visibility import NEVER, FlatTokens, dense_bias

PADDING = 2


def _packed(variant, questions):
    layouts = [variant.layout(parts) for parts in questions]
    return layouts, len(questions[0].prefix), torch.stack([one.bias_GG for one in layouts])


def _row_masks(variant, questions):
    """The dense mask of a prefill whose rows are padded on queries and keys."""
    layouts, prefix_length, bias_BGG = _packed(variant, questions)
    num_queries = max(len(one.token_ids) for one in layouts) + PADDING
    num_keys = prefix_length + num_queries
    padding = layouts[0].padding_group
    query_group = torch.full((len(layouts), num_queries), padding)
    key_group = torch.full((len(layouts), num_keys), padding)
    order = torch.full((len(layouts), num_queries), num_keys)
    for row, layout in enumerate(layouts):
        size = len(layout.token_ids)
        query_group[row, :size] = torch.tensor(layout.groups)
        key_group[row, :prefix_length] = 0
        key_group[row, prefix_length : prefix_length + size] = torch.tensor(layout.groups)
        order[row, :size] = prefix_length + torch.arange(size)
    return layouts, prefix_length, dense_bias(bias_BGG, query_group, key_group, order)


@given(packed_batches())
def test_every_entry_of_the_dense_mask_is_what_the_owners_say(batch):
    variant, questions = batch
    layouts, prefix_length, mask = _row_masks(variant, questions)
    for row, parts in enumerate(questions):
        tokens = owners(variant, parts)
        size = len(tokens)
        expected = torch.full((size, size), NEVER)
        for q in range(size):
            for k in range(q + 1):
                expected[q, k] = attention_bias(variant, tokens[q], tokens[k])
        num_queries = len(layouts[row].token_ids)
        assert torch.equal(mask[row, :num_queries, :size], expected[prefix_length:])


@given(packed_batches())
def test_no_row_of_the_mask_is_empty_and_nobody_reads_padding(batch):
    variant, questions = batch
    layouts, prefix_length, mask = _row_masks(variant, questions)
    assert (mask > NEVER).any(dim=-1).all()
    for row, layout in enumerate(layouts):
        assert (mask[row, :, prefix_length + len(layout.token_ids) :] == NEVER).all()


@given(packed_batches(), st.sampled_from([None, 1, 3]))
def test_the_flat_row_reads_what_the_dense_rows_read(batch, window):
    variant, questions = batch
    layouts, prefix_length, dense = _row_masks(variant, questions)
    _, _, bias_BGG = _packed(variant, questions)
    padding = layouts[0].padding_group
    rows = [row for row, one in enumerate(layouts) for _ in one.token_ids]
    groups = [group for one in layouts for group in one.groups]
    positions = [position for one in layouts for position in one.positions]
    num_tokens = len(rows)
    pad = [0] * PADDING
    flat = FlatTokens(
        bias_BGG,
        torch.tensor(rows + pad),
        torch.tensor(groups + [padding] * PADDING),
        torch.tensor(positions + pad),
        prefix_length,
    )
    mask_mod, score_mod = flat.mods(window, softcap=None)
    q = torch.arange(num_tokens + PADDING)[:, None]
    k = torch.arange(prefix_length + num_tokens + PADDING)
    zero = torch.zeros((), dtype=torch.long)
    seen = mask_mod(zero, zero, q, k)
    bias = score_mod(torch.zeros(seen.shape), zero, zero, q, k)

    # Flex wants at least one key for every query, and none may be padding.
    assert seen.any(dim=-1).all()
    assert not seen[:, prefix_length + num_tokens :].any()
    start = 0
    for row, layout in enumerate(layouts):
        size = len(layout.token_ids)
        mine = slice(start, start + size)
        expected = torch.full((size, len(k)), NEVER)
        expected[:, :prefix_length] = dense[row, :size, :prefix_length]
        keys = slice(prefix_length + start, prefix_length + start + size)
        expected[:, keys] = dense[row, :size, prefix_length : prefix_length + size]
        if window is not None:
            key_positions = torch.tensor([*range(prefix_length), *positions, *pad])
            distance = torch.tensor(layout.positions)[:, None] - key_positions
            expected = expected.where(distance < window, NEVER)
        assert torch.equal(bias[mine].where(seen[mine], NEVER), expected)
        start += size


@pytest.mark.parametrize("prefix", [PREFIX, ""])
@pytest.mark.parametrize(("family", "window"), [("llama", None), ("mistral", 4), ("gemma3", 4)])
def test_in_a_run_no_row_is_empty_and_no_slot_is_read_before_it_is_written(
    loaded, family, window, prefix
):
    # Rows of a batch have prompts of different lengths and answers that end at different steps.
    asked = ensemble(loaded(family, sliding_window=window), prefix=prefix, stop=("a", "e"))
    copied = asked.prefix().in_rows(len(QUESTIONS), asked.model.device)
    used = torch.full((len(QUESTIONS),), len(asked.frame.prefix) if copied else 0)
    num_masks = 0

    def look(module, arguments, options, output):
        nonlocal num_masks
        packed = options["packed"]
        used.add_(torch.bincount(packed.rows_T, minlength=len(used)))
        for kind in packed.windows:
            mask = packed.mask(kind, output.logits.device, torch.float32)[:, 0]
            assert (mask > NEVER).any(dim=-1).all()
            for row, length in enumerate(used.tolist()):
                assert (mask[row, :, length:] == NEVER).all()
            num_masks += 1

    asked.model.model.register_forward_hook(look, with_kwargs=True)
    asked.run(requests())
    assert num_masks > len(QUESTIONS)


def test_the_softcap_bends_the_score_before_the_weight_is_added():
    flat = FlatTokens(torch.full((1, 2, 2), -1.0), *[torch.zeros(1, dtype=torch.long)] * 3, 0)
    zero = torch.zeros((), dtype=torch.long)
    _, score_mod = flat.mods(None, softcap=2.0)
    score = score_mod(torch.tensor(3.0), zero, zero, zero, zero)
    assert score == 2.0 * torch.tanh(torch.tensor(1.5)) - 1.0
