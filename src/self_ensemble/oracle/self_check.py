"""Proofs on the user's own machine: wordings are isolated, FlexAttention computes the right thing.

Keys and values are compared and not answers, because an answer can hide a small leak. A difference
is measured against what changes in a wording that was changed itself: rounding stays far below
that, and what leaks from it does not.

L layers, T tokens of one layout, Hkv key-value heads, D head dim.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from self_ensemble.errors import UserError
from self_ensemble.models.aliases import ModelSource
from self_ensemble.models.load import LoadedModel
from self_ensemble.oracle.reference import eager_attention
from self_ensemble.packing.layout import Layout, build_layout
from self_ensemble.passes.batch import Batch, Frontier
from self_ensemble.passes.engine import Engine
from self_ensemble.passes.prefill import Prefix, encode_prefix, prefill
from self_ensemble.prompts.parts import PromptParts

LARGE_BATCH = 1024
# Measured on SmolLM2-135M: rounding 3e-6 (float32), 2e-3 (float16), 2e-2 (bfloat16); a leak 0.6.
LIMITS = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two computations lie apart that should give the same, or must not.

    Attributes:
        what: What was compared.
        num_compared: Number of comparisons; the rest of this is about the worst of them.
        largest: Absolute difference.
        relative: Difference in proportion to what should make one.
        limit: Bound of `relative`.
        must_be_equal: Whether `relative` has to stay within the limit or to lie above it.
    """

    what: str
    num_compared: int
    largest: float
    relative: float
    limit: float
    must_be_equal: bool = True

    @property
    def is_ok(self) -> bool:
        # No comparison proves nothing, and nan is on neither side.
        within = self.relative <= self.limit if self.must_be_equal else self.relative > self.limit
        return self.num_compared > 0 and within


def check_isolation(
    engine: Engine, parts: PromptParts, pack: Callable[[PromptParts], Layout]
) -> list[Difference]:
    """Change every wording in turn and look at the keys and values of the others.

    Under contiguous positions a longer wording moves all that follow. Only wordings that start
    at the same position on both sides are compared.

    Args:
        engine: The model with its attention backend.
        parts: A question in at least two wordings.
        pack: Lays it out; with the fused stream.

    Raises:
        UserError: There is only one wording.
    """
    num_wordings = len(parts.segments)
    if num_wordings < 2:
        raise UserError("Got 1 wording to check. Isolation needs 2 or more.", "SE-0010")
    prefix = encode_prefix(engine, parts.prefix)
    base = _stored(engine, prefix, pack(parts))
    tail = num_wordings + 1
    own_changes: list[Tensor] = []
    same: list[_Gap] = []
    longer: list[_Gap] = []
    cue: list[_Gap] = []
    for changed, segment in enumerate(parts.segments):
        text = tuple(token - 1 if token else 1 for token in segment)
        one = _stored(engine, prefix, pack(_with_segment(parts, changed, text)))
        two = _stored(engine, prefix, pack(_with_segment(parts, changed, text + segment[:1])))
        own_change = _differences(base.of(changed + 1), one.of(changed + 1))
        own_changes.append(own_change)
        for group in set(range(1, tail)) - {changed + 1}:
            same.append(_gap(base.of(group), one.of(group), own_change))
            if base.positions(group) == two.positions(group):
                longer.append(_gap(base.of(group), two.of(group), own_change))
        if tail in base.layout.groups:
            cue.append(_gap(base.of(tail), one.of(tail), own_change))
    limit = LIMITS[engine.model.dtype]
    return [
        _worst("one wording replaced by another text of the same length", same, limit),
        _worst("one wording replaced by a longer text", longer, limit),
        _worst("each wording asked alone, by the model's own attention",
               _gaps_alone(engine.model, parts.prefix, base, own_changes), limit),
        *_cue_difference(cue),
    ]  # fmt: skip


def flex_agreement(device: torch.device) -> Difference:
    """Compare a compiled FlexAttention prefill with sdpa's on a tiny random model.

    The model has three query heads for one key-value head; the question has a prefix, weights and
    wordings of unequal length.

    Raises:
        UserError: FlexAttention does not compile here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=64, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=3, num_key_value_heads=1, initializer_range=0.3,
            )
        )  # fmt: skip
    loaded = LoadedModel(
        name="tiny",
        model=model.eval().requires_grad_(False).to(device),
        tokenizer=None,
        source=ModelSource("tiny", "folder", ""),
        revision="",
        device=device,
        dtype=torch.float32,
        attention="sdpa",
        has_chat_template=False,
        context_length=None,
    )
    parts = PromptParts(tuple(range(1, 8)), (tuple(range(9, 14)), tuple(range(20, 29))), (30, 31))
    layout = build_layout(parts, segment_weights=(0.25, 0.75))
    logits = []
    for backend in ("sdpa", "flex"):
        engine = Engine(loaded, backend)
        prefix = encode_prefix(engine, parts.prefix)
        logits.append(_prefilled(engine, prefix, layout)[1].logits_MV)
    largest = (logits[0] - logits[1]).abs().max().item()
    relative = largest / logits[0].abs().max().item()
    return Difference("FlexAttention and sdpa", 1, largest, relative, LIMITS[torch.float32])


@dataclass(frozen=True, slots=True)
class _Stored:
    """Keys, then values, of every layer for the tokens of a layout: 2L times `(T, Hkv, D)`."""

    layout: Layout
    tensors: list[Tensor]

    def columns(self, group: int) -> list[int]:
        return [index for index, owner in enumerate(self.layout.groups) if owner == group]

    def of(self, group: int) -> list[Tensor]:
        columns = self.columns(group)
        return [tensor[columns] for tensor in self.tensors]

    def positions(self, group: int) -> list[int]:
        return [self.layout.positions[column] for column in self.columns(group)]


class _Gap(NamedTuple):
    largest: float
    relative: float


def _prefilled(engine: Engine, prefix: Prefix, layout: Layout) -> tuple[Batch, Frontier]:
    """One question as in a large batch, where the prefix is held once if it can be."""
    in_rows = prefix.in_rows(LARGE_BATCH, engine.model.device)
    return prefill(engine, [layout], prefix, in_rows=in_rows)


def _stored(engine: Engine, prefix: Prefix, layout: Layout) -> _Stored:
    batch, _ = _prefilled(engine, prefix, layout)
    cache = batch.row_cache
    used = slice(cache.num_prefix_slots, cache.num_prefix_slots + len(layout.token_ids))
    return _Stored(layout, [tensor[0, used] for tensor in cache.keys + cache.values])


@torch.inference_mode()
def _gaps_alone(
    loaded: LoadedModel, prefix: Sequence[int], base: _Stored, own_changes: Sequence[Tensor]
) -> list[_Gap]:
    gaps = []
    for group, own_change in enumerate(own_changes, start=1):
        if base.positions(group)[0] != len(prefix):
            continue
        segment = [base.layout.token_ids[column] for column in base.columns(group)]
        # Without the model's configuration, so that layers with a window keep every token.
        cache = DynamicCache()
        ids = torch.tensor([[*prefix, *segment]], device=loaded.device)
        with eager_attention(loaded):
            loaded.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        tensors = [layer.keys for layer in cache.layers] + [layer.values for layer in cache.layers]
        alone = [tensor[0].transpose(0, 1)[len(prefix) :] for tensor in tensors]
        gaps.append(_gap(base.of(group), alone, own_change))
    return gaps


def _with_segment(parts: PromptParts, index: int, segment: tuple[int, ...]) -> PromptParts:
    segments = (*parts.segments[:index], segment, *parts.segments[index + 1 :])
    return replace(parts, segments=segments)


def _differences(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Largest absolute difference of each of the tensors, `(2L,)` float32 on the CPU."""
    pairs = zip(one, other, strict=True)
    return torch.stack([(a.float() - b.float()).abs().max().cpu() for a, b in pairs])


def _gap(one: Sequence[Tensor], other: Sequence[Tensor], own_change: Tensor) -> _Gap:
    differences = _differences(one, other)
    return _Gap(differences.max().item(), (differences / own_change).max().item())


def _worst(what: str, gaps: Sequence[_Gap], limit: float) -> Difference:
    # torch's max lets nan through, Python's does not.
    largest, relative = torch.tensor(gaps).reshape(-1, 2).max(dim=0).values.tolist()
    return Difference(what, len(gaps), largest, relative, limit)


def _cue_difference(gaps: Sequence[_Gap]) -> list[Difference]:
    """The counter-check: a comparison that sees no change anywhere proves nothing."""
    if not gaps:
        return []
    what = "the cue, which must change with every wording"
    # torch's argmin finds nan before all numbers, Python's does not.
    least = gaps[int(torch.tensor([gap.relative for gap in gaps]).argmin())]
    return [Difference(what, len(gaps), *least, 0.0, must_be_equal=False)]
