"""The isolation check passes where wordings are isolated and fails where they are not."""

from functools import partial

import pytest
import torch

from self_ensemble.errors import UserError
from self_ensemble.models.aliases import ModelSource
from self_ensemble.models.load import LoadedModel
from self_ensemble.oracle.self_check import Difference, check_isolation
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.engine import Engine
from self_ensemble.prompts.parts import PromptParts

PARTS = PromptParts(tuple(range(40, 51)), ((60, 61, 62, 63), (70, 0, 72), (80, 81)), (90, 91))


@pytest.fixture
def engine(tiny_model, request) -> Engine:
    family, backend = getattr(request, "param", ("llama", "sdpa"))
    window = 4 if family == "mistral" else None
    loaded = LoadedModel(
        name=family,
        model=tiny_model(family, sliding_window=window),
        tokenizer=None,
        source=ModelSource(family, "folder", ""),
        revision="",
        device=torch.device("cpu"),
        dtype=torch.float32,
        attention=backend,
        has_chat_template=False,
        context_length=512,
    )
    return Engine(loaded, backend)


@pytest.mark.parametrize(
    "engine",
    [("llama", "sdpa"), ("llama", "eager"), ("mistral", "sdpa"), ("gemma2", "eager"),
     ("gpt2", "sdpa")],
    indirect=True,
)  # fmt: skip
@pytest.mark.parametrize("prefix", [PARTS.prefix, ()])
def test_wordings_are_isolated_in_every_family(engine, prefix):
    parts = PromptParts(prefix, PARTS.segments, PARTS.cue)
    differences = check_isolation(engine, parts, build_layout)
    assert all(difference.is_ok for difference in differences), differences
    assert [difference.num_compared for difference in differences] == [6, 6, 3, 3]
    assert differences[0].largest == 0.0


@pytest.mark.parametrize("leak", [(1, 0), (2, 0), (2, 1)])
def test_one_wording_that_reads_another_fails_every_comparison(engine, leak):
    pack = partial(build_layout, readable=(leak,))
    *isolation, cue = check_isolation(engine, PARTS, pack)
    assert [difference.is_ok for difference in isolation] == [False, False, False]
    assert cue.is_ok


def test_a_cue_that_reads_a_wording_not_at_all_fails_the_counter_check(engine):
    pack = partial(build_layout, segment_weights=(0.5, 0.5, 0.0))
    *isolation, cue = check_isolation(engine, PARTS, pack)
    assert all(difference.is_ok for difference in isolation)
    assert not cue.is_ok


def test_under_contiguous_positions_only_unmoved_wordings_are_compared(engine):
    pack = partial(build_layout, positions="contiguous")
    differences = check_isolation(engine, PARTS, pack)
    assert all(difference.is_ok for difference in differences), differences
    # The longer text moves the wordings behind it; alone, only the first stands where it stood.
    assert [difference.num_compared for difference in differences] == [6, 3, 1, 3]


def test_without_a_shared_cue_the_segments_are_compared_with_their_own(engine):
    pack = partial(build_layout, fusion_point="last_segment")
    differences = check_isolation(engine, PARTS, pack)
    assert all(difference.is_ok for difference in differences), differences
    assert [difference.num_compared for difference in differences] == [6, 6, 3]


def test_one_wording_cannot_be_checked(engine):
    with pytest.raises(UserError, match="Got 1 wording to check"):
        check_isolation(engine, PromptParts((1,), ((2,),), (3,)), build_layout)


@pytest.mark.parametrize(
    ("num_compared", "relative", "must_be_equal", "is_ok"),
    [
        (1, 0.1, True, True),
        (1, 0.3, True, False),
        (1, float("nan"), True, False),
        (0, 0.0, True, False),
        (1, 0.3, False, True),
        (1, 0.1, False, False),
        (1, float("nan"), False, False),
    ],
)
def test_a_difference_is_judged_by_its_limit(num_compared, relative, must_be_equal, is_ok):
    difference = Difference("it", num_compared, 1.0, relative, 0.2, must_be_equal)
    assert difference.is_ok is is_ok
