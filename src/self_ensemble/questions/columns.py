"""Which of a table's columns hold the question, its paraphrases, the answers and the id.

Names count in any case, and with or without blanks and underscores. The user's `--columns` comes
first, then the names of this project, then those that data sets of this field use:

    question          question | utterance (WebQuestions)
    answers           answers | answer (NQ-open, TriviaQA), possible_answers (PopQA), targetValue
                      (WebQuestions)
    answer_aliases    answer_aliases (MuSiQue), further answers
    answer_patterns   answer_patterns, answer_pattern (TREC)
    id                uuid | id | question_id (TriviaQA), qid, example_id, _id
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.questions.rows import Row
from self_ensemble.questions.structures import structure_of

# Names by rank; two columns of one rank are a question to the user.
_KNOWN: Mapping[str, Sequence[frozenset[str]]] = {
    "question": (frozenset({"question"}), frozenset({"utterance"})),
    "paraphrases": (frozenset({"paraphrases"}),),
    "answers": (
        frozenset({"answers"}),
        frozenset({
            "answer", "possibleanswers", "targetvalue", "answers.text", "answer.value",
            "answer.aliases", "answer.normalizedaliases",
        }),
    ),
    "answer_aliases": (frozenset({"answeraliases"}),),
    "answer_patterns": (frozenset({"answerpatterns", "answerpattern"}),),
    "id": (
        frozenset({"uuid"}), frozenset({"id"}),
        frozenset({"questionid", "qid", "exampleid", "_id"}),
    ),
}  # fmt: skip
ROLES = tuple(_KNOWN)
OPTION = "--columns question=NAME,answers=NAME"


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns by role, for rows that have the same columns.

    Attributes:
        by_role: A column's name, or a path into an object ("answer.aliases"), by role.
        names: All columns.
    """

    by_role: Mapping[str, str]
    names: tuple[str, ...]
    used: frozenset[str] = field(default=frozenset())

    @property
    def wordings(self) -> tuple[str, ...]:
        """Columns of one wording each, where several are named as the paraphrases."""
        path = self.by_role.get("paraphrases")
        if path is None or _head(self.names, path) is not None:
            return ()
        parts = _parts(self.names, "paraphrases", path)
        return tuple(part for part in parts if _head(self.names, part) is not None)

    def value(self, row: Row, role: str) -> object:
        """The value of a role in a row; None where there is no such column."""
        path = self.by_role.get(role)
        return None if path is None else value_at(row, path)


def parse_columns(text: str | None) -> Mapping[str, str]:
    """Read "question=q,answers=gold"; "paraphrases=w2+w3" names columns of one wording each.

    Raises:
        UserError: It is written otherwise, or names an unknown role or one twice.
    """
    chosen: dict[str, str] = {}
    for part in [] if text is None else text.split(","):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not role or not equals or not name:
            raise UserError(
                f"Got --columns {text!r}. Write {OPTION}, with names from the file on the right.",
                "SE-0107",
            )
        role = "id" if role == "uuid" else role
        if role not in ROLES:
            raise unknown_name("left side of --columns", role, ROLES)
        if role in chosen:
            raise UserError(
                f"Got --columns {text!r}, which names {role} twice. Name it once.", "SE-0107"
            )
        chosen[role] = name
    return chosen


def check_columns_exist(rows: Sequence[Row], chosen: Mapping[str, str]) -> None:
    """Refuse a chosen column that no row has.

    Raises:
        UserError: There is such a column; the message lists those that are there.
    """
    names = tuple(dict.fromkeys(name for row in rows for name in row.values)) if chosen else ()
    for role, path in chosen.items():
        for part in _parts(names, role, path):
            if _head(names, part) is None:
                raise UserError(
                    f"{rows[0].where}: there is no column {part!r}. The columns are: "
                    f"{listed(names)}.",
                    "SE-0107",
                )


def columns_of(row: Row, chosen: Mapping[str, str]) -> Columns:
    """Find the columns of a row; a role that was chosen has its column or none.

    Raises:
        UserError: Two columns would do for one role.
    """
    try:
        return _columns(tuple(row.values), tuple(chosen.items()))
    except UserError as error:
        raise UserError(f"{row.where}: {error}", "SE-0107") from None


@lru_cache(maxsize=256)
def _columns(names: tuple[str, ...], chosen: tuple[tuple[str, str], ...]) -> Columns:
    by_role = {role: path for role, path in chosen if _heads(names, role, path)}
    taken = {head for role, path in by_role.items() for head in _heads(names, role, path)}
    free = [name for name in names if name not in taken]
    for role in ROLES:
        if role not in dict(chosen) and (name := _known(role, free)) is not None:
            by_role[role] = name
    used = {head for role, path in by_role.items() for head in _heads(names, role, path)}
    return Columns(by_role, names, frozenset(used))


def _known(role: str, names: Iterable[str]) -> str | None:
    for known in _KNOWN[role]:
        found = [name for name in names if _folded(name) in known]
        if len(found) > 1:
            raise UserError(
                f"the columns {' and '.join(repr(name) for name in found)} could both be the "
                f"{role}. Say which: --columns {role}={found[0]}.",
                "SE-0107",
            )
        if found:
            return found[0]
    return None


def _folded(name: str) -> str:
    return re.sub(r"(?<=\w)[_ -]", "", name.strip()).casefold()


def _parts(names: Iterable[str], role: str, path: str) -> tuple[str, ...]:
    """The paths that a path stands for: wordings may be in several columns."""
    if role != "paraphrases" or _head(names, path) is not None:
        return (path,)
    return tuple(part.strip() for part in path.split("+"))


def _heads(names: tuple[str, ...], role: str, path: str) -> list[str]:
    """The columns that a role's paths begin with."""
    heads = (_head(names, part) for part in _parts(names, role, path))
    return [head for head in heads if head is not None]


def _head(names: Iterable[str], path: str) -> str | None:
    """The column that a path begins with: the longest name that it begins with."""
    found = [name for name in names if path == name or path.startswith(name + ".")]
    return max(found, key=len, default=None)


def value_at(row: Row, path: str) -> object:
    """Follow a path into a row's objects; into every one of a list of objects.

    Raises:
        UserError: The path leads nowhere in this row.
    """
    head = _head(row.values, path)
    assert head is not None
    value = row.values[head]
    for key in path[len(head) + 1 :].split(".") if path != head else ():
        if value is None:
            return None
        if isinstance(value, str):
            value = _opened(row, path, value)
        items: list[Any] = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) and key in item for item in items):
            has = f", only {listed(value)}" if isinstance(value, dict) else ""
            raise UserError(
                f"{row.where}: {path!r} leads nowhere: no key {key!r}{has}.", "SE-0107"
            )
        found = [item[key] for item in items]
        value = found if isinstance(value, list) else found[0]
    return value


def _opened(row: Row, path: str, text: str) -> object:
    try:
        return structure_of(text)
    except ValueError as error:
        raise UserError(f"{row.where}: {path!r} leads into a text, {error}.", "SE-0107") from None


def listed(names: Iterable[object]) -> str:
    """Names for a message; the first twenty of many."""
    texts = [" ".join(str(name).split()) for name in names]
    more = f" and {len(texts) - 20} more" if len(texts) > 20 else ""
    return (", ".join(texts[:20]) or "none") + more
