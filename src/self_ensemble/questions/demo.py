"""The bundled questions: lasting facts in six wordings each."""

from importlib.resources import as_file, files

from self_ensemble.questions.files import INSTRUCTION, question_from_row
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.questions.shots import draw_shots
from self_ensemble.questions.tables import read_table

NAME = "demo"


def load_demo(*, num_shots: int, seed: int) -> QuestionSet:
    """Load the bundled questions; rows of the split "shot" serve as few-shot examples.

    Raises:
        UserError: More few-shot examples are asked for than the file has.
    """
    with as_file(files("self_ensemble.questions").joinpath("demo.jsonl")) as path:
        table = read_table(path)
    everything = [question_from_row(row) for row in table.rows]
    questions = tuple(q for q in everything if q.extra["split"] == "question")
    candidates = [q for q in everything if q.extra["split"] == "shot"]
    shots = draw_shots(
        candidates, questions, num_shots=num_shots, seed=seed, source=f"The data set {NAME}"
    )
    return QuestionSet(
        name=NAME,
        questions=questions,
        shots=shots,
        instruction=INSTRUCTION,
        max_new_tokens=20,
        source=f"{NAME} (sha256 {table.sha256})",
    )
