r"""Wordings of questions that stand in other people's prompts, known by their own text.

    Question: who wrote hamlet?\nAnswer:        the prompt, as an item of another tool has it
              ^^^^^^^^^^^^^^^^^                 the question: a field of the item, found once

Nothing is guessed: a question that is not there, or is there twice, is refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from self_ensemble.errors import UserError, reading
from self_ensemble.questions.fields import optional_text, text_list
from self_ensemble.questions.files import original_first
from self_ensemble.questions.reading import read_content
from self_ensemble.questions.tables import read_table

AUTO = "auto"
LONGEST_SHOWN = 60  # characters of a text in a message


class Cut(NamedTuple):
    """A prompt cut around its question."""

    before: str
    question: str
    after: str


@dataclass(frozen=True, slots=True)
class KnownWordings:
    """Wordings by question.

    Attributes:
        source: Where they come from, for messages and records.
        by_question: The wordings of each, the question itself first.
        num: The first so many are asked, N, the question included; None for all that there are.
        accept_fewer: Whether a question with fewer is asked with those that it has.
    """

    source: str
    by_question: Mapping[str, tuple[str, ...]]
    num: int | None = None
    accept_fewer: bool = False

    @classmethod
    def given(cls, paraphrases: str | None, num: int | None, fewer: str) -> "KnownWordings":
        """From options: a file, "auto" for wordings that are still to be drawn, or nothing.

        Raises:
            UserError: An option that cannot be.
        """
        if fewer not in ("refuse", "accept"):
            raise UserError(f"Got fewer={fewer}; expected refuse or accept.", "SE-0011")
        if paraphrases == AUTO and (num or 0) < 2:
            raise UserError(
                "paraphrases=auto needs num_paraphrases=2 or more wordings.", "SE-0010"
            )
        by_question = {} if paraphrases in (None, AUTO) else load_wordings(str(paraphrases))
        return cls(str(paraphrases), by_question, num, fewer == "accept")

    def cut(self, text: str, item: Mapping[str, object], field: str | None = None) -> Cut:
        """Find the question of an item in its prompt.

        Args:
            text: The prompt.
            item: The item's fields.
            field: The field that is the question; None: the one that has wordings.

        Raises:
            UserError: No field, or several, are questions with wordings; or the question does not
                stand in the prompt, or more than once.
        """
        question = self._question(item, field)
        place = text.find(question)
        if place < 0:
            raise UserError(
                f"The question {_shown(question)} does not stand in its prompt as it is, so there "
                "is no place for its other wordings. Ask with wordings of the prompt (templates).",
                "SE-0207",
            )
        if text.find(question, place + 1) >= 0:
            raise UserError(
                f"The question {_shown(question)} stands in its prompt more than once, so it is "
                "not clear what is to be reworded. Leave out the example that repeats it.",
                "SE-0207",
            )
        return Cut(text[:place], question, text[place + len(question) :])

    def cut_text(self, text: str) -> Cut:
        """Find the question with wordings in a text of which nothing else is known.

        Raises:
            UserError: None of them stands there, several do, or one does more than once.
        """
        if text.strip() in self.by_question:
            return self.cut(text, {"text": text})
        found = [question for question in self.by_question if question in text]
        # One may be the beginning of another.
        found = [one for one in found if not any(one != more and one in more for more in found)]
        if len(found) != 1:
            what = "several questions" if found else "no question"
            raise UserError(
                f"The prompt {_shown(text)} has {what} of {self.source} in it. Give a file that "
                "has the question as it stands there.",
                "SE-0107",
            )
        return self.cut(text, {"text": found[0]})

    def wordings(self, question: str) -> tuple[str, ...]:
        """The wordings to ask a question in, itself first.

        Raises:
            UserError: There are fewer than are asked for.
        """
        found = self.by_question[question]
        if self.num is not None and len(found) < self.num and not self.accept_fewer:
            raise UserError(
                f"The question {_shown(question)} has {len(found)} wordings in {self.source}, and "
                f"{self.num} are asked for. Ask for fewer, or accept those that there are.",
                "SE-0201",
            )
        return found[: self.num]

    def _question(self, item: Mapping[str, object], field: str | None) -> str:
        if field is not None:
            question = field_text(item, field)
            if question not in self.by_question:
                raise UserError(
                    f"{self.source} has no wordings of the question {_shown(question)}. Give a "
                    "file that was made for these questions.",
                    "SE-0202",
                )
            return question
        texts = {value.strip() for value in item.values() if isinstance(value, str)}
        found = sorted(texts & self.by_question.keys())
        if len(found) != 1:
            what = "several questions" if found else "no question"
            raise UserError(
                f"An item with the fields {', '.join(map(repr, item))} has {what} of "
                f"{self.source}. Name the field that is the question.",
                "SE-0107",
            )
        return found[0]


def field_text(item: Mapping[str, object], field: str) -> str:
    """The text of an item's field, without spaces around it.

    Raises:
        UserError: There is none.
    """
    value = item.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"An item has no text in the field {field!r}. Name the field that is the question; "
            f"there are: {', '.join(map(repr, item))}.",
            "SE-0107",
        )
    return value.strip()


def load_wordings(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Wordings by question, itself first, from a file such as `paraphrase` writes.

    Args:
        path: A table with `question` and `paraphrases` (a list); without `question` the first of
            `paraphrases` is the original.

    Raises:
        UserError: The file is malformed, or has a question twice with other wordings.
    """
    found: dict[str, tuple[str, ...]] = {}
    for row in read_table(Path(path)).rows:
        wordings = original_first(optional_text(row, "question"), text_list(row, "paraphrases"))
        question = wordings[0].strip() if wordings else ""
        if not question:
            raise UserError(
                f"{row.where}: the row has no question. Give 'question' and 'paraphrases', or the "
                "question as the first of 'paraphrases'.",
                "SE-0107",
            )
        wordings = (question, *wordings[1:])
        if found.setdefault(question, wordings) != wordings:
            raise UserError(
                f"{row.where}: the question {_shown(question)} stands there twice with other "
                "wordings. Keep one of the two.",
                "SE-0110",
            )
    return found


def load_templates(path: Path | str) -> tuple[str, ...]:
    """Texts that whole prompts are put into.

    Args:
        path: A JSON file with a list of texts, each with one `{}`.

    Raises:
        UserError: It holds something else.
    """
    content = read_content(Path(path)).data
    with reading(path, "Give a JSON file with a list of texts."):
        found = json.loads(content)
    if not isinstance(found, list) or not found or not all(isinstance(t, str) for t in found):
        raise UserError(
            f'{path} holds no list of texts. Write ["Answer briefly. {{}}", ...].', "SE-0104"
        )
    for text in found:
        if text.count("{}") != 1:
            raise UserError(
                f"The template {_shown(text)} of {path} has {text.count('{}')} times {{}}, the "
                "place of the prompt. Write it once.",
                "SE-0109",
            )
    return tuple(found)


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "...")
