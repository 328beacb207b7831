"""What `mask` writes and prints beside the text: a PNG, a page, the blocks of FlexAttention."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from self_ensemble.packing.layout import Layout
from self_ensemble.passes.flat_row import question_block_mask
from self_ensemble.prompts.token_texts import token_texts
from self_ensemble.report.files import write_file
from self_ensemble.report.mask_blocks import BlockTable, block_table, blocks_text
from self_ensemble.report.mask_drawing import DrawnMask, MaskDrawing
from self_ensemble.report.mask_matrix import check_length, check_size, count_pairs
from self_ensemble.report.packed_sequence import PackedSequence


class BlockRow(NamedTuple):
    """A row of tokens whose BlockMask is drawn, and in layers with which window."""

    name: str
    layout: Layout
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Pictures:
    """Which pictures are wanted.

    Attributes:
        png: Where the PNG goes, if there is to be one.
        html: Where the page goes, if there is to be one.
        blocks: Whether the BlockMask is drawn.
        echo: Prints a line.
    """

    png: Path | None
    html: Path | None
    blocks: bool
    echo: Callable[[str], None]

    @property
    def any(self) -> bool:
        """Whether there is anything to draw beside the text."""
        return self.blocks or self.png is not None or self.html is not None

    def block_tables(self, rows: Sequence[BlockRow]) -> tuple[BlockTable, ...]:
        """Print the BlockMask of each row.

        Raises:
            UserError: A row is too long.
        """
        for row in rows:
            check_length(row.layout.num_prefix + len(row.layout.token_ids))
        tables = tuple(map(_block_table, rows))
        for table in tables:
            self.echo("\n" + blocks_text(table))
        return tables

    def write(self, drawing: MaskDrawing) -> None:
        """Write the files that were asked for.

        Raises:
            UserError: A sequence is too long, or a file cannot be written.
        """
        for mask in drawing.masks:
            check_size(mask.sequence)
        if self.png is not None:
            # Here, not above: the library is an extra.
            from self_ensemble.report.mask_png import write_mask_png

            write_mask_png(self.png, drawing, say=self.echo)
            self.echo(f"\nWrote {self.png}")
        if self.html is not None:
            from self_ensemble.report.mask_page import mask_page

            write_file(self.html, mask_page(drawing))
            self.echo(f"\nWrote {self.html}")


def drawn(
    name: str, sequence: PackedSequence, token_ids: Sequence[int] = (), tokenizer: Any = None
) -> DrawnMask:
    """A mask with what is to be known of it; without a tokenizer its tokens are not known."""
    length, pairs = sequence.num_columns, count_pairs(sequence)
    causal = length * (length + 1) // 2
    fact = (
        f"{length:,} tokens; {pairs:,} pairs of a token and one that it reads, "
        f"{100 * pairs / causal:.0f} % of a causal mask's"
    )
    if tokenizer is None:
        return DrawnMask(name, sequence, (), frozenset(), (fact,))
    ids = set(tokenizer.all_special_ids)
    special = frozenset(column for column, token in enumerate(token_ids) if token in ids)
    texts = tuple(token_texts(tokenizer, token_ids))
    return DrawnMask(name, sequence, texts, special, (fact,))


def _block_table(row: BlockRow) -> BlockTable:
    block_mask = question_block_mask(row.layout, row.window)
    return block_table(
        block_mask,
        name=row.name,
        num_prefix=row.layout.num_prefix,
        num_padding=block_mask.seq_lengths[0] - len(row.layout.token_ids),
    )
