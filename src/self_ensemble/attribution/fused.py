"""Attention-level fusion: where the fused stream's attention goes, and answers without wordings.

One prefill serves all subsets of the wordings: each is a tail of its own, the cue and the answer's
tokens, whose row of the visibility table has the other wordings' columns cleared. Positions stay
those of the whole question, and the weights are those of a run with these wordings only.

N wordings, K segment groups, T tokens of the answer, P prefix length, L layers.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from self_ensemble.asking.layout import Streams, request_layouts, segment_weights
from self_ensemble.attribution.asked import Asked
from self_ensemble.attribution.games import Subset, Worth
from self_ensemble.attribution.kinds import MassShares, Table
from self_ensemble.errors import UserError
from self_ensemble.packing.layout import Layout
from self_ensemble.packing.subsets import reading_row, streams_of_wordings, wording_shares
from self_ensemble.passes.batch import Batch, Frontier
from self_ensemble.passes.mass import AttentionMass
from self_ensemble.passes.prefill import prefill
from self_ensemble.passes.tails import Tail, tail_logprobs

FUSED = Streams(fused=True, num_alone=0, prior=False)


def fused_worth(asked: Asked, subsets: Sequence[Subset]) -> Worth:
    """Log-probabilities of the answer's tokens under subsets of the wordings, `(T,)` each.

    Raises:
        UserError: Wordings read each other, so that a column cleared leaves what others read.
    """
    if asked.request.readable:
        raise UserError(
            "Wordings read each other, so none can be left out of what the others have read. "
            "Ask for attention mass, or leave out --manual-read-each-other.",
            "SE-0606",
        )
    layout = _layout(asked)
    # Where the cue is part of the wordings, the last of them predicts the first token.
    cue_in_wordings = asked.prefiller.settings.fusion_point == "last_segment"
    laid_out = layout
    if cue_in_wordings:
        laid_out = replace(layout, fused=None, alone=streams_of_wordings(layout))
    prefiller = asked.prefiller
    batch, frontier = prefill(prefiller.engine, [laid_out], prefiller.prefix())
    effective = {subset: asked.effective(subset) for subset in subsets}
    wanted = sorted(set(effective.values()))
    found: dict[Subset, Tensor] = {}
    if not wanted[0]:
        found[()] = _without_question(asked, batch, layout)
        wanted = wanted[1:]
    logprobs = _with_wordings(asked, batch, frontier, layout, wanted, cue_in_wordings)
    found |= dict(zip(wanted, logprobs, strict=True))
    return {subset: found[kept].double().numpy() for subset, kept in effective.items()}


def mass_shares(asked: Asked) -> tuple[MassShares, ...]:
    """Where the attention goes that predicts each of the answer's tokens, for each layer."""
    layout, prefiller = _layout(asked), asked.prefiller
    assert layout.fused is not None
    num_groups, fused = len(layout.wordings), layout.fused.group
    # Kinds: 0 the prefix, 1 .. K the segments, K + 1 the cue, K + 2 the answer.
    kinds = torch.tensor([0] * layout.num_prefix + list(layout.groups))
    mass = AttentionMass(torch.tensor([layout.fused.predictor]), kinds, num_groups + 3)
    assert fused == num_groups + 1
    batch, _ = prefill(prefiller.engine, [layout], prefiller.prefix(), watch=mass)
    fed = asked.token_ids[:-1]
    if fed:
        mass.queries = torch.arange(len(fed))
        mass.kinds = torch.cat([kinds, torch.full((len(fed),), num_groups + 2)])
        _feed(batch, fed, fused, layout.fused.position)
    weights = segment_weights(asked.request, prefiller.settings)
    shares_TKN = wording_shares(layout, weights).repeat(len(asked.token_ids), 1, 1)
    if prefiller.settings.fusion_point == "last_segment" and not asked.request.readable:
        # The first token is predicted by the last wording, which reads shared tokens as its own.
        last = max(index for index, weight in enumerate(weights) if weight > 0)
        shares_TKN[0] = wording_shares(layout, torch.eye(len(weights))[last].tolist())
    return tuple(_shares(layer_TC, shares_TKN) for layer_TC in mass.shares())


def mean_shares(layers: Sequence[MassShares]) -> MassShares:
    """The mean over layers."""
    return MassShares(
        prefix=_mean([layer.prefix for layer in layers]),
        wordings=tuple(map(_mean, zip(*(layer.wordings for layer in layers), strict=True))),
        cue=_mean([layer.cue for layer in layers]),
        earlier=_mean([layer.earlier for layer in layers]),
    )


def _mean(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


def _shares(mass_TC: Tensor, shares_TKN: Tensor) -> MassShares:
    num_groups = shares_TKN.shape[1]
    of_groups = mass_TC[:, None, 1 : num_groups + 1]
    wordings: Table = tuple(tuple(row) for row in (of_groups @ shares_TKN)[:, 0].tolist())
    cue, earlier = mass_TC[:, num_groups + 1 :].unbind(dim=1)
    return MassShares(
        tuple(mass_TC[:, 0].tolist()), wordings, tuple(cue.tolist()), tuple(earlier.tolist())
    )


def _layout(asked: Asked) -> Layout:
    prefiller = asked.prefiller
    (layout,) = request_layouts(
        [asked.request], [asked.method], FUSED, prefiller.frame, prefiller.settings,
        prefiller.engine.model,
    )  # fmt: skip
    return layout


def _without_question(asked: Asked, batch: Batch, layout: Layout) -> Tensor:
    """The answer behind the prompt without the question, `(T,)`."""
    parts = asked.prefiller.frame.parts(asked.request.wordings)
    row = reading_row(layout, [0.0] * asked.num_wordings)
    tokens = parts.without_question + asked.token_ids[:-1]
    return tail_logprobs(batch, [Tail(tokens, len(parts.prefix), row)], asked.token_ids)[0]


def _with_wordings(
    asked: Asked, batch: Batch, frontier: Frontier, layout: Layout, subsets: Sequence[Subset],
    cue_in_wordings: bool,
) -> Tensor:  # fmt: skip
    """The answer under subsets of the wordings, none of them empty, `(S, T)`."""
    if not subsets:
        return torch.zeros(0, len(asked.token_ids))
    rows = [reading_row(layout, asked.fused_weights(subset)) for subset in subsets]
    answer, fed = asked.token_ids, asked.token_ids[:-1]
    assert layout.fused is not None
    if not cue_in_wordings:
        cue = asked.prefiller.frame.parts(asked.request.wordings).cue
        start = layout.fused.position - len(cue)
        return tail_logprobs(batch, [Tail(cue + fed, start, row) for row in rows], answer)
    first = frontier.logits_MV.log_softmax(dim=-1)[:, answer[0]].cpu()
    last = torch.tensor([subset[-1] for subset in subsets])
    # Behind the longest wording that has a weight.
    start = layout.fused.position
    rest = tail_logprobs(batch, [Tail(fed, start, row) for row in rows], answer[1:])
    return torch.cat([first[last][:, None], rest], dim=1)


def _feed(batch: Batch, token_ids: Sequence[int], group: int, position: int) -> None:
    count = len(token_ids)
    batch.feed(
        torch.tensor(token_ids), torch.zeros(count, dtype=torch.long),
        torch.full((count,), group), position + torch.arange(count), [],
    )  # fmt: skip
    batch.engine.counters.prompt_tokens += count
