r"""Token ids of a right answer: what a model writes that answers as the few-shot examples do.

    plain text       cue "A:"   answer " {}\n\n"   " Paris" "\n"        up to the stop string
    chat template    header     answer "{}"        "Paris" "<|im_end|>" up to the end of the turn

The answer is tokenised together with what follows it in the prompt (in plain text the next
example, "Q: ..."), because a tokenizer may join characters at the end of a text that it keeps
apart inside one: "\n\n" is one token of SmolLM2's at the end and two in front of "Q:". The
tokens are then cut behind the one with which generation ends: the end of the answer counts
among them, or "Par" would be as likely as "Paris".
"""

from collections.abc import Callable
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.prompts.build import chat_frame
from self_ensemble.prompts.tokens import Piece, TextEncoder
from self_ensemble.questions.schema import Framing, Shot
from self_ensemble.walking.stopping import StopRule

Target = Callable[[str], tuple[int, ...]]

MARK = "\ue001"  # a private-use character, which no template holds


def plain_target(tokenizer: Any, framing: Framing, stop: StopRule) -> Target:
    """Answers in the few-shot form.

    Args:
        tokenizer: The model's tokenizer.
        framing: How wordings, cue and answers become text.
        stop: When an answer ends.

    Returns:
        A function from an answer's text to the tokens that follow the cue, `(L,)`: up to and
        with the token that ends it, at most `stop.max_new_tokens`.
    """
    encoder = TextEncoder(tokenizer)
    given = (Piece(framing.wording.format("Who?") + framing.cue),)
    following = framing.wording.split("{}")[0]

    def target(answer: str) -> tuple[int, ...]:
        text = framing.answer.format(answer)
        token_ids = encoder.behind(given, (Piece(text + following),))
        end = _end(token_ids, stop)
        if end is None:
            # An answer form without a stop string: the answer has no end that could be learned.
            return encoder.behind(given, (Piece(text),))[: stop.max_new_tokens]
        return token_ids[: min(end, stop.max_new_tokens)]

    return target


def chat_target(tokenizer: Any, stop: StopRule) -> Target:
    """Answers as a turn of the model's chat template; see `plain_target`.

    Raises:
        UserError: The template does not end an answer with a token that ends generation.
    """
    encoder = TextEncoder(tokenizer)
    pieces = chat_frame(tokenizer, "", (Shot("?", MARK),)).before
    place = pieces.index(Piece(MARK))
    given, following = pieces[:place], pieces[place + 1 :]

    def followed(answer: str) -> tuple[int, ...]:
        return encoder.behind(given, (Piece(answer), *following))

    if _end(followed("Paris"), stop) is None:
        raise UserError(
            "This model's chat template does not end an answer with an end-of-sequence token. "
            "Use --chat-template off.",
            "SE-0502",
        )

    def target(answer: str) -> tuple[int, ...]:
        token_ids = followed(answer)
        end = _end(token_ids, stop)
        assert end is not None
        return token_ids[: min(end, stop.max_new_tokens)]

    return target


def _end(token_ids: tuple[int, ...], stop: StopRule) -> int | None:
    """How many tokens generation takes to end; None where nothing among them ends it."""
    for length in range(1, len(token_ids) + 1):
        if stop.reason(token_ids[:length]) in ("eos", "stop"):
            return length
    return None
