"""How much of their attention tokens give to which kinds of keys.

The backends do not tell attention weights, so those of the watched queries are computed a second
time, layer by layer, and summed by kind before the next layer comes.

Q watched queries, T tokens of a pass, P prefix length, S slots, K keys in all, C kinds of keys,
Hq / Hkv heads, D head dim.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.packing.visibility import NEVER
from self_ensemble.passes.packed_pass import PackedPass

SCORES_AT_ONCE = 1 << 22  # values, 16 MB


@dataclass(slots=True)
class AttentionMass:
    """Watches passes of a batch of one question.

    Attributes:
        queries: Places of the watched queries in the pass that comes, `(Q,)`.
        kinds: Kind of each key, `(K,)`: the prefix, then all tokens in the order in which they
            were fed. Keys beyond are nobody's and may not be read.
        num_kinds: C.
        layers: Mean over the heads of each layer, `(Q, C)` for each pass so far. Where a model has
            attention sinks, their share is missing, and a row sums to less than 1.
    """

    queries: Tensor
    kinds: Tensor
    num_kinds: int
    layers: dict[int, list[Tensor]] = field(default_factory=dict)

    def __call__(
        self, packed: PackedPass, query: Tensor, key: Tensor, layer: int, scale: float,
        window: int | None, softcap: float | None, sinks_H: Tensor | None,
    ) -> None:  # fmt: skip
        """See what a layer attends to; queries `(1, Hq, T, D)`, keys `(1, Hkv, S, D)`."""
        keys, bias = _keys_and_bias(packed, key, layer, window, self.queries)
        num_heads = query.shape[1]
        at_once = max(1, SCORES_AT_ONCE // (num_heads * keys.shape[1]))
        queries = query[0, :, self.queries.to(query.device)]
        found = [
            _mean_weights(some, keys, added, scale, softcap, sinks_H)
            for some, added in zip(
                torch.split(queries, at_once, dim=1), torch.split(bias, at_once), strict=True
            )
        ]
        weights_QK = torch.cat(found).cpu()[:, : len(self.kinds)]
        mass_QC = torch.zeros(len(self.queries), self.num_kinds)
        mass_QC.index_add_(1, self.kinds[: weights_QK.shape[1]], weights_QK)
        self.layers.setdefault(layer, []).append(mass_QC)

    def shares(self) -> Tensor:
        """Shares of all watched queries, `(L, Q of all passes, C)`."""
        return torch.stack([torch.cat(self.layers[layer]) for layer in sorted(self.layers)])


def _keys_and_bias(
    packed: PackedPass, key: Tensor, layer: int, window: int | None, queries: Tensor
) -> tuple[Tensor, Tensor]:
    """All keys that a question may read, `(Hkv, K, D)`, and what is added to scores, `(Q, K)`."""
    device, places = key.device, queries.to(key.device)
    if packed.flat is not None:
        mask_mod, score_mod = packed.flat.to(device).mods(window, None)
        every = torch.arange(key.shape[2], device=device)
        none = torch.zeros((), dtype=torch.long, device=device)
        q_idx, kv_idx = places[:, None], every[None]
        bias = score_mod(torch.zeros((), device=device), none, none, q_idx, kv_idx)
        return key[0], bias.where(mask_mod(none, none, q_idx, kv_idx), NEVER)
    keys = key[0]
    bias = packed.mask(window, device, torch.float32)[0, 0, places]
    if packed.prefix:
        prefix = packed.prefix[layer][0].transpose(0, 1).to(keys)
        hidden = packed.prefix_mask(window, device, torch.float32)
        none_hidden = bias.new_zeros(len(places), prefix.shape[1])
        keys = torch.cat([prefix, keys], dim=1)
        bias = torch.cat([none_hidden if hidden is None else hidden[0, 0, places], bias], dim=1)
    return keys, bias


def _mean_weights(
    query: Tensor, keys: Tensor, bias: Tensor, scale: float, softcap: float | None,
    sinks_H: Tensor | None,
) -> Tensor:  # fmt: skip
    """Attention weights of queries `(Hq, Q, D)`, mean over the heads, float32 `(Q, K)`."""
    num_heads, num_queries, _ = query.shape
    grouped = query.float().reshape(keys.shape[0], -1, num_queries, query.shape[-1])
    scores = (grouped @ keys.float()[:, None].transpose(-1, -2)).flatten(0, 1) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + bias
    if sinks_H is not None:
        sinks = sinks_H.to(scores).view(num_heads, 1, 1).expand(-1, num_queries, 1)
        scores = torch.cat([scores, sinks], dim=-1)
    weights: Tensor = scores.softmax(dim=-1)[..., : keys.shape[1]]
    return weights.mean(dim=0)
