"""Questions in several wordings: WebQuestions, MyriadLAMA, the user's files, a bundled demo."""

from self_ensemble.questions.load import DATASETS, load_questions
from self_ensemble.questions.schema import Framing, Question, QuestionSet, Shot

__all__ = ["DATASETS", "Framing", "Question", "QuestionSet", "Shot", "load_questions"]
