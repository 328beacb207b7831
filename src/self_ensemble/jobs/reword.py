"""Wordings of questions that come without a data set, made once and kept by model and text."""

from collections.abc import Iterable
from pathlib import Path

from self_ensemble.identity.files import cache_folder, digest_of_json
from self_ensemble.jobs.paraphrase import ParaphraseOptions, paraphrase
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.models.identity import identity_of
from self_ensemble.models.load import LoadedModel
from self_ensemble.questions.by_text import load_wordings


def reword(
    questions: Iterable[str],
    model: LoadedModel,
    num: int,
    *,
    folder: Path | str | None = None,
    progress: Progress = SILENT,
) -> tuple[dict[str, tuple[str, ...]], Path]:
    """Draw wordings of questions with the gate of `paraphrase`, or take those made before.

    The file's name has the model's content and the questions in it, so another model, other
    questions or another number make another file. A run that was stopped goes on.

    Args:
        questions: Their texts; repeats count once.
        model: Draws the wordings.
        num: Wordings to draw of each; the gate may leave fewer.
        folder: Where files are kept; None: `~/.cache/self-ensemble/wordings`.
        progress: Who is told how it goes.

    Returns:
        The wordings of each question, itself first, and the file.

    Raises:
        UserError: As `paraphrase`.
    """
    asked = sorted({question.strip() for question in questions})
    rows = [
        {"uuid": str(place), "question": text, "answers": []} for place, text in enumerate(asked)
    ]
    by_model = digest_of_json(identity_of(model)).removeprefix("xxh3:")[:12]
    by_text = digest_of_json([asked, num]).removeprefix("xxh3:")[:12]
    name = f"{Path(model.name).name}-{by_model}-{by_text}.feather"
    made = paraphrase(
        rows,
        Path(folder or cache_folder("wordings")) / name,
        model=model,
        options=ParaphraseOptions(num=num),
        progress=progress,
    )
    return load_wordings(made.path), made.path
