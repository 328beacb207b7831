"""What a result was made with, as its manifest has it."""

from collections.abc import Mapping, Sequence

from self_ensemble.ensemble import Ensemble
from self_ensemble.identity.checksum import sha256_of
from self_ensemble.models.identity import identity_of, versions
from self_ensemble.prompts.tokens import PROMPT_TOKENS
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.manifest import IDENTITY
from self_ensemble.running.batches import default_batch_size
from self_ensemble.running.making import About

# Answers do not depend on these: questions and model are compared by content, wherever they lie.
MAY_DIFFER = frozenset({"batch_size", "data_source", "paraphrases", "model", "model_revision"})


# The manifest's field that says which questions are asked.
QUESTIONS = "questions_sha256"


def about(ensemble: Ensemble, question_set: QuestionSet) -> About:
    """What a maker with an ensemble is made of."""
    fields = manifest_fields(ensemble, question_set)
    backend = ensemble.engine.backend_name
    if ensemble.model.engine != "torch":
        backend += f", engine {ensemble.model.engine}"
    return About(fields, backend, default_batch_size(ensemble.model))


def manifest_fields(ensemble: Ensemble, question_set: QuestionSet) -> dict[str, object]:
    """What a result was made with, but for the questions; a change is refused on resume."""
    return {
        "model": ensemble.model.name,
        "model_revision": ensemble.model.revision,
        IDENTITY: identity_of(ensemble.model),
        "dtype": str(ensemble.model.dtype).removeprefix("torch."),
        "device": ensemble.model.device.type,
        "attention": ensemble.engine.backend_name,
        # Null for PyTorch: results outlive the day on which there was a second one.
        "engine": None if ensemble.model.engine == "torch" else ensemble.model.engine,
        "dataset": question_set.name,
        "data_source": question_set.source,
        "prompt_tokens": PROMPT_TOKENS,
        "prompt_sha256": sha256_of(ensemble.frame.identity()),
        "prefix": ensemble.frame.prefix_text,
        "versions": versions(ensemble.model),
    }


def of_questions(
    questions: Sequence[Question], made_with: Mapping[str, object]
) -> dict[str, object]:
    """What a maker's results are made with, once it is known which questions are asked."""
    return {**made_with, QUESTIONS: questions_sha256(questions)}


def questions_sha256(questions: Sequence[Question]) -> str:
    """What is asked, as a manifest has it."""
    return sha256_of([(q.uuid, q.wordings, q.answers, q.groups) for q in questions])
