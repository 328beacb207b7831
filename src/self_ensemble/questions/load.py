"""A data set by its name or path."""

from dataclasses import replace
from pathlib import Path

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.questions import demo, myriadlama, webquestions
from self_ensemble.questions.columns import parse_columns
from self_ensemble.questions.files import FileOptions, load_file
from self_ensemble.questions.folders import is_template_folder
from self_ensemble.questions.myriadlama import TemplateChoice
from self_ensemble.questions.paraphrases import add_paraphrases
from self_ensemble.questions.reading import is_file, is_folder
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.questions.tables import is_table_name

DATASETS = (demo.NAME, myriadlama.NAME, webquestions.NAME)


def load_questions(
    dataset: str,
    *,
    data_dir: Path | str | None = None,
    max_samples: int | None = None,
    offset: int = 0,
    num_shots: int = 5,
    seed: int = 0,
    num_manual: int | None = None,
    num_auto: int = 0,
    paraphrases: Path | str | None = None,
    columns: str | None = None,
    encoding: str | None = None,
    split: str | None = None,
    answers_separator: str | None = None,
) -> QuestionSet:
    """Load a data set, ready to be asked.

    Args:
        dataset: One of `DATASETS`, or the path of a file or folder in one of the shapes of
            docs/data.md: a table with a question and/or paraphrases, answers and perhaps an id,
            or facts and templates as MyriadLAMA has them.
        data_dir: Folder with webqa's or myriadlama's files; without it they come from the hub.
        max_samples: How many questions to keep, from the first on. The few-shot examples do not
            depend on it.
        offset: How many questions to leave out before those.
        num_shots: Number of few-shot examples.
        seed: Seed of their choice.
        num_manual: Manual templates per fact of myriadlama; None means all.
        num_auto: Automatic templates per fact of myriadlama.
        paraphrases: File with wordings that replace the data set's own: a table with `uuid` or
            `id`, `question` and `paraphrases`.
        columns: Which columns of the user's file are used, "question=q,answers=gold".
        encoding: Of the user's file; UTF-8 where None.
        split: Which split of the user's folder.
        answers_separator: What stands between the answers of a text in the user's file; "none"
            says that every text is one answer as it stands.

    Raises:
        UserError: The name is unknown, the data cannot be used, or an option does not fit.
    """
    choice = TemplateChoice(num_manual, num_auto)
    _check_counts(max_samples, offset, num_shots, choice)
    if answers_separator == "":
        raise UserError(
            "Got an empty --answers-separator. Give what stands between answers.", "SE-0010"
        )
    reading = FileOptions(parse_columns(columns), encoding, split, answers_separator)
    folder = None if data_dir is None else Path(data_dir)
    _check_fit(dataset, folder, choice, reading)
    question_set = _load(dataset, folder, choice, reading, num_shots, seed)
    kept = question_set.questions[offset:][:max_samples]
    if not kept:
        raise UserError(
            f"Got --offset {offset}, but {question_set.name} has "
            f"{len(question_set.questions)} questions. Give less.",
            "SE-0112",
        )
    question_set = replace(question_set, questions=kept)
    return (
        question_set if paraphrases is None else add_paraphrases(question_set, Path(paraphrases))
    )


def _load(
    dataset: str,
    data_dir: Path | None,
    choice: TemplateChoice,
    reading: FileOptions,
    num_shots: int,
    seed: int,
) -> QuestionSet:
    if dataset == demo.NAME:
        return demo.load_demo(num_shots=num_shots, seed=seed)
    if dataset == webquestions.NAME:
        if data_dir is None:
            return webquestions.load_from_hub(num_shots=num_shots, seed=seed)
        return webquestions.load_from_folder(data_dir, num_shots=num_shots, seed=seed)
    if dataset == myriadlama.NAME:
        if data_dir is None:
            return myriadlama.load_from_hub(choice=choice, num_shots=num_shots, seed=seed)
        return myriadlama.load_from_folder(data_dir, choice=choice, num_shots=num_shots, seed=seed)
    path = _as_path(dataset)
    if is_template_folder(path):
        return myriadlama.load_from_folder(path, choice=choice, num_shots=num_shots, seed=seed)
    return load_file(path, num_shots=num_shots, seed=seed, options=reading)


def _as_path(dataset: str) -> Path:
    path = Path(dataset)
    if (
        not is_table_name(dataset)
        and len(path.parts) < 2
        and not (dataset and (is_file(path) or is_folder(path)))
    ):
        raise unknown_name("dataset", dataset, DATASETS)
    return path


def _check_counts(
    max_samples: int | None, offset: int, num_shots: int, choice: TemplateChoice
) -> None:
    if max_samples is not None and max_samples < 1:
        raise UserError(
            f"Got --max-samples {max_samples}. Give 1 or more, or leave it out.", "SE-0010"
        )
    for option, value in (
        ("--offset", offset),
        ("--num-shots", num_shots),
        ("--num-manual", choice.num_manual or 0),
        ("--num-auto", choice.num_auto),
    ):
        if value < 0:
            raise UserError(f"Got {option} {value}. Give 0 or more.", "SE-0010")
    if choice.num_manual == 0 and choice.num_auto == 0:
        raise UserError(
            "Got --num-manual 0 without --num-auto: no wordings. Give one of them.", "SE-0010"
        )


def _check_fit(
    dataset: str, data_dir: Path | None, choice: TemplateChoice, reading: FileOptions
) -> None:
    # An option that would be ignored is refused: it would change no number, and say it did.
    templates = dataset not in DATASETS and is_template_folder(Path(dataset))
    if reading != FileOptions() and (dataset in DATASETS or templates):
        raise UserError(
            "--columns, --encoding, --split and --answers-separator say how to read a table of "
            f"your own, which {dataset} is not. Leave them out.",
            "SE-0012",
        )
    if choice != TemplateChoice() and dataset != myriadlama.NAME and not templates:
        raise UserError(
            f"--num-manual and --num-auto choose templates, which {dataset} has not. "
            f"Use them with --dataset {myriadlama.NAME}.",
            "SE-0012",
        )
    if data_dir is not None:
        if dataset not in (webquestions.NAME, myriadlama.NAME):
            raise UserError(
                f"--data goes with {webquestions.NAME} and {myriadlama.NAME}, not with {dataset}. "
                "Leave it out.",
                "SE-0012",
            )
        if not is_folder(data_dir):
            raise UserError(f"--data {data_dir} is not a folder. Check the path.", "SE-0114")
