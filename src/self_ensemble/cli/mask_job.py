"""What `mask` does once its options are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from transformers import PreTrainedConfig

from self_ensemble.cli.console import ConsoleProgress
from self_ensemble.cli.mask_pictures import Pictures, drawn
from self_ensemble.errors import UserError
from self_ensemble.jobs.inputs import DataOptions, ModelOptions, prompt_frame
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import why_no_longer
from self_ensemble.oracle.self_check import check_isolation
from self_ensemble.packing.layout import Layout, build_layout
from self_ensemble.passes.engine import Engine
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.report.mask_drawing import MaskDrawing
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
class Drawing:
    """How a question is laid out, whatever it is.

    Attributes:
        num_generated: Generated tokens to draw.
        positions: "aligned" or "contiguous".
        fusion_point: "cue" or "last_segment".
        segment_weights: "uniform" or "none".
    """

    num_generated: int
    positions: str
    fusion_point: str
    segment_weights: str

    @property
    def fact(self) -> str:
        """The same in words."""
        weights = {"uniform": "1/N each", "none": "1 each"}[self.segment_weights]
        return (
            f"{self.positions.capitalize()} positions, fusion point: {self.fusion_point}, "
            f"weights of the segments: {weights}"
        )

    def layout(self, parts: PromptParts, readable: Sequence[tuple[int, int]] = ()) -> Layout:
        """Lay a question out as the engine does for attention-level fusion."""
        num_wordings = len(parts.segments)
        weight = 1.0 / num_wordings if self.segment_weights == "uniform" else 1.0
        return build_layout(
            parts,
            segment_weights=[weight] * num_wordings,
            positions=cast(Any, self.positions),
            fusion_point=cast(Any, self.fusion_point),
            readable=readable,
        )


@dataclass(frozen=True, slots=True)
class MaskJob:
    """The options of `mask` for wordings, under their long names.

    Attributes:
        data: Where the question comes from; None if its wordings are `texts`.
    """

    drawing: Drawing
    data: DataOptions | None
    texts: tuple[str, ...]
    model: ModelOptions
    index: int
    num_paraphrases: int
    indices: tuple[int, ...] | None
    manual_read_each_other: bool
    chat_template: str
    prompt: bool
    check: bool


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
    blocks = pictures.block_tables(layout, sequence)
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
    question_set, title, wordings, readable = _wordings(job)
    loaded = job.model.load(ConsoleProgress()) if job.check else job.model.load_without_weights()
    parts = prompt_frame(job.chat_template, loaded, question_set).parts(wordings)
    layout = job.drawing.layout(parts, readable)
    sequence = packed_sequence(layout, len(parts.prefix), job.drawing.num_generated)
    token_ids = parts.prefix + layout.token_ids
    echo(f"{title}, tokens of {loaded.name}\n\n{_picture(sequence)}")
    config = loaded.model.config if isinstance(loaded, LoadedModel) else loaded.config
    windows = _windows(config, layout)
    notes = [
        f"Layers with a sliding window also leave out what lies {window} positions back."
        for window in windows[1:]
    ]
    for note in notes:
        echo(note)
    if job.prompt:
        show = partial(shown_tokens, loaded.tokenizer)
        echo("\n" + prompt_text(sequence, token_ids, show))
    blocks = pictures.block_tables(layout, sequence, windows)
    if pictures.any:
        packed = drawn("Packed", sequence, token_ids, loaded.tokenizer)
        facts = (f"Tokens of {loaded.name}. {job.drawing.fact}", *notes)
        pictures.write(MaskDrawing(f"Who may read whom: {title}", facts, (packed,), blocks))
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
            "Give fewer --num-shots or shorter wordings."
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


def _windows(config: PreTrainedConfig, layout: Layout) -> tuple[int | None, ...]:
    """None, and the window of the layers that have one, where it leaves something out."""
    window: int | None = getattr(config, "sliding_window", None)
    return (None,) if window is None or window > max(layout.positions) else (None, window)


def _picture(sequence: PackedSequence) -> str:
    return f"{mask_picture(sequence)}\n\n{legend(sequence)}"


def _wordings(
    job: MaskJob,
) -> tuple[QuestionSet, str, tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Data set, title, wordings, and which of them read which."""
    if job.data is None:
        return QuestionSet("", (), (), ""), f"{len(job.texts)} wordings", job.texts, ()
    question_set = job.data.load()
    num_questions = len(question_set.questions)
    if not 0 <= job.index < num_questions:
        raise UserError(
            f"Got --index {job.index}, but {question_set.name} has {num_questions} questions. "
            f"Give a number from 0 to {num_questions - 1}."
        )
    question = question_set.questions[job.index]
    choice = WordingChoice(job.num_paraphrases, job.indices, job.manual_read_each_other)
    wordings = _picked(question, choice, f"Question {job.index} of {question_set.name}")
    title = (
        f"{question_set.name}, question {job.index} ({question.uuid}), {len(wordings)} wordings"
    )
    return question_set, title, wordings, choice.readable(question.groups)


def _picked(question: Question, choice: WordingChoice, which: str) -> tuple[str, ...]:
    needed, found = choice.needed, len(question.wordings)
    if needed > found:
        remedy = f"Give at most --num-paraphrases {found}"
        if choice.indices is not None:
            remedy = f"Give --indices below {found}"
        raise UserError(
            f"{which} has {found} wordings, {needed} are asked for. {remedy}, or a file with "
            "more wordings as --paraphrases."
        )
    return choice.pick(question.wordings)
