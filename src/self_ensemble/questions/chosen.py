"""Which questions a job is about: by name, as options, or as objects. Nothing here needs torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.files import questions_from_rows
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import QuestionSet


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Which questions; the fields are arguments of `load_questions`."""

    dataset: str
    data: Path | None = None
    paraphrases: Path | None = None
    max_samples: int | None = None
    offset: int = 0
    num_shots: int = 5
    num_manual: int | None = None
    num_auto: int = 0
    seed: int = 0
    columns: str | None = None
    encoding: str | None = None
    split: str | None = None
    answers_separator: str | None = None

    def load(self) -> QuestionSet:
        """Load the questions.

        Raises:
            UserError: As `load_questions`.
        """
        return load_questions(
            self.dataset,
            data_dir=self.data,
            max_samples=self.max_samples,
            offset=self.offset,
            num_shots=self.num_shots,
            seed=self.seed,
            num_manual=self.num_manual,
            num_auto=self.num_auto,
            paraphrases=self.paraphrases,
            columns=self.columns,
            encoding=self.encoding,
            split=self.split,
            answers_separator=self.answers_separator
            and self.answers_separator.replace("\\n", "\n").replace("\\t", "\t"),
        )

    def manifest_fields(self) -> dict[str, object]:
        """What a manifest says of the choice; the questions themselves are compared by content."""
        names = ("paraphrases", "max_samples", "num_shots", "num_manual", "num_auto")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Data:
    """The questions of a job, loaded, and how they were chosen."""

    question_set: QuestionSet
    options: DataOptions

    @classmethod
    def of(cls, questions: "Questions") -> "Data":
        """Load questions, whatever they are given as.

        Raises:
            UserError: They cannot be used.
        """
        if isinstance(questions, Data):
            return questions
        if isinstance(questions, QuestionSet):
            return cls(questions, DataOptions(questions.name, num_shots=len(questions.shots)))
        if isinstance(questions, str | Path):
            questions = DataOptions(str(questions))
        if isinstance(questions, DataOptions):
            return cls(questions.load(), questions)
        rows = list(questions) if isinstance(questions, Iterable) else [questions]
        if not all(isinstance(row, Mapping) for row in rows):
            raise UserError(
                f"Got questions of type {type(questions).__name__}. Give a data set's name, a "
                "file, DataOptions, a QuestionSet, or rows such as "
                "{'question': ..., 'answers': [...]}; of a DataFrame to_dict('records').",
                "SE-0206",
            )
        question_set = questions_from_rows(rows)
        return cls(question_set, DataOptions(question_set.name, num_shots=0))


# A name or path, options, the questions themselves, or rows as a file holds them.
Questions = str | Path | DataOptions | Data | QuestionSet | Iterable[Mapping[str, object]]
