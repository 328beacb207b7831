"""Questions with all that was said to them: each wording's answer and each method's."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from self_ensemble.analysis.changed import question_texts
from self_ensemble.analysis.comparison import Comparison
from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.scoring.files import ResultRow
from self_ensemble.scoring.normalise import normalise

GAINED, LOST, NEW, DISAGREE = "gained", "lost", "new", "disagree"


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    Attributes:
        name: The file; of a wording asked alone the wording.
        prediction: The answer; None in an error row.
        right: Whether it is right.
        error: Why there is no answer; None if there is one.
    """

    name: str
    prediction: str | None
    right: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A question.

    Attributes:
        uuid: Its id.
        question: Its first wording; "" where the files do not say it.
        answers: Accepted answers.
        methods: The answer of every file that has one answer to a question.
        alone: The answer of every wording asked alone; empty where there is no such file.
        changed: Of "gained", "lost" and "new" the files that it is so of, beside the baseline.
    """

    uuid: str
    question: str
    answers: tuple[str, ...]
    methods: tuple[Said, ...]
    alone: tuple[Said, ...]
    changed: Mapping[str, tuple[str, ...]]

    @property
    def num_distinct(self) -> int:
        """How many different answers there are, once normalised."""
        said = (*self.methods, *self.alone)
        return len({normalise(one.prediction) for one in said if one.prediction is not None})

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it is an example of."""
        found = [kind for kind in (GAINED, LOST, NEW) if self.changed.get(kind)]
        return (*found, DISAGREE) if self.num_distinct > 1 else tuple(found)


def answered(
    uuids: Iterable[str], files: Mapping[str, LoadedFile], comparisons: Sequence[Comparison] = ()
) -> tuple[AnsweredQuestion, ...]:
    """Put together all that was said to some questions.

    Args:
        uuids: The questions, in the order of what is returned.
        files: All files of the folder.
        comparisons: Files beside a baseline, for what was gained, lost and new.
    """
    wanted = dict.fromkeys(uuids)
    texts = question_texts(files)
    of_kind: dict[str, dict[str, list[str]]] = {}
    for one in comparisons:
        for kind, found in ((GAINED, one.gained), (LOST, one.lost), (NEW, one.new or ())):
            for uuid in found:
                if uuid in wanted:
                    of_kind.setdefault(uuid, {}).setdefault(kind, []).append(one.file)
    said: dict[bool, dict[str, list[Said]]] = {True: {}, False: {}}
    accepted: dict[str, tuple[str, ...]] = {}
    for name, file in files.items():
        is_alone = bool(file.scores.paraphrase_indices)
        right = {key for key, score in file.score_of().items() if score.accuracy > 0}
        for row in file.rows:
            if row.uuid not in wanted:
                continue
            accepted.setdefault(row.uuid, row.answers)
            said[is_alone].setdefault(row.uuid, []).append(
                Said(_name(name, row), row.prediction,
                     (row.uuid, row.paraphrase_index) in right, row.error)
            )  # fmt: skip
    return tuple(
        AnsweredQuestion(
            uuid=uuid,
            question=texts.get(uuid, ""),
            answers=accepted.get(uuid, ()),
            methods=tuple(said[False].get(uuid, ())),
            alone=tuple(said[True].get(uuid, ())),
            changed={kind: tuple(names) for kind, names in of_kind.get(uuid, {}).items()},
        )
        for uuid in wanted
    )


def choose_examples(
    files: Mapping[str, LoadedFile], comparisons: Sequence[Comparison], number: int
) -> tuple[str, ...]:
    """Choose questions of every kind: gained, lost, others that methods disagree on, the rest.

    Each kind has a quarter, and what one lacks goes to the others in that order. Of a kind those
    that most files gained or lost come first, or that have most different answers; then the
    order of the files.

    Returns:
        Ids, at most so many, by kind.
    """
    order = dict.fromkeys(row.uuid for file in files.values() for row in file.rows)
    times: dict[str, dict[str, int]] = {GAINED: {}, LOST: {}}
    for one in comparisons:
        for kind, found in ((GAINED, one.gained), (LOST, one.lost)):
            for uuid in found:
                times[kind][uuid] = times[kind].get(uuid, 0) + 1
    distinct: dict[str, set[str]] = {}
    for file in files.values():
        for row in file.rows:
            if row.prediction is not None:
                distinct.setdefault(row.uuid, set()).add(normalise(row.prediction))
    changed = times[GAINED].keys() | times[LOST].keys()
    others = {uuid: len(distinct.get(uuid, ())) for uuid in order if uuid not in changed}
    kinds = [
        times[GAINED],
        times[LOST],
        {uuid: count for uuid, count in others.items() if count > 1},
        {uuid: count for uuid, count in others.items() if count <= 1},
    ]
    queues = [
        iter([uuid for _, _, uuid in sorted((-kind[u], place, u) for place, u in enumerate(order)
                                            if u in kind)])
        for kind in kinds
    ]  # fmt: skip
    chosen: list[dict[str, None]] = [{} for _ in queues]
    taken: set[str] = set()
    for share in (-(-number // len(queues)), number):
        for queue, mine in zip(queues, chosen, strict=True):
            room = min(share - len(mine), number - len(taken))
            for uuid in islice(_not_in(queue, taken), max(0, room)):
                mine[uuid] = None
                taken.add(uuid)
    return tuple(uuid for mine in chosen for uuid in mine)


def _not_in(queue: Iterator[str], taken: set[str]) -> Iterator[str]:
    # `taken` grows while this is read.
    return (uuid for uuid in queue if uuid not in taken)


def _name(file: str, row: ResultRow) -> str:
    if row.paraphrase_index is None:
        return file
    return row.wordings[0] if row.wordings else f"wording {row.paraphrase_index + 1}"
