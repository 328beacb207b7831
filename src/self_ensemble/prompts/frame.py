"""What all prompts of a run share, and how a question's prompts are cut into parts.

    text      instruction, examples | Q: what is the capital of france? | A:
    tokens    each whole text at once
    parts     prefix                | segment                           | cue

A token that spans a seam goes to the segment's side, so the parts together are the tokens of the
text. The prefix is what every wording has in common there, the cue what all of them end with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.prompts.parts import PromptParts, num_common_front, num_common_tail
from self_ensemble.prompts.tokens import Encoded, Piece, Pieces, Prompt, TextEncoder

# Beginnings of wordings. A token that one of them changes is no part of the run's prefix; a
# question whose wordings change further ones has a shorter prefix by itself.
PROBES = ("what is it?", "Is it?", "7 of them?", "(so)", "\u4ec0\u4e48?", "\u00c9t\u00e9?")
NUM_KEPT = 1024  # questions whose parts are kept, since a question is checked before it is asked


@dataclass(frozen=True, slots=True)
class PromptFrame:
    """What all questions of a run share, and how a wording becomes a segment.

    Attributes:
        encoder: The model's tokenizer.
        before: Text of the prefix.
        wording: Format of one wording, with `{}` for its text.
        after: Text of the answer cue.
        strips: Whether the spaces around a wording are left out, as some chat templates do.
        prefix: Token ids of the prefix. Some wordings may change its last tokens; then a
            question's own prefix is shorter.
        prior: Token ids of the whole prompt without the question.
        end: The end of `before`, behind a border that no wording moves.
        given: Token ids of what stands before that border.
        whole: Whether a wording is a whole prompt by itself. The cue is then what all wordings of
            a question end with, token by token; it may be empty.
        is_template: Whether a wording is text of a chat template, whose special tokens are meant.
    """

    encoder: TextEncoder
    before: Pieces
    wording: str
    after: Pieces
    strips: tuple[bool, bool]
    prefix: tuple[int, ...]
    prior: tuple[int, ...]
    end: Pieces
    given: tuple[int, ...] | None
    whole: bool = False
    is_template: bool = False
    _kept: dict[tuple[str, ...], PromptParts] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def tokenizer(self) -> Any:
        return self.encoder.tokenizer

    @property
    def prefix_text(self) -> str:
        return "".join(piece.text for piece in self.before)

    @property
    def cue_text(self) -> str:
        return "".join(piece.text for piece in self.after)

    def parts(self, wordings: Sequence[str]) -> PromptParts:
        """A question's token ids.

        Raises:
            UserError: A wording is empty, or the prompts do not end in a token that all of them
                have in common.
        """
        key = tuple(wordings)
        if key not in self._kept:
            if len(self._kept) >= NUM_KEPT:
                self._kept.clear()
            self._kept[key] = self._cut(key)
        return self._kept[key]

    def fresh(self) -> "PromptFrame":
        """The same frame, which has kept no question's parts yet: for one that is kept long."""
        return replace(self, _kept={})

    def prompt(self, wording: str) -> Prompt:
        """The text of one wording's prompt."""
        left, right = self.strips
        text = wording.lstrip() if left else wording
        text = text.rstrip() if right else text
        piece = Piece(self.wording.format(text), self.is_template)
        return Prompt(self.before, (piece,), self.after)

    def encode(self, wordings: Sequence[str]) -> list[Encoded]:
        """The prompts of some wordings, of which only the ends are encoded anew."""
        prompts = [self.prompt(wording)._replace(before=self.end) for wording in wordings]
        return self.encoder.encode(prompts, self.given)

    def behind(self, text: str, wording: str = PROBES[0]) -> tuple[int, ...]:
        """Token ids of a text that goes on behind the cue, of some wording's prompt.

        Raises:
            UserError: The tokenizer joins it with whatever stands before it.
        """
        _, before, after = self.prompt(wording)
        return self.encoder.behind(before + after, (Piece(text),))

    def around(self, before: str, wording: str, cue: str) -> "PromptFrame":
        """The frame of a prompt that is there as text, with a place for a wording in it.

        Args:
            before: What stands before.
            wording: Format of one wording, with `{}` for its text.
            cue: The end, which reads every wording. What looks like a special token is one in the
                prompts of a chat template (`is_template`), but never in a wording.

        Raises:
            UserError: The cue is empty.
        """
        texts = [(Piece(text, self.is_template),) if text else () for text in (before, cue)]
        return make_frame(self.encoder, texts[0], wording, texts[1])

    def identity(self) -> list[object]:
        """What the tokens of every prompt depend on, with the tokens of some: JSON-able."""
        prompts = [encoded.ids for encoded in self.encoder.encode(_probes(self))]
        return [self.before, self.wording, self.after, self.strips, self.prior, prompts]

    def _cut(self, wordings: tuple[str, ...]) -> PromptParts:
        for index, wording in enumerate(wordings):
            if not wording.strip():
                raise UserError(f"Wording {index} is empty. Every wording needs text.", "SE-0203")
            half = next((char for char in wording if "\ud800" <= char <= "\udfff"), None)
            if half is not None:
                raise UserError(
                    f"Wording {index} holds half of a character (U+{ord(half):04X}), which no "
                    "tokenizer reads. Give text in UTF-8.",
                    "SE-0203",
                )
        found = self.encode(wordings)
        prompts = [one.ids for one in found]
        shortest = min(map(len, prompts))
        # The cue has a token, even one that begins in the wording, and a segment has one.
        most = shortest if self.whole else max(min(one.num_behind for one in found), 1)
        fewest = 0 if self.whole else 1
        cue = min(num_common_tail(*(prompt[-most:] for prompt in prompts)), shortest - fewest)
        if cue < 1 and not self.whole:
            raise UserError(_no_cue(self.tokenizer, wordings, prompts), "SE-0503")
        front = min(num_common_front(self.prefix, *prompts), shortest - cue - fewest)
        return PromptParts(
            self.prefix[:front],
            tuple(prompt[front : len(prompt) - cue] for prompt in prompts),
            prompts[0][len(prompts[0]) - cue :],
            self.prior[front:],
        )


def make_frame(
    encoder: TextEncoder,
    before: Pieces,
    wording: str,
    after: Pieces,
    strips: tuple[bool, bool] = (False, False),
) -> PromptFrame:
    """The frame of prompts that consist of these texts.

    Raises:
        UserError: The answer cue has no token of its own.
    """
    (prior,) = encoder.encode([Prompt(before, (), after)])
    # Its first token may begin in what stands before it.
    if prior.num_within == len(prior.ids):
        raise UserError(
            "The answer cue is empty. It is the token that reads every wording.", "SE-0503"
        )
    frame = PromptFrame(encoder, before, wording, after, strips, (), prior.ids, before, None)
    probes = encoder.encode(_probes(frame))
    within = min(one.num_within for one in (prior, *probes))
    within = min(within, num_common_front(*_ids((prior, *probes))))
    frame = replace(frame, prefix=prior.ids[:within])
    end = encoder.end_of(before)
    if end == before:
        return frame
    (tail,) = encoder.encode([Prompt(end, (), after)], ())
    given = prior.ids[: len(prior.ids) - len(tail.ids)]
    shorter = replace(frame, end=end, given=given)
    # Sure by the making of tokenizers; it is seen here on the prompts at hand, too.
    holds = given + tail.ids == prior.ids and _ids(shorter.encode(PROBES)) == _ids(probes)
    return shorter if holds else frame


def whole_frame(tokenizer: Any, *, is_template: bool = False) -> PromptFrame:
    """The frame of wordings that are whole prompts: nothing is put around them.

    For completions. One wording is `generate` on its text. Of several, the end that all of them
    have in common reads all of them (`flex_attention`, which needs such an end).

    Args:
        tokenizer: The model's tokenizer.
        is_template: Whether the prompts are text of a chat template, whose special tokens are
            meant; else what looks like one is text.
    """
    encoder = TextEncoder(tokenizer)
    front = encoder.front
    return PromptFrame(
        encoder, (), "{}", (), (False, False), front, front, (), None,
        whole=True, is_template=is_template,
    )  # fmt: skip


def _probes(frame: PromptFrame) -> list[Prompt]:
    return [frame.prompt(probe) for probe in PROBES]


def _ids(found: Sequence[Encoded]) -> list[tuple[int, ...]]:
    return [one.ids for one in found]


def _no_cue(tokenizer: Any, wordings: Sequence[str], prompts: Sequence[tuple[int, ...]]) -> str:
    short = min(range(len(prompts)), key=lambda n: len(prompts[n]))
    if len(prompts[short]) < 2:
        return (
            f"The prompt of the wording {wordings[short]!r} is one token, so the wording has no "
            "token besides the answer cue. Separate them, for example by a line break."
        )
    last = [prompt[-1:] for prompt in prompts]
    other = next((n for n, token in enumerate(last) if token != last[0]), 0)
    shown = [repr(tokenizer.decode(list(last[n]))) for n in (0, other)]
    return (
        f"The prompts of the wordings {wordings[0]!r} and {wordings[other]!r} end in different "
        f"tokens, {shown[0]} and {shown[1]}, because the tokenizer joins the answer cue with what "
        "stands before it. Separate them, for example by a line break."
    )
