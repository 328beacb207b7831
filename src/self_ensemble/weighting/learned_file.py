"""The file of learned weights: what they were fitted on, and whom they may serve."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import EDITED, JSON_KEY, MARK, from_sealed_json
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.disk import read_bytes
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.paths import model_folder_name
from self_ensemble.weighting.groups import By, group_of

KIND = "learned weights"
REMEDY = "Make the file anew with `self-ensemble learn-weights`."
CHANGED = (
    f'If you changed it yourself, write "{EDITED}" in the place of its "{JSON_KEY}"; else make it '
    "anew with `self-ensemble learn-weights --repair`."
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LearnedWeights:
    """Learned weights, as far as their use depends on it.

    Attributes:
        by: Whether there is one vector for all questions or one per relation.
        weights: For each group of questions, `(len(indices),)` each.
        indices: Indices of the wordings, in the order of the weights.
        dataset: `QuestionSet.name` of the dev set.
        model_folder: Name of the model's folder among the results.
        dev_uuids: The questions that they were fitted on.
    """

    by: By
    weights: Mapping[str, tuple[float, ...]]
    indices: tuple[int, ...]
    dataset: str
    model_folder: str
    dev_uuids: tuple[str, ...]


def learned_fields(learned: LearnedWeights) -> dict[str, object]:
    """The fields that `read_learned` reads."""
    return {
        "kind": KIND,
        "by": learned.by,
        "weights": learned.weights,
        "indices": learned.indices,
        "dataset": learned.dataset,
        "model_folder": learned.model_folder,
        "dev_uuids": learned.dev_uuids,
    }


def write_learned(path: Path, fields: Mapping[str, object]) -> None:
    """Write weights, and what they came from, atomically as one JSON object."""
    Manifest(fields).write(path)


def is_learned_file(path: Path) -> bool:
    """Whether a path is that of learned weights, and not of a table of weights."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        content = path.read_bytes()
    except OSError:
        return False  # Reading it as a table says what is wrong with it.
    # By a search, since damage is looked for before anything is parsed; two marks, one of which
    # is still there if the other is damaged.
    return MARK in content or json.dumps(KIND).encode() in content


def read_document(path: Path, remedy: str, *, may_be_edited: bool = False) -> dict[str, object]:
    """Read all fields of a file of learned weights.

    Raises:
        DamagedError: It is not as it was written.
    """
    return from_sealed_json(read_bytes(path, remedy), path, remedy, may_be_edited=may_be_edited)


def read_learned(path: Path) -> LearnedWeights:
    """Read what `write_learned` wrote.

    Raises:
        UserError: It is no such file, or a field of it is not as it must be; names the field.
    """
    document = read_document(path, CHANGED, may_be_edited=True)
    if document.get("kind") != KIND:
        raise UserError(f"{path} holds no learned weights (field 'kind'). {REMEDY}", "SE-0610")
    indices = _list_of(int, document, "indices", path)
    weights = _field(document, "weights", dict, path)
    by = _field(document, "by", str, path)
    if by not in ("index", "template"):
        raise UserError(
            f"{path}: field 'by' is {by!r}, not index or template. {REMEDY}", "SE-0610"
        )
    return LearnedWeights(
        cast(By, by),
        {group: _vector(path, group, value, len(indices)) for group, value in weights.items()},
        tuple(indices),
        _field(document, "dataset", str, path),
        _field(document, "model_folder", str, path),
        tuple(_list_of(str, document, "dev_uuids", path)),
    )


def learned_weights_for(
    path: Path, question_set: QuestionSet, chosen: Sequence[int], model: str
) -> dict[str, tuple[float, ...]]:
    """Learned weights of the chosen wordings of every question.

    Args:
        path: File of learned weights.
        question_set: The questions to answer.
        chosen: Indices of the wordings that are asked.
        model: Name of the model, as the user gives it.

    Returns:
        Weights by uuid, `(len(chosen),)` each; empty for a question with too few wordings.

    Raises:
        UserError: The file belongs to another data set, model or choice of wordings, was fitted
            on one of the questions, or has no weights for one; names the first such row.
    """
    learned = read_learned(path)
    for what, theirs, ours in (
        ("data set", learned.dataset, question_set.name),
        ("model", learned.model_folder, model_folder_name(model)),
        ("wordings", _listed(learned.indices), _listed(chosen)),
    ):
        if theirs != ours:
            raise UserError(
                f"{path} was learned with {what} {theirs}; this run has {ours}. "
                "Run `self-ensemble learn-weights` with the same ones.",
                "SE-0608",
            )
    seen = frozenset(learned.dev_uuids)
    for question in question_set.questions:
        if question.uuid in seen:
            raise UserError(
                f"{path} was fitted on row {question.uuid!r}, which is to be answered. Answer "
                "rows that are not in the dev set (--offset, --max-samples), or learn on others.",
                "SE-0608",
            )
    return {
        question.uuid: _weights_of(question, learned, chosen, path)
        for question in question_set.questions
    }


def _weights_of(
    question: Question, learned: LearnedWeights, chosen: Sequence[int], path: Path
) -> tuple[float, ...]:
    if len(question.wordings) <= max(chosen):
        return ()  # Too few wordings: the run makes an error row of it.
    group = group_of(question, learned.by, chosen)
    if group not in learned.weights:
        raise UserError(
            f"{path} has no weights for the relation {group!r} of row {question.uuid!r}: no "
            "question of the dev set has it. Learn on more questions, or with --by index.",
            "SE-0608",
        )
    return learned.weights[group]


def _field(document: Mapping[str, object], name: str, kind: type[T], path: Path) -> T:
    value = document.get(name)
    if not isinstance(value, kind):
        raise UserError(
            f"{path} has no field {name!r} of type {kind.__name__}. {REMEDY}", "SE-0610"
        )
    return value


def _list_of(kind: type[T], document: Mapping[str, object], name: str, path: Path) -> list[T]:
    values = _field(document, name, list, path)
    if not values or not all(isinstance(v, kind) and not isinstance(v, bool) for v in values):
        raise UserError(
            f"{path}: field {name!r} is no list of {kind.__name__}. {REMEDY}", "SE-0610"
        )
    return values


def _vector(path: Path, group: str, value: object, size: int) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else []
    fit = all(
        isinstance(w, int | float) and not isinstance(w, bool) and math.isfinite(w) and w >= 0
        for w in numbers
    )
    if len(numbers) != size or not fit or not any(numbers):
        raise UserError(
            f"{path}: field 'weights' has {value} for {group!r}; expected {size} finite numbers "
            f"from 0, one above 0. {REMEDY}",
            "SE-0610",
        )
    return tuple(float(w) for w in numbers)


def _listed(indices: Sequence[int]) -> str:
    return ",".join(map(str, indices))
