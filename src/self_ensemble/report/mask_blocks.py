"""The blocks of a BlockMask, read from the lists that FlexAttention's kernel walks.

         keys 0   1   2   3        # full: read without looking at the mask
queries 0     #   +   .   .        + partial: looked at token by token
        1     #   .   +   .        . empty: no work
"""

from dataclasses import dataclass

from torch.nn.attention.flex_attention import BlockMask

EMPTY, PARTIAL, FULL = 0, 1, 2
NAMES = ("empty", "partial", "full")
SIGNS = ("\u00b7", "\u25a4", "\u25a0")
WIDTH = 120


@dataclass(frozen=True, slots=True)
class BlockTable:
    """What becomes of every block.

    Attributes:
        name: Which BlockMask it is.
        states: `EMPTY`, `PARTIAL` or `FULL` for each block, a tuple per row of blocks.
        size: Queries and keys of a block.
        num_queries: Queries, padding included.
        num_keys: Keys, those of the prefix in front.
        num_prefix: Keys of the prefix.
        num_padding: Queries, and keys, that are padding.
    """

    name: str
    states: tuple[tuple[int, ...], ...]
    size: tuple[int, int]
    num_queries: int
    num_keys: int
    num_prefix: int
    num_padding: int

    @property
    def num_blocks(self) -> int:
        return sum(map(len, self.states))

    def count(self, state: int) -> int:
        """How many blocks are in a state."""
        return sum(row.count(state) for row in self.states)

    @property
    def saved(self) -> float:
        """Share of the blocks that no work is done for, 0 to 1."""
        return self.count(EMPTY) / self.num_blocks


def block_table(
    block_mask: BlockMask, *, name: str, num_prefix: int, num_padding: int
) -> BlockTable:
    """Read a BlockMask of one row and of heads that are all alike."""
    assert tuple(block_mask.kv_num_blocks.shape[:2]) == (1, 1)
    num_queries, num_keys = block_mask.seq_lengths
    rows, columns = block_mask.kv_indices.shape[2:]
    states = [[EMPTY] * columns for _ in range(rows)]
    lists = [(PARTIAL, block_mask.kv_num_blocks, block_mask.kv_indices)]
    if block_mask.full_kv_num_blocks is not None and block_mask.full_kv_indices is not None:
        lists.append((FULL, block_mask.full_kv_num_blocks, block_mask.full_kv_indices))
    for state, counts, indices in lists:
        for row, count in enumerate(counts[0, 0].tolist()):
            for column in indices[0, 0, row, :count].tolist():
                states[row][column] = state
    return BlockTable(
        name, tuple(map(tuple, states)), block_mask.BLOCK_SIZE, num_queries, num_keys,
        num_prefix, num_padding,
    )  # fmt: skip


def block_line(table: BlockTable) -> str:
    """How many blocks there are of each kind, and what that saves."""
    counts = ", ".join(f"{table.count(state)} {NAMES[state]}" for state in (FULL, PARTIAL, EMPTY))
    return (
        f"{table.num_blocks} blocks of {table.size[0]} x {table.size[1]}: {counts}; "
        f"{100 * table.saved:.0f} % of the work is saved"
    )


def size_line(table: BlockTable) -> str:
    """What its rows and columns are."""
    padding = f" ({table.num_padding} of them padding)" if table.num_padding else ""
    prefix = f" ({table.num_prefix} of the prefix before them)" if table.num_prefix else ""
    return f"{table.num_queries} queries{padding} x {table.num_keys} keys{prefix}"


def blocks_text(table: BlockTable) -> str:
    """Draw the blocks, a sign each, and count them."""
    cell = 2 if 2 * len(table.states[0]) + 16 <= WIDTH else 1
    lines = [
        f"{first:>6}-{first + table.size[0] - 1:<6} "
        + "".join(f"{SIGNS[state]:>{cell}}" for state in row)
        for first, row in zip(
            range(0, table.num_queries, table.size[0]), table.states, strict=True
        )
    ]
    signs = "  ".join(f"{SIGNS[state]} {NAMES[state]}" for state in (FULL, PARTIAL, EMPTY))
    return "\n".join(
        [f"BlockMask of {table.name}: {size_line(table)}", *lines, signs, block_line(table)]
    )
