"""Example questions: what each wording answered alone, beside the fused answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table

from self_ensemble.scoring.lemmas import Lemmatiser
from self_ensemble.scoring.scores import is_right


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer and whether it is right."""

    asked: str
    answer: str
    right: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One question as it went.

    Attributes:
        uuid: The question.
        accepted: Accepted answers.
        alone: What each wording answered by itself.
        fused: What each fused method answered, under the method's name.
    """

    uuid: str
    accepted: tuple[str, ...]
    alone: tuple[Verdict, ...]
    fused: tuple[Verdict, ...]

    @property
    def kind(self) -> str:
        """Fusion "helped", "hurt" or was "even", against the original wording."""
        before, after = self.alone[0].right, self.fused[0].right
        return "even" if before == after else "helped" if after else "hurt"

    @property
    def num_answers(self) -> int:
        return len({verdict.answer for verdict in self.alone})


def make_examples(
    alone: Sequence[Mapping[str, object]],
    fused: Mapping[str, Sequence[Mapping[str, object]]],
    lemmatiser: Lemmatiser,
) -> list[Example]:
    """Join result rows into examples.

    Args:
        alone: Rows of `per_prompt`, one per wording.
        fused: Rows of each fused method, by its name; the first decides an example's kind.
        lemmatiser: For judging answers.
    """

    def verdict(asked: object, row: Mapping[str, object]) -> Verdict:
        prediction, answers = str(row["prediction"]), list(_texts(row["answers"]))
        right = is_right(prediction, answers, lemmatiser)
        return Verdict(str(asked), prediction.strip(), right)

    by_uuid: dict[str, list[Verdict]] = {}
    accepted: dict[str, tuple[str, ...]] = {}
    for row in alone:
        if row["error"] is None:
            by_uuid.setdefault(str(row["uuid"]), []).append(verdict(row["paraphrase"], row))
            accepted[str(row["uuid"])] = _texts(row["answers"])
    fused_by_uuid: dict[str, list[Verdict]] = {}
    for name, rows in fused.items():
        for row in rows:
            if row["error"] is None:
                fused_by_uuid.setdefault(str(row["uuid"]), []).append(verdict(name, row))
    return [
        Example(uuid, accepted[uuid], tuple(verdicts), tuple(fused_by_uuid[uuid]))
        for uuid, verdicts in by_uuid.items()
    ]


def choose_examples(examples: Sequence[Example]) -> list[Example]:
    """One question where fusion helped, one where it hurt, and the one most disagreed on.

    The first two are the earliest of their kind; a kind that does not occur is left out.
    """
    chosen = []
    for kind in ("helped", "hurt", "even"):
        found = [example for example in examples if example.kind == kind]
        if kind == "even":
            found.sort(key=lambda example: -example.num_answers)
        chosen += found[:1]
    return chosen


def example_view(example: Example) -> Table:
    """One example as a table for the terminal."""
    title = {
        "helped": "fusion helped",
        "hurt": "fusion hurt",
        "even": "the wordings disagree most" if example.num_answers > 1 else "all agree",
    }[example.kind]
    table = Table(
        title=f"{escape(example.uuid)}: {title}; accepted: {escape(', '.join(example.accepted))}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    table.add_column("asked", width=64)
    table.add_column("answer", width=36)
    table.add_column("")
    for verdicts in (example.alone, example.fused):
        for verdict in verdicts:
            mark = "[green]right[/]" if verdict.right else "[red]wrong[/]"
            table.add_row(escape(verdict.asked), escape(verdict.answer), mark)
        table.add_section()
    return table


def _texts(value: object) -> tuple[str, ...]:
    assert isinstance(value, list | tuple)
    return tuple(str(text) for text in value)
