"""Whole texts to token ids, with the token borders at which they can be cut.

A tokenizer joins characters: "?" and a line break are one token of Llama 3's, and SentencePiece
writes the first word of a text otherwise than the same word inside one. So a prompt is encoded as
the whole text that it is, and cut afterwards.

Text that comes from data stays text: `<|im_end|>` inside a question never becomes the special
token, while in a chat template the same characters mean the token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from self_ensemble.errors import UserError
from self_ensemble.prompts.borders import last_line, splits_at_lines
from self_ensemble.prompts.literal import LiteralTokenizer, special_tokens
from self_ensemble.prompts.parts import num_common_front, num_common_tail
from self_ensemble.prompts.spans import num_behind, num_within

# How prompts become tokens, for manifests: what was made in another way is not gone on with.
PROMPT_TOKENS = "of the whole text"

NUM_KEPT = 1024  # texts of templates whose special tokens have been counted


class Piece(NamedTuple):
    """A stretch of a prompt's text.

    Attributes:
        text: The characters.
        is_template: Whether special tokens in it are meant; in data they are text.
    """

    text: str
    is_template: bool = False


Pieces = tuple[Piece, ...]


class Prompt(NamedTuple):
    """The text of one prompt, with its two seams.

    Attributes:
        before: Instruction and examples, up to the wording.
        wording: One wording.
        after: The answer cue.
    """

    before: Pieces
    wording: Pieces
    after: Pieces

    @property
    def pieces(self) -> Pieces:
        return self.before + self.wording + self.after


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a prompt, and how far they can be given to its first and last part.

    Attributes:
        ids: All of them, those included that the tokenizer puts in front of every text.
        num_within: How many of the first lie wholly before the wording.
        num_behind: How many of the last lie wholly behind it.
    """

    ids: tuple[int, ...]
    num_within: int
    num_behind: int


class TextEncoder:
    """A tokenizer that reads whole prompts, and special tokens in data as plain text.

    The ids of a prompt are those of `tokenizer(text)`, with two exceptions: a token that the
    tokenizer appends to every text (T5 ends each with `</s>`, BERT with `[SEP]`) is left out,
    because the prompt is to be continued; and where a chat template writes the first token (BOS)
    itself, it stands once.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Find out what the tokenizer puts in front of every text.

        Raises:
            UserError: It changes a text by more than that.
        """
        self.tokenizer = tokenizer
        self._front = _front(tokenizer)
        self._special = special_tokens(tokenizer)
        self._literal: LiteralTokenizer | None = None
        self._apart: dict[Pieces, tuple[int, ...]] = {}
        self._meant: dict[tuple[str, ...], int] = {}

    @property
    def front(self) -> tuple[int, ...]:
        """What the tokenizer puts in front of every text, such as BOS."""
        return self._front

    def encode(
        self, prompts: Sequence[Prompt], given: tuple[int, ...] | None = None
    ) -> list[Encoded]:
        """Encode whole prompts, all of them plain or all of them in one chat template.

        Args:
            prompts: The prompts, or their ends behind a border (see `end_of`).
            given: Token ids of what stands before that border.

        Raises:
            UserError: A tokenizer written in Python cannot but read data as special tokens.
        """
        if not prompts:
            return []
        plain = not any(piece.is_template for piece in prompts[0].pieces)
        texts = [_text(prompt.pieces) for prompt in prompts]
        if not self.tokenizer.is_fast:
            assert given is None, "it has no offsets, so no borders"
            return [
                self._encoded_slowly(prompt, text)
                for prompt, text in zip(prompts, texts, strict=True)
            ]
        batch = self._call(texts, split_special_tokens=plain)
        return [
            self._encoded(prompt, text, ids, encoding, given)
            for prompt, text, ids, encoding in zip(
                prompts, texts, batch["input_ids"], batch.encodings, strict=True
            )
        ]

    def end_of(self, before: Pieces) -> Pieces:
        """The end of a prompt's first part, from the last place that is surely a border."""
        if not self.tokenizer.is_fast:
            return before
        if not any(piece.is_template for piece in before):
            text = _text(before)
            return (Piece(text[last_line(text) :]),) if splits_at_lines(self.tokenizer) else before
        for number in range(len(before) - 1, -1, -1):
            piece = before[number]
            start = self._special.last_border(piece.text) if piece.is_template else None
            if start is not None:
                return (piece._replace(text=piece.text[start:]), *before[number + 1 :])
        return before

    def behind(self, given: Pieces, text: Pieces) -> tuple[int, ...]:
        """Token ids of a text that goes on behind a prompt, whose tokens are there already.

        Args:
            given: What the prompt ends with.
            text: What follows it.

        Raises:
            UserError: The tokenizer joins the two, and cannot read the text apart.
        """
        # Joined with the prompt's end, the text stands behind something else instead, which keeps
        # SentencePiece from putting its word mark before it.
        for start in (given, (Piece("\n"),), (Piece("a"),)):
            before, whole = self.encode([Prompt(start, (), ()), Prompt(start, (), text)])
            if whole.ids[: len(before.ids)] == before.ids:
                return whole.ids[len(before.ids) :]
        raise UserError(
            f"This model's tokenizer joins {text[0].text[:20]!r} with whatever stands before it, "
            "so it cannot be encoded apart. Choose another model.",
            "SE-0504",
        )

    def _call(self, text: Any, *, split_special_tokens: bool) -> Any:
        return self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=split_special_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # the length is checked elsewhere
        )

    def _encoded(
        self,
        prompt: Prompt,
        text: str,
        ids: list[int],
        encoding: Any,
        given: tuple[int, ...] | None,
    ) -> Encoded:
        if self._reads_data_as_special(prompt, ids):
            if self._literal is None:
                self._literal = LiteralTokenizer(self.tokenizer)
            prompt = Prompt(*(self._spelled(self._literal, part) for part in prompt))
            text = _text(prompt.pieces)
            encoding = self._literal.encode(text)
            ids = encoding.ids
        whole = self._with_front(prompt, ids) if given is None else given + tuple(ids)
        first = len(_text(prompt.before))
        within = num_within(encoding, text, first) + len(whole) - len(ids)
        behind = num_behind(encoding, text, first + len(_text(prompt.wording)))
        return Encoded(whole, within, behind)

    def _encoded_slowly(self, prompt: Prompt, text: str) -> Encoded:
        """Without offsets: what a part has in common with the same part encoded apart is its."""
        ids: list[int] = self._call(text, split_special_tokens=False)["input_ids"]
        if self._reads_data_as_special(prompt, ids):
            # Told to split special tokens, such a tokenizer reads no added token at all.
            ids = self._call(text, split_special_tokens=True)["input_ids"]
            if self._reads_data_as_special(prompt, ids, by_id=True):
                raise UserError(
                    "The text spells a special token of this model, and the model's tokenizer "
                    "(written in Python) can read it as the token only. Reword the text.",
                    "SE-0504",
                )
        whole = self._with_front(prompt, ids)
        before, after = self._ids_apart(prompt.before), self._ids_apart(prompt.after)
        within = num_common_front(whole, self._with_front(prompt, before))
        return Encoded(whole, within, num_common_tail(whole, after))

    def _ids_apart(self, pieces: Pieces) -> tuple[int, ...]:
        if pieces not in self._apart:
            ids = self._call(_text(pieces), split_special_tokens=False)["input_ids"]
            self._apart[pieces] = tuple(ids)
        return self._apart[pieces]

    def _with_front(self, prompt: Prompt, ids: Sequence[int]) -> tuple[int, ...]:
        starts_itself = bool(prompt.pieces) and prompt.pieces[0].is_template
        if starts_itself and tuple(ids[: len(self._front)]) == self._front:
            return tuple(ids)
        return self._front + tuple(ids)

    def _reads_data_as_special(
        self, prompt: Prompt, ids: Sequence[int], *, by_id: bool = False
    ) -> bool:
        """Whether ids of special tokens may have come from data; `by_id`: surely have."""
        special = self._special
        template = tuple(piece.text for piece in prompt.pieces if piece.is_template)
        data = [piece.text for piece in prompt.pieces if not piece.is_template]
        if template:
            spelled = any(map(special.are_in, data))
            return spelled or special.count(ids) != self._num_meant(template)
        unknown = special.unknown in ids and not by_id and any(map(special.are_in, data))
        return unknown or not special.known.isdisjoint(ids)

    def _num_meant(self, template: tuple[str, ...]) -> int:
        """How many special tokens a template writes."""
        if template not in self._meant:
            if len(self._meant) >= NUM_KEPT:
                self._meant.clear()
            self._meant[template] = sum(
                self._special.count(self._call(text, split_special_tokens=False)["input_ids"])
                for text in template
            )
        return self._meant[template]

    @staticmethod
    def _spelled(literal: LiteralTokenizer, pieces: Pieces) -> Pieces:
        return tuple(
            piece._replace(text=literal.spelled(piece.text, is_template=piece.is_template))
            for piece in pieces
        )


def _text(pieces: Pieces) -> str:
    return "".join(piece.text for piece in pieces)


def _front(tokenizer: Any) -> tuple[int, ...]:
    """What a tokenizer puts in front of every text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    ids = tokenizer("a")["input_ids"]
    for start in range(len(ids) - len(bare) + 1):
        if bare and ids[start : start + len(bare)] == bare:
            return tuple(ids[:start])
    raise UserError(
        "This model's tokenizer makes other tokens of a text when it adds special tokens to it, "
        f"for example {ids} of 'a' and {bare} without them. Choose another model.",
        "SE-0504",
    )
