"""Forward passes over a batch of packed questions, and the frontier that they advance.

B questions, T tokens of one pass, R most tokens of one question, S slots, G groups, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from self_ensemble.errors import UserError
from self_ensemble.packing.visibility import NEVER, dense_bias
from self_ensemble.passes.cache import RowCache, rank_within
from self_ensemble.passes.current_pass import Pass, check_wanted, going_on, one_at_a_time
from self_ensemble.passes.engine import Engine
from self_ensemble.passes.flat_row import flat_row
from self_ensemble.passes.graph_rows import GraphRows
from self_ensemble.passes.kept_logits import KeptLogits
from self_ensemble.passes.lengths import rounded_length
from self_ensemble.passes.memory import check_fits, pass_bytes, scores_bytes
from self_ensemble.passes.packed_pass import PackedPass, Watch


@dataclass(frozen=True, slots=True)
class Frontier:
    """The newest token of every distinct continuation: M nodes, sorted by question.

    Attributes:
        rows_M: Question of each node.
        groups_M: Group that a token generated after the node belongs to.
        positions_M: Position id of a token generated after the node.
        logits_MV: Logits of the token after the node, float32, on the model's device. The next
            `advance` may overwrite them.
    """

    rows_M: Tensor
    groups_M: Tensor
    positions_M: Tensor
    logits_MV: Tensor

    def logits_of(self, nodes: Tensor) -> Tensor:
        """A copy of the logits of some nodes, `(*nodes.shape, V)`."""
        return rows_of(self.logits_MV, nodes)


def rows_of(logits_MV: Tensor, nodes: Tensor) -> Tensor:
    """A copy of some rows, `(*nodes.shape, V)`."""
    # Indexing would copy value by value on a CPU; this copies rows.
    chosen = logits_MV.index_select(0, nodes.flatten().to(logits_MV.device))
    return chosen.view(*nodes.shape, -1)


@dataclass(slots=True)
class Batch:
    """The state of a batch: its cache, what lies in each slot, and the visibility tables.

    Attributes:
        reads_rows: Whether attention has read keys and values as they lie in the cache.
        kept_logits: Where large logits of decode steps lie.
        watch: Is shown what every layer of a pass attends to, if asked for.
    """

    engine: Engine
    cache: RowCache | GraphRows
    bias_BGG: Tensor
    padding_group: int
    reads_rows: bool = True
    kept_logits: KeptLogits = field(default_factory=KeptLogits)
    watch: Watch | None = None
    used_B: Tensor = field(init=False)
    num_groups_B: Tensor = field(init=False)
    key_group_BS: Tensor = field(init=False)
    key_position_BS: Tensor = field(init=False)

    def __post_init__(self) -> None:
        num_rows = self.cache.num_rows
        self.used_B = torch.zeros(num_rows, dtype=torch.long)
        self.num_groups_B = torch.full((num_rows,), self.padding_group + 1)
        self.key_group_BS = torch.zeros(num_rows, 0, dtype=torch.long)
        self.key_position_BS = torch.zeros(num_rows, 0, dtype=torch.long)

    @property
    def row_cache(self) -> RowCache:
        """The cache, where PyTorch makes the passes."""
        assert isinstance(self.cache, RowCache), "a graph keeps its own"
        return self.cache

    @torch.inference_mode()
    def feed(
        self,
        token_ids: Tensor,
        rows: Tensor,
        groups: Tensor,
        positions: Tensor,
        logits_at: Sequence[int] | None,
        *,
        flat: bool = False,
    ) -> Tensor:
        """Run T tokens, sorted by row, through the model.

        Args:
            token_ids: Tokens, `(T,)`.
            rows: Question of each, ascending, `(T,)`.
            groups: Group of each, `(T,)`.
            positions: Position id of each, `(T,)`.
            logits_at: Which of the tokens need next-token logits; None for all of them.
            flat: Whether attention sees one flat row (FlexAttention's prefill).

        Returns:
            Logits, float32, `(len(logits_at), V)`.
        """
        fed = self.prepare(token_ids, rows, groups, positions, flat=flat)
        if not flat:
            fed.pad()
        self._check_memory(fed.packed, len(fed.token_ids), logits_at)
        logits = self._forward(fed, logits_at)
        if logits_at is None:
            logits = logits[: len(rows)]
        self.count(fed, len(logits))
        self.engine.counters.forwards += 1
        return logits

    def prepare(
        self, token_ids: Tensor, rows: Tensor, groups: Tensor, positions: Tensor, *,
        flat: bool = False,
    ) -> "Fed":  # fmt: skip
        """Take T tokens in, as `feed` does, for a pass that is still to be made."""
        columns = rank_within(rows)
        slots = self.used_B[rows] + columns
        counts = torch.bincount(rows, minlength=len(self.used_B))
        self.used_B = self.used_B + counts
        self._grow_slots(int(self.used_B.max()))
        self.key_group_BS[rows, slots] = groups
        self.key_position_BS[rows, slots] = positions
        prefix = () if self.cache.prefix_in_rows else self.cache.prefix
        packed = PackedPass(
            rows, columns, self.used_B, prefix, self.cache.stored, watch=self.watch
        )
        if flat:
            token_ids, positions = self._flat_pass(packed, token_ids, groups, positions)
        else:
            self._row_pass(packed, groups, positions, slots, int(counts.max()))
            packed.query_positions_T = positions
        self.cache.begin(rows, slots, int(self.used_B.max()), flat=flat)
        return Fed(self, packed, token_ids, positions)

    def count(self, fed: "Fed", num_logits: int) -> None:
        """Count what a pass took, the pass itself aside."""
        self.engine.counters.masks += fed.packed.num_masks
        self.engine.counters.logit_rows += num_logits

    def fork(self, rows: Tensor, groups: Tensor) -> Tensor:
        """A new group for each of `groups`, reading the parent and all that the parent reads.

        Two continuations of one node must not read each other's tokens; a group of their own
        gives each the common past and nothing else.
        """
        new_groups = self.num_groups_B[rows] + rank_within(rows)
        self.num_groups_B += torch.bincount(rows, minlength=len(self.num_groups_B))
        needed, size = int(self.num_groups_B.max()), self.bias_BGG.shape[1]
        if needed > size:
            more = max(needed, 2 * size) - size
            self.bias_BGG = torch.nn.functional.pad(self.bias_BGG, (0, more, 0, more), value=NEVER)
        self.bias_BGG[rows, new_groups] = self.bias_BGG[rows, groups]
        self.bias_BGG[rows, new_groups, new_groups] = 0.0
        return new_groups

    def _check_memory(
        self, packed: PackedPass, num_tokens: int, logits_at: Sequence[int] | None
    ) -> None:
        """Refuse a pass that does not fit into a host's memory; a GPU does it by itself."""
        model = self.engine.model
        if model.device.type != "cpu":
            return
        num_logit_rows = num_tokens if logits_at is None else len(logits_at)
        needed = self.cache.bytes_to_add()
        needed += pass_bytes(model.model.config, model.dtype, num_tokens, num_logit_rows)
        if self.engine.backend == "eager" and packed.bias_BRS is not None:
            num_pairs = packed.bias_BRS.numel() + num_tokens * packed.prefix_length
            needed += scores_bytes(model.model.config, num_pairs)
        check_fits(needed)

    def _row_pass(
        self,
        packed: PackedPass,
        groups: Tensor,
        positions: Tensor,
        slots: Tensor,
        num_columns: int,
    ) -> None:
        shape = (len(self.used_B), num_columns)
        where = (packed.rows_T, packed.columns_T)
        group_BR = torch.full(shape, self.padding_group)
        order_BR = torch.full(shape, self.key_group_BS.shape[1])
        position_BR = torch.zeros(shape, dtype=torch.long)
        group_BR[where], order_BR[where], position_BR[where] = groups, slots, positions
        packed.bias_BRS = dense_bias(self.bias_BGG, group_BR, self.key_group_BS, order_BR)
        packed.query_positions_BR = position_BR
        packed.key_positions_BS = self.key_position_BS

    def _flat_pass(
        self, packed: PackedPass, token_ids: Tensor, groups: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        packed.flat = flat_row(
            self.bias_BGG, packed.rows_T, groups, positions,
            padding_group=self.padding_group,
            prefix_length=self.cache.prefix[0][0].shape[0] if self.cache.prefix else 0,
        )  # fmt: skip
        positions = packed.flat.query_position_T
        more = len(positions) - len(token_ids)
        self.engine.counters.padding_tokens += more
        # A token of this pass: padding lies in a block of the others', and 0 x nan is nan.
        filler = int(token_ids[0])
        return torch.nn.functional.pad(token_ids, (0, more), value=filler), positions

    def _forward(self, fed: "Fed", logits_at: Sequence[int] | None) -> Tensor:
        loaded, packed = self.engine.model, fed.packed
        logits = forward(self.engine, packed, self.cache, fed.token_ids, fed.positions, logits_at)
        self.reads_rows &= packed.reads_rows
        if isinstance(self.cache, GraphRows):
            return logits
        num_layers = loaded.model.config.num_hidden_layers
        if len(packed.layers) != num_layers:
            raise UserError(
                f"{type(loaded.model).__name__} called the attention function in "
                f"{len(packed.layers)} of {num_layers} layers; this architecture is not "
                "supported.",
                "SE-0306",
            )
        if _has_window(loaded.model.config) and packed.windows == {None}:
            raise UserError(
                f"{type(loaded.model).__name__} has a sliding window and does not tell the "
                "attention function; this architecture is not supported.",
                "SE-0306",
            )
        return logits

    def _grow_slots(self, num_slots: int) -> None:
        more = num_slots - self.key_group_BS.shape[1]
        if more > 0:
            pad = torch.nn.functional.pad
            self.key_group_BS = pad(self.key_group_BS, (0, more), value=self.padding_group)
            self.key_position_BS = pad(self.key_position_BS, (0, more))


@dataclass(slots=True)
class Fed:
    """Tokens that a batch has taken in, and the pass that they are to go through.

    Attributes:
        batch: The batch.
        packed: The pass as attention sees it.
        token_ids: The tokens, and padding behind them, `(T,)`.
        positions: Position id of each, `(T,)`.
    """

    batch: Batch
    packed: PackedPass
    token_ids: Tensor
    positions: Tensor

    def pad(self) -> None:
        """On a CPU, go up to a rounded length."""
        more = num_padding(self.batch.engine, len(self.token_ids))
        self.packed.num_padding = more
        pad = torch.nn.functional.pad
        self.token_ids, self.positions = (
            pad(self.token_ids, (0, more)),
            pad(self.positions, (0, more)),
        )
        self.packed.query_positions_T = self.positions


def num_padding(engine: Engine, num_tokens: int) -> int:
    """How many tokens a pass has beside the real ones; they are counted."""
    if engine.model.device.type != "cpu":
        return 0
    more = rounded_length(num_tokens) - num_tokens
    engine.counters.padding_tokens += more
    return more


def forward(
    engine: Engine,
    packed: Pass,
    cache: object,
    token_ids: Tensor,
    positions: Tensor,
    logits_at: Sequence[int] | None,
) -> Tensor:
    """One forward pass of the model; logits, float32, `(len(logits_at), V)`, of all for None."""
    check_wanted()
    loaded = engine.model
    position_ids = positions + engine.first_position
    if isinstance(cache, GraphRows):
        assert isinstance(packed, PackedPass)
        with one_at_a_time(loaded.model):
            return cache.run(packed, token_ids, position_ids, logits_at)
    # Several threads may ask one model: pass by pass they take turns.
    with one_at_a_time(loaded.model), going_on(packed):
        engine.attach()
        output = loaded.model(
            input_ids=token_ids[None].to(loaded.device),
            position_ids=position_ids[None].to(loaded.device),
            past_key_values=cache,
            use_cache=True,
            # A list, not a tensor: the last layer may lie on another device than the input.
            logits_to_keep=0 if logits_at is None else list(logits_at),
            packed=packed,
        )
    logits: Tensor = output.logits[0].float()
    return logits


def _has_window(config: PreTrainedConfig) -> bool:
    # Families without windows may carry the setting as a stray; theirs is in no class.
    declared = hasattr(type(config), "sliding_window") and bool(config.sliding_window)
    return declared and "sliding_attention" in (
        getattr(config, "layer_types", None) or ["sliding_attention"]
    )


class Move(NamedTuple):
    """Walkers of a batch that go on.

    Attributes:
        batch: The batch, which gets the new tokens.
        frontier: The present nodes.
        nodes: Node that each of W walkers stands on, `(W,)`.
        token_ids: Token that each walker takes, `(W,)`.
    """

    batch: Batch
    frontier: Frontier
    nodes: Tensor
    token_ids: Tensor


class Children(NamedTuple):
    """Tokens behind nodes, each once, and which of them each walker takes."""

    tokens: Tensor
    rows: Tensor
    groups: Tensor
    positions: Tensor
    of_walker: Tensor

    def frontier(self, logits_MV: Tensor) -> Frontier:
        """The frontier that they are."""
        return Frontier(self.rows, self.groups, self.positions + 1, logits_MV)


def advance(
    batch: Batch, frontier: Frontier, nodes: Tensor, token_ids: Tensor
) -> tuple[Frontier, Tensor]:
    """Extend nodes by tokens; the same token after the same node is computed once.

    Args:
        batch: The batch, which gets the new tokens.
        frontier: The present nodes.
        nodes: Node that each of W walkers stands on, `(W,)`.
        token_ids: Token that each walker takes, `(W,)`.

    Returns:
        The new frontier, and the node of each walker in it, `(W,)`.
    """
    new = children(Move(batch, frontier, nodes, token_ids))
    logits, (nodes_W,) = feed_levels(batch, [new])
    return new.frontier(logits), nodes_W


def feed_levels(batch: Batch, levels: Sequence[Children]) -> tuple[Tensor, list[Tensor]]:
    """Feed tokens, and tokens behind those, in one pass.

    Args:
        batch: The batch, which gets them.
        levels: Each behind the one before.

    Returns:
        The logits of all of them, `(M, V)`, and of each level the row of each walker, `(W,)`.
    """
    tokens, rows, groups, positions = (
        torch.cat(of_levels) for of_levels in zip(*(one[:4] for one in levels), strict=True)
    )
    # By question, and in a question level by level: nothing stands before what it reads.
    order = rows.argsort(stable=True)
    logits = batch.kept_logits.of_step(
        batch.engine.model,
        len(tokens),
        lambda: batch.feed(tokens[order], rows[order], groups[order], positions[order], None),
    )
    batch.engine.counters.decode_tokens += len(tokens)
    of_levels = torch.split(order.argsort(), [len(one.tokens) for one in levels])
    return logits, [
        of_level[one.of_walker] for of_level, one in zip(of_levels, levels, strict=True)
    ]


def children(move: Move) -> Children:
    """The tokens that walkers take, each once behind its node; parents of two are forked."""
    batch, frontier, nodes, token_ids = move
    vocabulary = frontier.logits_MV.shape[1]
    found, of_walker = torch.unique(nodes * vocabulary + token_ids, return_inverse=True)
    parents, tokens = found // vocabulary, found % vocabulary
    rows, groups = frontier.rows_M[parents], frontier.groups_M[parents].clone()
    positions = frontier.positions_M[parents]
    split = torch.bincount(parents, minlength=len(frontier.rows_M))[parents] > 1
    if split.any():
        groups[split] = batch.fork(rows[split], groups[split])
    return Children(tokens, rows, groups, positions, of_walker)
