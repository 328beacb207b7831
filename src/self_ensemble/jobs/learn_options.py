"""How weights are learned: the options, and what is refused of them and of the questions."""

from dataclasses import dataclass
from typing import cast

from self_ensemble.errors import UserError, at_least
from self_ensemble.jobs.inputs import CHAT_TEMPLATE, check_choice
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.running.choice import WordingChoice, fewest_wordings_message
from self_ensemble.weighting.crossval import check_folds
from self_ensemble.weighting.devset import MAX_QUESTIONS
from self_ensemble.weighting.groups import By, group_of


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """How weights are learned.

    Attributes:
        by: A weight for each "index" (place in the list of wordings) or each "template".
        num_paraphrases: Wordings per question, N, the original included.
        indices: These wordings instead.
        folds: Of the cross-validation.
        seed: Of its split.
        chat_template: "auto", "on" or "off".
        batch_size: Questions at once; None lets it shrink to what fits.
        overwrite: Learn anew over old weights.
        repair: Set aside a damaged file, and learn again.
    """

    by: str = "index"
    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    folds: int = 5
    seed: int = 0
    chat_template: str = "off"
    batch_size: int | None = None
    overwrite: bool = False
    repair: bool = False

    @property
    def choice(self) -> WordingChoice:
        """Which wordings are asked."""
        return WordingChoice(self.num_paraphrases, self.indices)

    def check(self) -> None:
        """Refuse what cannot be, before anything is loaded.

        Raises:
            UserError: A value is none of those above.
        """
        check_choice("grouping", self.by, ("index", "template"))
        check_choice("chat template setting", self.chat_template, CHAT_TEMPLATE)
        at_least("--num-paraphrases", self.num_paraphrases, 1)
        at_least("--batch-size", self.batch_size, 1)
        if len(self.choice.chosen()) < 2:
            raise UserError("Got 1 wording, which has all the weight. Give 2 or more.", "SE-0010")

    def check_questions(self, question_set: QuestionSet) -> None:
        """Refuse questions from which nothing can be learned.

        Raises:
            UserError: They are too many or too few, or have too few wordings.
        """
        questions, choice = question_set.questions, self.choice
        if not questions:
            raise UserError(
                f"No question of {question_set.name} is left. Use a smaller --offset.", "SE-0609"
            )
        if len(questions) > MAX_QUESTIONS:
            raise UserError(
                f"Got {len(questions)} questions. Weights are learned on at most {MAX_QUESTIONS}; "
                "use --max-samples, and keep the others to evaluate the weights.",
                "SE-0609",
            )
        problem = fewest_wordings_message(question_set, choice)
        if problem is not None:
            raise UserError(problem, "SE-0201")
        check_folds(self.folds, len(questions))
        for question in questions:
            if len(question.wordings) >= choice.needed:
                group_of(question, cast(By, self.by), choice.chosen())
