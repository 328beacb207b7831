"""What the playground shows of a question, which is also what a shared file holds.

N wordings, T tokens of an answer.
"""

import json
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from self_ensemble.errors import UserError

FORMAT: Literal["self-ensemble playground 1"] = "self-ensemble playground 1"
MAX_FILE = 1 << 19  # bytes
MAX_WORDINGS, MAX_TOKENS, MAX_METHODS = 16, 256, 16


def _one_line(text: str) -> str:
    if len(text.splitlines()) != 1 or not text.strip():
        raise ValueError("a wording is one line, and not empty")
    return text


Style = Literal["chat", "plain"]
LONGEST = "Longest answer, in tokens"
STYLES = {"plain": "as \u201cQ: \u2026 A:\u201d", "chat": "as a chat"}
Wording = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_one_line)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Word = Annotated[str, Field(max_length=4000)]
Length = Annotated[int, Field(ge=0, le=8192)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Asked(_Strict):
    """A question.

    Attributes:
        wordings: The original first, `(N,)`.
        methods: How they are fused, by name.
        style: `chat`: each wording is the user's turn. `plain`: each is written "Q: ..." and
            answered behind "A:", up to the end of the line.
        max_tokens: Longest answer.
    """

    wordings: Annotated[list[Wording], Field(min_length=1, max_length=MAX_WORDINGS)]
    methods: Annotated[list[Name], Field(min_length=1, max_length=MAX_METHODS)]
    style: Style
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class Said(_Strict):
    """An answer, as far as it has come.

    Attributes:
        text: What was said.
        logprob: Mean log-probability of its tokens, in nats; None where it is not known yet.
        is_whole: Whether it has ended.
    """

    text: Annotated[str, Field(max_length=20_000)] = ""
    logprob: float | None = None
    is_whole: bool = False


class Refusal(_Strict):
    """A wording that the gate refused, and why."""

    text: Word
    reason: Name


class Gate(_Strict):
    """Wordings that were made of an original: kept ones, the best first, and refused ones."""

    original: Wording
    kept: Annotated[list[Word], Field(max_length=100)]
    refused: Annotated[list[Refusal], Field(max_length=200)]


class Strip(_Strict):
    """Which wording decided which token: what `report.attribution_strip` draws."""

    kind: Name
    method: Name
    tokens: Annotated[list[Word], Field(max_length=MAX_TOKENS + 1)]
    values: Annotated[list[list[float]], Field(max_length=MAX_TOKENS + 1)]
    total: Annotated[list[float], Field(min_length=1, max_length=MAX_WORDINGS)]

    @property
    def wordings(self) -> int:
        """N."""
        return len(self.total)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.values) != len(self.tokens):
            raise ValueError("values are needed for each of the tokens")
        if any(len(row) != len(self.total) for row in self.values):
            raise ValueError("each token needs a value of each wording")
        return self


class Lengths(_Strict):
    """How many tokens the parts of the packed question have; the mask is drawn from them."""

    prefix: Length
    segments: Annotated[list[Annotated[int, Field(ge=1, le=8192)]], Field(min_length=1)]
    cue: Annotated[int, Field(ge=1, le=8192)]
    generated: Length


class Board(_Strict):
    """All that is shown.

    Attributes:
        model: What answered.
        asked: The question.
        gate: Wordings that were made, where they were.
        members: What each wording answered alone, `(N,)`; empty before it is known.
        fused: What each method answered.
        strips: Which wording decided.
        lengths: Of the packed question; None where it was not asked.
    """

    format: Literal["self-ensemble playground 1"] = FORMAT
    model: Name
    asked: Asked
    gate: Gate | None = None
    members: Annotated[list[Said], Field(max_length=MAX_WORDINGS)] = []
    fused: dict[Name, Said] = {}
    strips: Annotated[list[Strip], Field(max_length=MAX_METHODS)] = []
    lengths: Lengths | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        number = len(self.asked.wordings)
        if len(self.members) not in (0, number):
            raise ValueError(f"{len(self.members)} members for {number} wordings")
        if not self.fused.keys() <= set(self.asked.methods):
            raise ValueError("fused has answers of methods that were not asked")
        if any(strip.wordings != number for strip in self.strips):
            raise ValueError(f"strips need values of {number} wordings")
        if self.lengths is not None and len(self.lengths.segments) != number:
            raise ValueError(f"lengths need {number} segments")
        return self

    def change(self, **values: object) -> "Board":
        """The same board with something else on it."""
        return self.model_copy(update=values)


def write(board: Board) -> str:
    """A board as the text of a file."""
    return json.dumps(board.model_dump(exclude_none=True), indent=1, ensure_ascii=False)


def read(text: str) -> Board:
    """A board from the text of a file.

    Raises:
        UserError: It is none: what is wrong with it, in a line. Nothing of it is repeated but
            names of fields.
    """
    if len(text.encode(errors="replace")) > MAX_FILE:
        raise UserError(
            f"The file is larger than {MAX_FILE >> 10} KiB. Open one that the playground saved.",
            "SE-1005",
        )
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(
            "The file is no JSON. Open one that the playground saved.", "SE-1005"
        ) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserError(
            f'The file has no "format": "{FORMAT}". Open one that the playground saved.',
            "SE-1005",
        )
    try:
        return Board.model_validate(found)
    except ValidationError as error:
        raise UserError(f"The file cannot be opened: {_first(error)}.", "SE-1005") from None


def asked_of(question: str, further: str, **values: object) -> Asked:
    """What was typed, as a question.

    Args:
        question: The original wording.
        further: Further wordings, one a line; empty lines are none.
        values: The other fields.

    Raises:
        UserError: It cannot be asked: why, in a line.
    """
    if not question.strip():
        raise UserError("There is no question. Write one first.", "SE-0010")
    lines = (question, *further.split("\n"))
    try:
        return Asked.model_validate(
            {"wordings": [one.strip() for one in lines if one.strip()], **values}
        )
    except ValidationError as error:
        raise UserError(f"Not asked: {_first(error)}.", "SE-0010") from None


def gate_of(asked: Asked, made: str) -> Gate | None:
    """Wordings that were made, from their JSON; None where they are not of this question.

    Raises:
        UserError: It is no such JSON.
    """
    try:
        gate = Gate.model_validate_json(made) if made else None
    except ValidationError as error:
        raise UserError(f"Not asked: {_first(error)}.", "SE-0010") from None
    return gate if gate is not None and gate.original == asked.wordings[0] else None


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:100]
    said = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"{place}: {said}" if place else said
