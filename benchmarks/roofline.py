"""The least time that a job can take on this machine: its roofline.

    FLOPs of a pass = 2 x body x tokens + 2 x head x logit_rows + 4 x layers x Hq x D x pairs
    bytes of a pass = body + head (where there are logits) + cached_keys x 2 x layers x Hkv x D,
                      each times the bytes of a value
    time of a job   = sum over passes of max(FLOPs / ceiling, bytes / ceiling)

body: parameters of the layers' matrices; head: of the output matrix, which works only where a
token is chosen. pairs: a query and a key that it may read (4 = two products of 2 FLOPs).
cached_keys: keys of earlier passes, each read once a pass; the prefix once for the whole batch.
Keys count in the model's type, though on a CPU ours keeps those of 16-bit models in float32.
Not counted: activations, norms, the embedding, what is written. So this is a lower bound. Dense
models only: of a mixture of experts each token uses a part of the body.

The ceilings are measured (`ceilings.py`), not looked up. After Williams et al., "Roofline: an
insightful visual performance model", 2009.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from benchmarks.work import FUSED, PRIOR, Walk
from self_ensemble.prompts.parts import PromptParts


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """What of a model the formulas need; see the module's text.

    Attributes:
        body: Parameters of the layers' matrices.
        head: Parameters of the output matrix.
        num_layers: Layers.
        num_heads: Query heads, Hq.
        num_kv_heads: Key-value heads, Hkv.
        head_dim: Size of a head, D.
        value_bytes: Bytes of a weight.
    """

    body: int
    head: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    value_bytes: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> "ModelSizes":
        """Read them off a model."""
        config = model.config
        head = model.get_output_embeddings().weight
        embeddings = {
            id(module.weight)
            for module in model.modules()
            if isinstance(module, torch.nn.Embedding)
        }
        matrices = [
            parameter
            for parameter in model.parameters()
            if parameter.ndim == 2 and id(parameter) not in embeddings | {id(head)}
        ]
        heads = config.num_attention_heads
        return cls(
            body=sum(matrix.numel() for matrix in matrices),
            head=head.numel(),
            num_layers=config.num_hidden_layers,
            num_heads=heads,
            num_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            value_bytes=head.element_size(),
        )


class Pass(NamedTuple):
    """What one forward pass must do."""

    tokens: int
    logit_rows: int
    pairs: int
    cached_keys: int


@dataclass(frozen=True, slots=True)
class Needed:
    """The passes that a job needs.

    Attributes:
        prefix: Encoding the shared prefix, once per run; empty where nothing is shared.
        prefill: One pass per batch.
        decode: The passes after the first token.
    """

    prefix: tuple[Pass, ...]
    prefill: tuple[Pass, ...]
    decode: tuple[Pass, ...]

    @property
    def all(self) -> tuple[Pass, ...]:
        return self.prefix + self.prefill + self.decode


def num_flops(sizes: ModelSizes, work: Pass) -> float:
    """FLOPs of a pass."""
    attention = 4.0 * sizes.num_layers * sizes.num_heads * sizes.head_dim * work.pairs
    return 2.0 * sizes.body * work.tokens + 2.0 * sizes.head * work.logit_rows + attention


def num_bytes(sizes: ModelSizes, work: Pass) -> float:
    """Bytes that a pass must read."""
    head = sizes.head if work.logit_rows else 0
    per_key = 2 * sizes.num_layers * sizes.num_kv_heads * sizes.head_dim
    return float(sizes.value_bytes * (sizes.body + head + work.cached_keys * per_key))


def floor_seconds(
    sizes: ModelSizes, passes: Iterable[Pass], flops_per_s: float, bytes_per_s: float
) -> float:
    """The roofline's time for passes that follow each other, in seconds."""
    return sum(
        max(num_flops(sizes, one) / flops_per_s, num_bytes(sizes, one) / bytes_per_s)
        for one in passes
    )


def prefix_pass(length: int) -> tuple[Pass, ...]:
    """Encoding a prefix of `length` tokens, of which no logits are needed."""
    return (Pass(length, 0, _causal(length), 0),) if length else ()


def packed_passes(
    parts: Sequence[PromptParts], walks: Sequence[Sequence[Walk]]
) -> tuple[Pass, list[Pass]]:
    """Prefill and decode steps of one batch whose prefix is in the cache, per question once.

    Args:
        parts: The questions of the batch.
        walks: For each question its answers. Answers of one stream share the tokens up to which
            they are equal.

    Returns:
        The prefill, and one pass per step.
    """
    prefills = [
        _packed_prefill(one, {walk.stream for walk in answers})
        for one, answers in zip(parts, walks, strict=True)
    ]
    longest = max(len(walk.token_ids) for answers in walks for walk in answers)
    prefix = len(parts[0].prefix)
    decode = []
    for step in range(1, longest):
        steps = [
            _packed_step(one, answers, step) for one, answers in zip(parts, walks, strict=True)
        ]
        decode.append(_together(steps, shared_keys=prefix))
    return _together(prefills, shared_keys=prefix), decode


def row_passes(
    lengths: Sequence[int], walks: Sequence[Walk]
) -> tuple[Pass, list[Pass]]:  # fmt: skip
    """Prefill and decode steps of rows that share nothing, padding left out.

    Args:
        lengths: Tokens of each row's prompt.
        walks: Each row's answer.
    """
    prefills = [Pass(length, 1, _causal(length), 0) for length in lengths]
    decode = []
    for step in range(1, max(len(walk.token_ids) for walk in walks)):
        live = [
            length
            for length, walk in zip(lengths, walks, strict=True)
            if len(walk.token_ids) > step
        ]
        steps = [Pass(1, 1, length + step, length + step - 1) for length in live]
        decode.append(_together(steps))
    return _together(prefills), decode


def published_passes(prompt_lengths: Sequence[int], num_tokens: int) -> list[Pass]:
    """The published loop on one question: the first pass, then one per further token."""
    total, inside = sum(prompt_lengths), sum(map(_causal, prompt_lengths))
    return [
        Pass(total + step, 1, inside + sum(total + n for n in range(1, step + 1)), 0)
        for step in range(num_tokens)
    ]


def _packed_prefill(parts: PromptParts, streams: set[int]) -> Pass:
    prefix = len(parts.prefix)
    depths = _depths(parts, streams)
    tokens = len(depths)
    pairs = len(depths) * prefix + sum(depths)
    for stream in streams:
        tail = _tail(parts, stream)
        tokens += tail
        pairs += tail * (prefix + _context(parts, stream)) + _causal(tail)
    return Pass(tokens, len(streams), pairs, 0)


def _packed_step(parts: PromptParts, walks: Sequence[Walk], step: int) -> Pass:
    """One step of a question; the prefix's keys are counted by the batch."""
    nodes = {(w.stream, w.token_ids[:step]) for w in walks if len(w.token_ids) > step}
    streams = {stream for stream, _ in nodes}
    prefix = len(parts.prefix)
    pairs = sum(
        prefix + _context(parts, stream) + _tail(parts, stream) + step for stream, _ in nodes
    )
    tails = sum(_tail(parts, stream) + step - 1 for stream in streams)
    return Pass(len(nodes), len(nodes), pairs, len(_depths(parts, streams)) + tails)


def _depths(parts: PromptParts, streams: set[int]) -> list[int]:
    """Place in its wording, from 1, of every token that some stream reads.

    Tokens that wordings begin with alike have the same keys and values, and count once.
    """
    read = [
        segment
        for index, segment in enumerate(parts.segments)
        if FUSED in streams or index in streams
    ]
    return [len(start) for start in {one[:n] for one in read for n in range(1, len(one) + 1)}]


def _context(parts: PromptParts, stream: int) -> int:
    """Tokens of the wordings that a stream reads."""
    return len(_depths(parts, {stream}))


def _tail(parts: PromptParts, stream: int) -> int:
    """Tokens between the wordings, or the prefix, and what a stream generates."""
    return len(parts.without_question if stream == PRIOR else parts.cue)


def _together(passes: Sequence[Pass], shared_keys: int = 0) -> Pass:
    tokens, logit_rows, pairs, cached_keys = (sum(column) for column in zip(*passes, strict=True))
    return Pass(tokens, logit_rows, pairs, cached_keys + shared_keys)


def _causal(length: int) -> int:
    """Pairs of a query and a key in `length` tokens that read each other causally."""
    return length * (length + 1) // 2
