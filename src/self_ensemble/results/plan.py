"""Which rows a result must have: columns, questions, and how many rows of each."""

from collections import defaultdict
from dataclasses import dataclass, field

import pyarrow as pa

from self_ensemble.results.schema import earlier


@dataclass(frozen=True, slots=True)
class RowPlan:
    """The rows of a finished result.

    Attributes:
        schema: Its columns; results of earlier versions lack some of them.
        uuids: Its questions, in the order of the rows.
        wordings: Where a question has one row a wording, the wordings' indices in the order of
            the rows; None where it has one row.
    """

    schema: pa.Schema
    uuids: tuple[str, ...]
    wordings: tuple[int, ...] | None = None
    _known: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset(self.uuids))
        assert len(self._known) == len(self.uuids), "a question is there twice"

    def fault(self, table: pa.Table) -> str | None:
        """What is wrong with the rows of some of the questions, or None.

        Args:
            table: All rows of each question that it has any of.
        """
        if table.schema.remove_metadata() not in (self.schema, earlier(self.schema)):
            return "it has other columns than this version of self-ensemble writes"
        places = positions(table)
        strangers = places.keys() - self._known
        if strangers:
            return f"it has row {min(strangers)!r}, which is none of the questions"
        index = table["paraphrase_index"].to_pylist() if self.wordings else [None] * len(table)
        expected = [None] if self.wordings is None else list(self.wordings)
        for uuid, rows in places.items():
            found = [index[row] for row in rows]
            if found != expected:
                what = "rows" if self.wordings is None else f"the rows of wordings {found}"
                got = f"{len(found)} {what}" if self.wordings is None else what
                return f"it has {got} of question {uuid!r}, not {_wanted(self.wordings)}"
        return None

    def fault_of_whole(self, table: pa.Table) -> str | None:
        """What is wrong with all rows of a finished result, or None."""
        fault = self.fault(table)
        if fault is not None:
            return fault
        found = list(positions(table))
        missing = self._known - set(found)
        if missing:
            return f"it lacks {len(missing)} of {len(self.uuids)} questions"
        return None if found == list(self.uuids) else "its questions are in another order"


def positions(table: pa.Table) -> dict[str, list[int]]:
    """Where each question's rows are, in their order."""
    places: dict[str, list[int]] = defaultdict(list)
    for position, uuid in enumerate(table["uuid"].to_pylist()):
        places[uuid].append(position)
    return dict(places)


def _wanted(wordings: tuple[int, ...] | None) -> str:
    return "one" if wordings is None else f"those of {list(wordings)}"
