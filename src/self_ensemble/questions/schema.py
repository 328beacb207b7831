"""What every data set is turned into: questions in several wordings, and how they are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from self_ensemble.questions.patterns import is_pattern


@dataclass(frozen=True, slots=True)
class Question:
    """One question in several wordings.

    Attributes:
        uuid: Identity of the row; unique in its data set.
        wordings: The original wording first, then its paraphrases. Empty where there is none.
        answers: Accepted answers, the main one first; patterns (`questions.patterns`) last.
        groups: For each wording the kind it belongs to ("manual", "auto"); empty if all are alike.
        extra: The row's other columns, for example weights.
    """

    uuid: str
    wordings: tuple[str, ...]
    answers: tuple[str, ...]
    groups: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def answer_texts(self) -> tuple[str, ...]:
        """The accepted answers that can be shown and said: all but the patterns."""
        return tuple(answer for answer in self.answers if not is_pattern(answer))


@dataclass(frozen=True, slots=True)
class Framing:
    r"""How a wording and the answer cue become text.

    Attributes:
        wording: Format of one wording, with `{}` for its text, for example "Q: {}\n".
        cue: The answer cue, the shared fusion point, for example "A:".
        answer: Format of a few-shot answer after the cue, for example " {}\n\n".
    """

    wording: str = "Q: {}\n"
    cue: str = "A:"
    answer: str = " {}\n\n"


@dataclass(frozen=True, slots=True)
class Shot:
    """One few-shot example."""

    wording: str
    answer: str


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A data set ready to be asked.

    Attributes:
        name: Name of the folder its results go to.
        questions: The evaluated questions, in file order.
        shots: Few-shot examples; never among the evaluated questions.
        instruction: First lines of the prefix.
        framing: How wordings and cue become text.
        stop: Strings that end an answer.
        max_new_tokens: Longest answer, in tokens.
        source: Where the data came from, for the manifest (path or hub id, and content hash).
    """

    name: str
    questions: tuple[Question, ...]
    shots: tuple[Shot, ...]
    instruction: str
    framing: Framing = field(default_factory=Framing)
    stop: tuple[str, ...] = ("\n",)
    max_new_tokens: int = 20
    source: str = ""
