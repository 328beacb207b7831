"""All wordings of a question in one ordinary prompt, one after the other.

    prefix   instruction, examples
    segments Q: who wrote hamlet?
             Q: hamlet is by whom?
    cue      A:

It is what one would do without a mask of wordings: here the second reads the first.
"""

from collections.abc import Sequence
from itertools import pairwise

from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.prompts.tokens import Piece, Prompt


def together(frame: PromptFrame, wordings: Sequence[str]) -> PromptParts:
    """The tokens of that prompt's text, cut where a wording begins.

    A wording that does not end in a space or a line break is ended by one. A token that spans a
    seam goes to the wording behind it.

    Raises:
        UserError: No wording or an empty one, or the prompt of a wording cannot be cut.
    """
    frame.parts(wordings)
    lines = [_text(frame, wording) for wording in wordings]
    ended = [line if line[-1:].isspace() else f"{line}\n" for line in lines[:-1]]
    pieces = tuple(map(Piece, (*ended, lines[-1])))
    found = frame.encoder.encode(
        [Prompt(frame.before + pieces[:n], pieces[n:], frame.after) for n in range(len(pieces))]
    )
    token_ids = found[0].ids
    assert {one.ids for one in found} == {token_ids}, "where a text is cut changes no token of it"
    seams = [one.num_within for one in found] + [len(token_ids) - found[0].num_behind]
    segments = tuple(token_ids[start:end] for start, end in pairwise(seams))
    return PromptParts(token_ids[: seams[0]], segments, token_ids[seams[-1] :])


def whole(parts: PromptParts) -> tuple[int, ...]:
    """All tokens of such a prompt, in order."""
    return (*parts.prefix, *(token for segment in parts.segments for token in segment), *parts.cue)


def _text(frame: PromptFrame, wording: str) -> str:
    return "".join(piece.text for piece in frame.prompt(wording).wording)
