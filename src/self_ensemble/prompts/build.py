"""The prompt of a data set: instruction and few-shot examples, then one wording, then the cue.

    prefix   instruction, Q: ... A: ..., Q: ... A: ...
    segment  Q: what is the capital of france?
    cue      A:

With a chat template the same parts go into the model's own turns: the instruction and examples
into the system and earlier turns, the wording into the user's turn, and the end of that turn with
the assistant's header is the cue.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

from self_ensemble.errors import UserError
from self_ensemble.prompts.frame import PromptFrame, make_frame
from self_ensemble.prompts.limited import render_limited
from self_ensemble.prompts.tokens import Piece, TextEncoder
from self_ensemble.questions.schema import Framing, Shot

SLOT = "\ue000"  # a private-use character, which no template holds
# What some templates do to a turn's text, and what none may do.
SPACES = ("\n ", " \n")
WRITTEN = "<&'\"\\ {{ x }}\n#"
# Of each tokenizer: what its template writes around turns of some roles.
NUM_SHAPES = 64
_PIECES: WeakKeyDictionary[
    Any, dict[tuple[str, tuple[str, ...]], tuple[list[str], list[tuple[bool, bool]]]]
] = WeakKeyDictionary()


def plain_frame(
    tokenizer: Any, instruction: str, shots: Sequence[Shot], framing: Framing
) -> PromptFrame:
    """The few-shot form: text all through, as in published numbers.

    Raises:
        UserError: The answer cue is empty.
    """
    examples = [
        framing.wording.format(shot.wording) + framing.cue + framing.answer.format(shot.answer)
        for shot in shots
    ]
    before = Piece(instruction + "".join(examples))
    return make_frame(TextEncoder(tokenizer), (before,), framing.wording, (Piece(framing.cue),))


def chat_frame(tokenizer: Any, instruction: str, shots: Sequence[Shot]) -> PromptFrame:
    """The same parts in the model's chat template.

    Raises:
        UserError: The tokenizer has no chat template, or one that changes a turn's text.
    """
    turns = [turn for shot in shots for turn in _turns(shot.wording, shot.answer)]
    if instruction.strip():
        turns.insert(0, {"role": "system", "content": instruction.strip()})
    return conversation_frame(tokenizer, turns)


def conversation_frame(tokenizer: Any, turns: Sequence[dict[str, str]]) -> PromptFrame:
    """A conversation in the model's chat template; a wording is what the user says next.

    Args:
        tokenizer: The model's tokenizer.
        turns: What was said before: `role` (system, user, assistant) and `content` of each.

    Raises:
        UserError: The tokenizer has no chat template, or one that changes a turn's text or
            refuses the conversation.
    """
    if not tokenizer.chat_template:
        raise UserError("This model has no chat template. Use --chat-template off.", "SE-0502")
    template, strips = _known_pieces(tokenizer, (*(turn["role"] for turn in turns), "user"))
    before = [Piece(template[0], is_template=True)]
    for turn, (left, right), text in zip(turns, strips, template[1:], strict=False):
        content = turn["content"].lstrip() if left else turn["content"]
        before.append(Piece(content.rstrip() if right else content))
        before.append(Piece(text, is_template=True))
    after = Piece(template[-1], is_template=True)
    whole = _render(tokenizer, [*turns, {"role": "user", "content": "Who?"}])
    if whole != "".join(piece.text for piece in (*before, Piece("Who?"), after)):
        raise _rewrites()
    if after.text.rstrip().endswith("<think>"):
        raise UserError(
            "This model's chat template makes it think before it answers, so its first tokens are "
            "no answer. Use --chat-template off.",
            "SE-0502",
        )
    return make_frame(TextEncoder(tokenizer), tuple(before), "{}", (after,), strips[-1])


def _turns(wording: str, answer: str) -> tuple[dict[str, str], dict[str, str]]:
    return {"role": "user", "content": wording}, {"role": "assistant", "content": answer}


def _known_pieces(
    tokenizer: Any, roles: tuple[str, ...]
) -> tuple[list[str], list[tuple[bool, bool]]]:
    """`_template_pieces`; found once, since rendering takes processes."""
    known = _PIECES.setdefault(tokenizer, {})
    key = (str(tokenizer.chat_template), roles)
    if key not in known:
        if len(known) >= NUM_SHAPES:
            known.clear()
        known[key] = _template_pieces(tokenizer, roles)
    return known[key]


def _template_pieces(
    tokenizer: Any, roles: Sequence[str]
) -> tuple[list[str], list[tuple[bool, bool]]]:
    """A template's own text before, between and behind the turns, and what it strips of each.

    Raises:
        UserError: It changes a turn's text by more than that.
    """

    def pieces(left: str, right: str) -> list[str]:
        turns = [
            {"role": role, "content": f"{left}{SLOT}{number}{WRITTEN}{SLOT}{right}"}
            for number, role in enumerate(roles)
        ]
        # Odd pieces are slots, even pieces the template's own text.
        found = _render(tokenizer, turns).split(SLOT)
        if found[1::2] != [f"{number}{WRITTEN}" for number in range(len(roles))]:
            raise _rewrites()
        return found[::2]

    bare, spaced = pieces("", ""), pieces(*SPACES)
    strips = []
    for number in range(len(roles)):
        left = not spaced[number].endswith(bare[number] + SPACES[0])
        right = not spaced[number + 1].startswith(SPACES[1] + bare[number + 1])
        strips.append((left, right))
    left, right = strips[-1]
    kept = ("" if left else SPACES[0], "" if right else SPACES[1])
    if not spaced[-2].endswith(bare[-2] + kept[0]) or spaced[-1] != kept[1] + bare[-1]:
        raise _rewrites()
    return bare, strips


def _rewrites() -> UserError:
    return UserError(
        "This model's chat template drops, reorders or rewrites turns. Use --chat-template off.",
        "SE-0502",
    )


def _render(tokenizer: Any, turns: Sequence[dict[str, str]]) -> str:
    """Write a conversation; a system turn that the template refuses opens the first user turn."""
    try:
        return render_limited(
            lambda: tokenizer.apply_chat_template(
                list(turns),
                tokenize=False,
                add_generation_prompt=True,
                # Today's date in the prompt, or a model that thinks first, would move the numbers.
                date_string="26 Jul 2024",
                enable_thinking=False,
            )
        )
    except TemplateError as error:
        if turns[0]["role"] == "system":
            first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            return _render(tokenizer, [first, *turns[2:]])
        raise UserError(
            f"This model's chat template refuses the prompt ({error}). Use --chat-template off.",
            "SE-0502",
        ) from error
