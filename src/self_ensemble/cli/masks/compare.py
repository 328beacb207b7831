"""`mask --compare`: the packed question beside standard attention, with both answers."""

from collections.abc import Callable

from self_ensemble.asking.request import Answer, Request, Settings
from self_ensemble.bench.library import generated, with_own_attention
from self_ensemble.cli.masks.drawing import Drawing
from self_ensemble.cli.masks.pictures import drawn
from self_ensemble.cli.masks.question import Asked
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import why_no_longer
from self_ensemble.packing.layout import build_layout
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.prompts.together import together, whole
from self_ensemble.report.mask_drawing import DrawnMask
from self_ensemble.report.mask_matrix import check_size, count_pairs
from self_ensemble.report.packed_sequence import packed_sequence
from self_ensemble.scoring.lemmas import lemmatiser_named
from self_ensemble.scoring.normalise import first_line
from self_ensemble.scoring.scores import is_right
from self_ensemble.walking.stopping import StopRule


def compare(
    model: LoadedModel,
    frame: PromptFrame,
    asked: Asked,
    drawing: Drawing,
    packed: DrawnMask,
    echo: Callable[[str], None],
) -> list[DrawnMask]:
    """Ask the question in both ways and print what they read and what they say.

    Standard attention is an ordinary prompt with all wordings, one after the other: every token
    reads all earlier ones, and transformers' `generate` answers.

    Returns:
        Both masks, with their answers.

    Raises:
        UserError: It is too long for the model or for a picture, or an answer is not finite.
    """
    parts = together(frame, asked.wordings)
    numbers = range(len(parts.segments))
    layout = build_layout(
        parts,
        positions="contiguous",
        readable=[(reader, read) for reader in numbers for read in range(reader)],
    )
    sequence = packed_sequence(layout, len(parts.prefix), drawing.num_generated)
    causal = drawn("Concatenated, causal mask", sequence, whole(parts), model.tokenizer)
    for mask in (packed, causal):
        check_size(mask.sequence)
    answers = (
        _packed_answer(model, frame, asked, drawing),
        _causal_answer(model, whole(parts), drawing.settings(asked.question_set)),
    )
    masks = [
        mask._replace(answer=answer, verdict=_verdict(answer, asked))
        for mask, answer in zip((packed, causal), answers, strict=True)
    ]
    echo("\nBeside it, standard attention: the wordings one after the other under a causal mask")
    echo(f"{'':<14}{'tokens':>8}{'pairs read':>14}{'last position':>16}  answer")
    for name, mask in zip(("packed", "concatenated"), masks, strict=True):
        last = mask.sequence.spans[-1]
        position = last.position + last.end - last.start - 1
        echo(
            f"{name:<14}{mask.sequence.num_columns:>8,}{count_pairs(mask.sequence):>14,}"
            f"{position:>16,}  {mask.answer!r}{mask.in_brackets}"
        )
    if asked.answers:
        echo(f"accepted: {', '.join(map(repr, asked.answers))}")
    return masks


def _packed_answer(model: LoadedModel, frame: PromptFrame, asked: Asked, drawing: Drawing) -> str:
    ensemble = Ensemble(
        model, "flex_attention", frame=frame, settings=drawing.settings(asked.question_set)
    )
    weights = tuple(drawing.weights(len(asked.wordings)))
    request = Request("mask", asked.wordings, segment_weights=weights, readable=asked.readable)
    ((outcome,),) = ensemble.run([request]).values()
    if not isinstance(outcome, Answer):
        raise UserError(f"There is no answer to compare: {outcome.error}", "SE-0612")
    return outcome.text


def _causal_answer(model: LoadedModel, prompt: tuple[int, ...], settings: Settings) -> str:
    length = len(prompt) + settings.max_new_tokens
    if model.context_length is not None and length > model.context_length:
        raise UserError(
            f"All wordings in one prompt and {settings.max_new_tokens} new tokens take {length} "
            f"positions; {why_no_longer(model.model.config, model.context_length)}. "
            "Give fewer --num-shots, or fewer or shorter wordings.",
            "SE-0501",
        )
    rule = StopRule.of(model, settings.stop, settings.max_new_tokens)
    with with_own_attention(model):
        ((*token_ids,),) = generated(model, [prompt], rule)
    return first_line(rule.text(token_ids))


def _verdict(answer: str, asked: Asked) -> str:
    """Whether an answer is accepted, if that is known."""
    if not asked.answers:
        return ""
    return "right" if is_right(answer, asked.answers, lemmatiser_named("simplemma")) else "wrong"
