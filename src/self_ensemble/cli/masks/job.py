"""What `mask` does once its options are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedConfig

from self_ensemble.cli.console import ConsoleProgress
from self_ensemble.cli.masks.compare import compare
from self_ensemble.cli.masks.drawing import Drawing
from self_ensemble.cli.masks.pictures import BlockRow, Pictures, drawn
from self_ensemble.cli.masks.question import Asked, given_wordings, question_of
from self_ensemble.errors import UserError
from self_ensemble.jobs.inputs import ModelOptions, prompt_frame
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import why_no_longer
from self_ensemble.oracle.self_check import check_isolation
from self_ensemble.packing.layout import Layout
from self_ensemble.passes.engine import Engine
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.report.mask_blocks import BlockTable
from self_ensemble.report.mask_drawing import DrawnMask, MaskDrawing
from self_ensemble.report.mask_view import (
    check_text,
    legend,
    mask_picture,
    prompt_text,
    shown_tokens,
)
from self_ensemble.report.packed_sequence import PackedSequence, packed_sequence
from self_ensemble.running.choice import WordingChoice


@dataclass(frozen=True, slots=True)
class MaskJob:
    """The options of `mask` for wordings, under their long names.

    Attributes:
        questions: Where the question comes from; None if its wordings are `texts`.
    """

    drawing: Drawing
    questions: QuestionSet | None
    texts: tuple[str, ...]
    model: ModelOptions
    index: int
    num_paraphrases: int
    indices: tuple[int, ...] | None
    manual_read_each_other: bool
    chat_template: str
    prompt: bool
    check: bool
    compare: bool

    def asked(self) -> Asked:
        """The question.

        Raises:
            UserError: It cannot be had.
        """
        if self.questions is None:
            return given_wordings(self.texts)
        choice = WordingChoice(self.num_paraphrases, self.indices, self.manual_read_each_other)
        return question_of(self.questions, self.index, choice)


def draw_lengths(
    drawing: Drawing, prefix: int, lengths: Sequence[int], cue: int, pictures: Pictures
) -> None:
    """Draw a question of which only the numbers of tokens are known.

    Raises:
        UserError: It is too long for what is asked for.
    """
    parts = PromptParts((0,) * prefix, tuple((0,) * length for length in lengths), (0,) * cue)
    layout = drawing.layout(parts)
    sequence = packed_sequence(layout, prefix, drawing.num_generated)
    pictures.echo(_picture(sequence))
    rows = [BlockRow("this question", layout)]
    blocks = pictures.block_tables(rows) if pictures.blocks else ()
    if pictures.any:
        title = f"Who may read whom: {len(lengths)} segments"
        masks = (drawn("Packed", sequence),)
        pictures.write(MaskDrawing(title, (drawing.fact,), masks, blocks))


def draw_wordings(job: MaskJob, pictures: Pictures) -> bool:
    """Print and write what was asked for; returns whether the check, if asked for, went well.

    Weights are loaded where the model is to compute something.

    Raises:
        UserError: The wordings cannot be had, or do not fit into the model.
    """
    echo = pictures.echo
    asked = job.asked()
    computes = job.check or job.compare
    loaded = job.model.load(ConsoleProgress()) if computes else job.model.load_without_weights()
    frame = prompt_frame(job.chat_template, loaded, asked.question_set)
    parts = frame.parts(asked.wordings)
    layout = job.drawing.layout(parts, asked.readable)
    sequence = packed_sequence(layout, len(parts.prefix), job.drawing.num_generated)
    token_ids = parts.prefix + layout.token_ids
    echo(f"{asked.title}, tokens of {loaded.name}\n\n{_picture(sequence)}")
    config = loaded.model.config if isinstance(loaded, LoadedModel) else loaded.config
    windows = _windows(config, layout)
    notes = [
        f"Layers with a sliding window also leave out what lies {window} positions back."
        for window in windows
        if window is not None
    ]
    for note in notes:
        echo(note)
    if job.prompt:
        show = partial(shown_tokens, loaded.tokenizer)
        echo("\n" + prompt_text(sequence, token_ids, show))
    blocks: tuple[BlockTable, ...] = ()
    if pictures.blocks:
        packed = job.drawing.layout(parts, asked.readable, as_engine=True)
        blocks = pictures.block_tables(_block_rows(layout, packed, windows))
    masks: list[DrawnMask] = []
    if pictures.any or job.compare:
        masks.append(drawn("Packed", sequence, token_ids, loaded.tokenizer))
    if job.compare:
        assert isinstance(loaded, LoadedModel)
        masks = compare(loaded, frame, asked, job.drawing, masks[0], echo)
    if pictures.any:
        facts = (f"Tokens of {loaded.name}. {job.drawing.fact}", *notes)
        title = f"Who may read whom: {asked.title}"
        pictures.write(MaskDrawing(title, facts, tuple(masks), blocks))
    if not job.check:
        return True
    assert isinstance(loaded, LoadedModel)
    return _check(job, loaded, parts, layout, echo)


def _check(
    job: MaskJob,
    loaded: LoadedModel,
    parts: PromptParts,
    layout: Layout,
    echo: Callable[[str], None],
) -> bool:
    """Prove on the model that no wording reads another, and print how it went."""
    length = max(layout.positions) + 2  # a longer wording is tried, too
    if loaded.context_length is not None and length > loaded.context_length:
        raise UserError(
            f"The check needs {length} positions; "
            f"{why_no_longer(loaded.model.config, loaded.context_length)}. "
            "Give fewer --num-shots or shorter wordings.",
            "SE-0501",
        )
    dtype = str(loaded.dtype).removeprefix("torch.")
    echo(f"\nIsolation on {loaded.name} ({loaded.attention}, {dtype}, {loaded.device})")
    engine = Engine(loaded, loaded.attention)
    differences = check_isolation(engine, parts, job.drawing.layout)
    echo(check_text(differences))
    is_ok = all(difference.is_ok for difference in differences)
    if not is_ok and dtype != "float32":
        echo("Rounding in this type can be large. Try --dtype float32.")
    return is_ok


def _block_rows(layout: Layout, packed: Layout, windows: Sequence[int | None]) -> list[BlockRow]:
    """The row that is drawn, and the engine's, where it has tokens once that wordings share."""
    rows = [("this question", layout)]
    if packed.token_ids != layout.token_ids:
        rows.append(("this question as the engine packs it, common beginnings once", packed))
    return [
        BlockRow(
            name if window is None else f"{name}, layers with a window of {window}", row, window
        )
        for name, row in rows
        for window in windows
    ]


def _windows(config: PreTrainedConfig, layout: Layout) -> tuple[int | None, ...]:
    """The windows of the kinds of layers; None where a layer reads all, or its window does."""
    window: int | None = getattr(config, "sliding_window", None)
    # Without a list of kinds all layers have the window.
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    if window is None or window > max(layout.positions) or "sliding_attention" not in kinds:
        return (None,)
    return (window,) if kinds == {"sliding_attention"} else (None, window)


def _picture(sequence: PackedSequence) -> str:
    return f"{mask_picture(sequence)}\n\n{legend(sequence)}"
