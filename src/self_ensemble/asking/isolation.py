"""What is not finite stays where it is: questions, methods and wordings are asked apart.

Attention gives what a token must not read the weight 0, and 0 x nan is nan: one nan in the cache
reaches all that shares its row, and with FlexAttention its block. So an answer that was not finite
is asked for again with less beside it: its question alone, its method alone, its wording alone.
What fails even then is at fault itself. Nothing of this costs anything as long as all is finite.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

from torch import Tensor

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Request
from self_ensemble.walking.loop import Decoded, Track

LONGEST_SHOWN = 60  # characters of a wording in a message
REMEDY = "Load the model with --dtype float32, or get another copy of it."
# Of each method, of each question: its one answer, or those of all wordings.
Found = dict[str, list[list[Decoded]]]
# Methods, questions, number of the first wording.
Ask = Callable[[Sequence[Method], Sequence[Request], int], Found]
# What prompts have in common; what `contrast` takes away.
Behind = Literal["every prompt", "the prompt without the question"]
# Whether the logits behind a prompt of one wording, or the other kinds, and some tokens of an
# answer are finite.
IsFinite = Callable[[Request, int | Behind, Sequence[int]], bool]


EVERY: Final = "every prompt"
PRIOR: Final = "the prompt without the question"
# Answers of a prompt by track, and the logits of its first token.
Continued = tuple[dict[str, list[Decoded]], Tensor]
Continue = Callable[[Sequence[Track], Sequence[Request]], list[Continued]]


def ask_apart(
    ask: Ask, is_finite: IsFinite, methods: Sequence[Method], requests: Sequence[Request]
) -> Found:
    """Ask all questions together, and again apart what did not come out finite.

    Args:
        ask: Asks questions with the same number of wordings.
        is_finite: Tells whether the model's own logits are finite.
        methods: The methods to ask with.
        requests: The questions.

    Returns:
        What `ask` returns. Answers that are not finite are so by themselves.
    """
    found = ask(methods, requests, 0)
    for row, request in enumerate(requests):
        failed = [method for method in methods if not _is_finite(found[method.name][row])]
        if failed and not is_finite(request, EVERY, ()):
            continue  # the prompt that all questions share is at fault
        if failed and len(requests) > 1:
            alone = ask(failed, [request], 0)
            for method in failed:
                found[method.name][row] = alone[method.name][0]
            failed = [method for method in failed if not _is_finite(found[method.name][row])]
        for method in failed:
            if len(methods) > 1 and not method.goes_alone:
                found[method.name][row] = ask([method], [request], 0)[method.name][0]
            elif method.goes_alone and len(request.wordings) > 1:
                found[method.name][row] = [
                    one if one.is_finite else _wording_alone(ask, request, place)
                    for place, one in enumerate(found[method.name][row])
                ]
    return found


def explore_apart(
    go_on: Continue, is_finite: IsFinite, tracks: Sequence[Track], requests: Sequence[Request]
) -> list[Continued]:
    """Continue prompts of one wording each together, and again apart what is not finite."""
    found = go_on(tracks, requests)
    for row, request in enumerate(requests):
        if _is_continued(found[row]) or not is_finite(request, EVERY, ()):
            continue
        if len(requests) > 1:
            found[row] = go_on(tracks, [request])[0]
        if len(tracks) > 1 and not _is_continued(found[row]):
            apart = [go_on([track], [request])[0] for track in tracks]
            found[row] = {name: one for by, _ in apart for name, one in by.items()}, apart[0][1]
    return found


def reason(
    is_finite: IsFinite, method: Method, request: Request, decoded: Decoded, wording: int | None
) -> str:
    """Why there is no next token: at which place, and what is at fault.

    What all prompts have in common comes first: where it is not finite, no wording is to blame.

    Args:
        is_finite: Tells whether the model's own logits are finite.
        method: The method that has no answer.
        request: The question.
        decoded: The answer up to there.
        wording: The wording that was continued alone; None where all were.
    """
    step = f"Token {len(decoded.token_ids) + 1} of the answer has no finite score"
    if not is_finite(request, EVERY, ()):
        return f"{step}: the model gives nan or infinity for {EVERY}. {REMEDY}"
    if wording is not None:
        which = _named(request, wording)
        return f"{step}: the model gives nan or infinity for {which}. {REMEDY}"
    wordings = range(len(request.wordings))
    bad = [n for n in wordings if not is_finite(request, n, decoded.token_ids)]
    if bad:
        which = ", ".join(_named(request, n) for n in bad)
        if len(bad) == len(wordings) > 1:
            which = "every wording"
        return f"{step}: the model gives nan or infinity for {which} ({method.name}). {REMEDY}"
    if method.reads_prior and not is_finite(request, PRIOR, decoded.token_ids):
        return f"{step}: the model gives nan or infinity for {PRIOR} ({method.name}). {REMEDY}"
    if method.kind == "fused":
        return (
            f"{step}: the model gives nan or infinity where all wordings are read together "
            f"({method.name}), and for none of them alone. {REMEDY}"
        )
    return (
        f"{step}: rule {method.name!r} makes nan or infinity of finite logits, or rules out every "
        "token. Check it for 0/0, inf - inf and log of 0."
    )


def _named(request: Request, wording: int) -> str:
    """A wording by its text: one that is asked by itself may be any of its question's."""
    text = request.wordings[wording]
    shown = repr(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "...")
    return (
        f"the wording {shown}" if len(request.wordings) == 1 else f"wording {wording + 1}, {shown}"
    )


def _is_finite(found: Sequence[Decoded]) -> bool:
    return all(one.is_finite for one in found)


def _is_continued(continued: Continued) -> bool:
    by_track, first_logits = continued
    finite = bool(first_logits.amax().isfinite())
    return finite and all(_is_finite(found) for found in by_track.values())


def _wording_alone(ask: Ask, request: Request, place: int) -> Decoded:
    alone = replace(
        request,
        wordings=(request.wordings[place],),
        weights=None,
        segment_weights=None,
        readable=(),
    )
    return ask([Method("per_prompt", "alone")], [alone], place)["per_prompt"][0][0]
