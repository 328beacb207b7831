"""The prompt of a data set: instruction and few-shot examples, then one wording, then the cue.

    prefix   instruction, Q: ... A: ..., Q: ... A: ...
    segment  Q: what is the capital of france?
    cue      A:

With a chat template the same parts go into the model's own turns: the instruction and examples
into the system and earlier turns, the wording into the user's turn, and the end of that turn with
the assistant's header is the cue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from self_ensemble.errors import UserError
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.prompts.tokens import beginning, encode_template, encode_text
from self_ensemble.questions.schema import Framing, Shot

SLOT = "\ue000"  # private-use characters, which no template or question holds


def _render(tokenizer: Any, turns: Sequence[dict[str, str]]) -> str:
    """Write a conversation; a system turn that the template refuses opens the first user turn."""
    try:
        text: str = tokenizer.apply_chat_template(
            list(turns),
            tokenize=False,
            add_generation_prompt=True,
            # Today's date in the prompt, or a model that thinks first, would move the numbers.
            date_string="26 Jul 2024",
            enable_thinking=False,
        )
    except TemplateError as error:
        if turns[0]["role"] == "system":
            first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            return _render(tokenizer, [first, *turns[2:]])
        raise UserError(
            f"This model's chat template refuses the prompt ({error}). Use --chat-template off."
        ) from error
    return text


@dataclass(frozen=True, slots=True)
class PromptFrame:
    """What all questions of a run share, and how a wording becomes a segment.

    Attributes:
        tokenizer: The model's tokenizer.
        prefix: Token ids of the prefix.
        cue: Token ids of the answer cue.
        wording: Format of one wording, with `{}` for its text.
    """

    tokenizer: Any
    prefix: tuple[int, ...]
    cue: tuple[int, ...]
    wording: str

    def parts(self, wordings: Sequence[str]) -> PromptParts:
        """A question's token ids.

        Raises:
            UserError: A wording is empty.
        """
        for index, wording in enumerate(wordings):
            if not wording.strip():
                raise UserError(f"Wording {index} is empty. Every wording needs text.")
        segments = [encode_text(self.tokenizer, self.wording.format(text)) for text in wordings]
        return PromptParts(self.prefix, tuple(segments), self.cue)


def plain_frame(
    tokenizer: Any, instruction: str, shots: Sequence[Shot], framing: Framing
) -> PromptFrame:
    """The few-shot form: text all through, as in published numbers."""
    examples = [
        framing.wording.format(shot.wording) + framing.cue + framing.answer.format(shot.answer)
        for shot in shots
    ]
    prefix = encode_text(tokenizer, instruction + "".join(examples))
    cue = encode_text(tokenizer, framing.cue)
    if not cue:
        raise UserError("The answer cue is empty. It is the token that reads every wording.")
    return PromptFrame(tokenizer, beginning(tokenizer) + prefix, cue, framing.wording)


def chat_frame(tokenizer: Any, instruction: str, shots: Sequence[Shot]) -> PromptFrame:
    """The same parts in the model's chat template.

    Raises:
        UserError: The tokenizer has no chat template, or one that loses a turn's text.
    """
    if not tokenizer.chat_template:
        raise UserError("This model has no chat template. Use --chat-template off.")
    contents = [text for shot in shots for text in (shot.wording, shot.answer)]
    roles = ["user", "assistant"] * len(shots)
    if instruction.strip():
        contents.insert(0, instruction.strip())
        roles.insert(0, "system")
    turns = [{"role": role, "content": f"{SLOT}{n}{SLOT}"} for n, role in enumerate(roles)]
    turns.append({"role": "user", "content": f"{SLOT}wording{SLOT}"})
    text = _render(tokenizer, turns)
    # Odd pieces are slots, even pieces the template's own text.
    pieces = text.split(SLOT)
    if pieces[1::2] != [*map(str, range(len(roles))), "wording"]:
        raise UserError(
            "This model's chat template drops or reorders turns. Use --chat-template off."
        )
    if pieces[-1].rstrip().endswith("<think>"):
        raise UserError(
            "This model's chat template makes it think before it answers, so its first tokens are "
            "no answer. Use --chat-template off."
        )
    prefix: list[int] = []
    for index, piece in enumerate(pieces[:-2]):
        if index % 2:
            prefix.extend(encode_text(tokenizer, contents[int(piece)]))
        else:
            prefix.extend(encode_template(tokenizer, piece))
    start = beginning(tokenizer)
    if start and prefix[:1] == list(start):
        start = ()
    return PromptFrame(
        tokenizer, start + tuple(prefix), encode_template(tokenizer, pieces[-1]), "{}"
    )
