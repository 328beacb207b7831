"""FLOPs and bytes by formula are those that are computed and read."""

import pytest
import torch
from test_fixed_work import answered
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.line_up import RIVALS, make_rivals
from benchmarks.random_models import SIZES, random_model
from benchmarks.roofline import (
    ModelSizes,
    Pass,
    floor_seconds,
    num_bytes,
    num_flops,
    packed_passes,
    row_passes,
)
from benchmarks.work import FUSED, PRIOR, Walk, model_as_it_was
from self_ensemble.packing.layout import build_layout
from self_ensemble.packing.visibility import NEVER, read_bias
from self_ensemble.prompts.parts import PromptParts

PARTS = PromptParts(tuple(range(7)), ((1, 2, 3), (4, 5), (6, 7, 8, 9)), (10, 11))
ALIKE = PromptParts(tuple(range(7)), ((1, 2, 3), (1, 2), (1, 5, 6, 7), (8, 2)), (10, 11))


def counted(action) -> int:
    """FLOPs of matrix products that PyTorch's own counter sees."""
    with FlopCounterMode(display=False) as counter:
        action()
    flops = counter.get_flop_counts()["Global"]
    return sum(
        number
        for operator, number in flops.items()
        if str(operator).rpartition(".")[2] in ("mm", "addmm", "bmm")
    )


@pytest.mark.usefixtures("plain_layers")
@pytest.mark.parametrize("name", [*RIVALS, "origin", "contrast"])
def test_needed_matrix_flops_are_those_that_a_rival_computes(work, name):
    (rival,) = make_rivals(work, [name], published_questions=2)
    with model_as_it_was(work.loaded):
        walks = answered(rival, work.max_new_tokens)

        def run():
            if rival.encode_prefix is not None:
                rival.encode_prefix()
            answered(rival, work.max_new_tokens)

        computed = counted(run)
    sizes = ModelSizes.of(work.loaded.model)
    needed = [one._replace(pairs=0) for one in rival.needed(walks).all]
    assert sum(num_flops(sizes, one) for one in needed) == computed


def test_flops_of_a_full_square_of_pairs_are_those_of_eager_attention(random_tiny):
    sizes, length = ModelSizes.of(random_tiny.model), 9
    ids = torch.arange(length)[None]
    with model_as_it_was(random_tiny), torch.inference_mode():
        # The counter does not know the fused kernel of the CPU.
        random_tiny.model.set_attn_implementation("eager")
        computed = counted(lambda: random_tiny.model(ids, use_cache=False, logits_to_keep=1))
    assert computed == num_flops(sizes, Pass(length, 1, length * length, 0))


@pytest.mark.parametrize("name", ["tiny", "smollm2_135m"])
def test_weight_bytes_are_those_of_the_matrices(name):
    model = random_model(name, device="cpu", dtype="bfloat16").model
    sizes = ModelSizes.of(model)
    state = model.state_dict()
    matrices = sum(
        tensor.nbytes
        for key, tensor in state.items()
        if "norm" not in key and "embed" not in key and "lm_head" not in key
    )
    assert num_bytes(sizes, Pass(5, 0, 0, 0)) == matrices
    assert num_bytes(sizes, Pass(5, 1, 0, 0)) == matrices + state["lm_head.weight"].nbytes
    wanted = SIZES[name]
    per_key = 2 * wanted.layers * wanted.kv_heads * wanted.head_dim * 2
    assert num_bytes(sizes, Pass(5, 0, 0, 3)) - matrices == 3 * per_key


def visible_pairs(parts: PromptParts, alone: tuple[int, ...], *, fused: bool) -> int:
    """Pairs of a token behind the prefix and a token that it may read, one by one."""
    layout = build_layout(parts, alone=alone, fused=fused, share=True)
    groups = torch.tensor([0] * len(parts.prefix) + list(layout.groups))
    order = torch.arange(len(groups))
    bias = read_bias(
        layout.bias_GG[None], torch.tensor(0), groups[:, None], groups[None, :],
        order[:, None], order[None, :],
    )  # fmt: skip
    return int((bias[len(parts.prefix) :] > NEVER).sum())


@pytest.mark.parametrize(("parts", "num_tokens"), [(PARTS, 9), (ALIKE, 3 + 3 + 2)])
@pytest.mark.parametrize(
    ("streams", "alone", "fused"),
    [((FUSED,), (), True), ((FUSED, 0, 1, 2), (0, 1, 2), True)],
)
def test_prefill_pairs_are_those_of_the_visibility_table(parts, num_tokens, streams, alone, fused):
    walks = tuple(Walk(stream, (1,)) for stream in streams)
    prefill, decode = packed_passes([parts], [walks])
    assert prefill.pairs == visible_pairs(parts, alone, fused=fused)
    assert prefill.tokens == num_tokens + 2 * len(streams)
    assert prefill.logit_rows == len(streams)
    assert decode == []


def test_a_step_reads_what_is_visible_and_shares_equal_pasts():
    walks = (
        Walk(0, (5, 6, 7)), Walk(0, (5, 6, 8)), Walk(0, (5, 9, 9)), Walk(FUSED, (5,)),
        Walk(PRIOR, (5, 1)),
    )  # fmt: skip
    prefill, (one, two) = packed_passes([PARTS], [walks])
    assert prefill.tokens == 9 + 3 * 2
    # Wording 0 alone (7 + 3 + 2 + 1 tokens) and the prompt without the question (7 + 2 + 1).
    assert one == Pass(tokens=2, logit_rows=2, pairs=13 + 10, cached_keys=7 + 3 + 2 * 2)
    assert two == Pass(tokens=2, logit_rows=2, pairs=2 * 14, cached_keys=7 + 3 + 3)


def test_original_wording_alone_needs_no_other_wording():
    prefill, _ = packed_passes([PARTS], [(Walk(0, (1,)),)])
    assert prefill == Pass(tokens=3 + 2, logit_rows=1, pairs=8 + 9 + 10 + 11 + 12, cached_keys=7)


def test_rows_that_have_ended_need_no_steps():
    prefill, (one, two) = row_passes([4, 6], [Walk(0, (1, 2, 3)), Walk(0, (1,))])
    assert prefill == Pass(tokens=10, logit_rows=2, pairs=10 + 21, cached_keys=0)
    assert one == Pass(tokens=1, logit_rows=1, pairs=5, cached_keys=4)
    assert two == Pass(tokens=1, logit_rows=1, pairs=6, cached_keys=5)


def test_the_floor_is_the_slower_of_computing_and_reading_in_each_pass():
    sizes = ModelSizes(
        body=100, head=10, num_layers=1, num_heads=1, num_kv_heads=1, head_dim=1, value_bytes=4
    )
    computing, reading = Pass(50, 0, 0, 0), Pass(1, 1, 0, 0)
    # 10,000 FLOPs against 400 bytes; 220 FLOPs against 440 bytes.
    seconds = floor_seconds(sizes, [computing, reading], flops_per_s=100.0, bytes_per_s=10.0)
    assert seconds == 100.0 + 44.0
