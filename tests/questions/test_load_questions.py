"""A data set by its name: the demo, unknown names, and options that do not fit."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from self_ensemble.questions import load_questions

Writer = Callable[[str, Iterable[object]], Path]


def test_the_demo_needs_nothing_else() -> None:
    loaded = load_questions("demo")
    assert len(loaded.questions) >= 80
    assert all(len(q.wordings) == 6 and q.answers for q in loaded.questions)
    asked = {text for q in loaded.questions for text in q.wordings}
    assert len(loaded.shots) == 5
    assert asked.isdisjoint(shot.wording for shot in loaded.shots)


def test_more_examples_than_the_demo_has_are_refused() -> None:
    with pytest.raises(UserError, match=r"data set demo has \d+ few-shot examples, 99 were"):
        load_questions("demo", num_shots=99)


def test_max_samples_keeps_the_first_questions_and_the_same_examples(
    write_jsonl: Writer,
) -> None:
    path = write_jsonl("m.jsonl", [{"question": f"q{i}", "answers": "a"} for i in range(30)])
    whole, part = load_questions(str(path)), load_questions(str(path), max_samples=3)
    assert part.questions == whole.questions[:3]
    assert part.shots == whole.shots


def test_offset_leaves_out_the_first_questions_before_max_samples_counts(
    write_jsonl: Writer,
) -> None:
    path = write_jsonl("m.jsonl", [{"question": f"q{i}", "answers": "a"} for i in range(30)])
    whole, part = load_questions(str(path)), load_questions(str(path), offset=4, max_samples=3)
    assert part.questions == whole.questions[4:7]
    assert part.shots == whole.shots
    assert load_questions(str(path), offset=20).questions == whole.questions[20:]
    assert load_questions(str(path), offset=24, max_samples=9).questions == whole.questions[24:]


@pytest.mark.parametrize("offset", [25, 99])
def test_an_offset_that_leaves_no_question_is_refused(write_jsonl: Writer, offset: int) -> None:
    path = write_jsonl("m.jsonl", [{"question": f"q{i}", "answers": "a"} for i in range(30)])
    with pytest.raises(UserError, match=rf"--offset {offset}\b.*\b25\b"):
        load_questions(str(path), offset=offset)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("wbqa", r"Unknown dataset 'wbqa'\. Did you mean 'webqa'\? Choose from: demo, myr"),
        ("absent.jsonl", r"absent\.jsonl does not exist"),
        ("absent/questions", r"absent/questions does not exist"),
        ("folder", r"--dataset folder is a folder without a data set; it holds nothing\. Give a"),
        ("notes.txt", r"notes\.txt has an unknown file type '\.txt'"),
    ],
)
def test_what_names_no_data_set_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UserError, match=message):
        load_questions(dataset)


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("demo", {"max_samples": 0}, "Got --max-samples 0"),
        ("demo", {"offset": -1}, "Got --offset -1"),
        ("demo", {"num_shots": -1}, "Got --num-shots -1"),
        ("myriadlama", {"num_manual": -1}, "Got --num-manual -1"),
        ("myriadlama", {"num_auto": -1}, "Got --num-auto -1"),
        ("myriadlama", {"num_manual": 0}, "--num-manual 0 without --num-auto"),
        ("demo", {"num_manual": 3}, "--num-manual and --num-auto choose templates"),
        ("demo", {"data_dir": Path()}, "--data goes with webqa and myriadlama, not with demo"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    dataset: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_questions(dataset, **options)


@pytest.mark.parametrize("dataset", ["", "a" * 5000, "a" * 5000 + ".jsonl", "a\0.jsonl", "a/\0"])
def test_a_path_that_the_system_cannot_take_is_refused(dataset: str) -> None:
    with pytest.raises(UserError, match=r"Unknown dataset|cannot be read|does not exist|longer"):
        load_questions(dataset)


def test_a_device_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in ("/dev/zero", str(tmp_path / "pipe.jsonl")):
        with pytest.raises(UserError, match=r"is a device, a pipe or a socket, not a file"):
            load_questions(path)


def test_a_folder_and_a_file_of_wordings_may_be_texts(write_jsonl: Writer, tmp_path: Path) -> None:
    row = {
        "uuid": "demo-001",
        "question": "What is the capital of France?",
        "paraphrases": ["Which city heads France?"],
    }
    wordings = write_jsonl("wordings.jsonl", [row])
    found = load_questions("demo", max_samples=1, paraphrases=str(wordings))
    assert found == load_questions("demo", max_samples=1, paraphrases=wordings)
    with pytest.raises(UserError, match="none is not a folder"):
        load_questions("webqa", data_dir=str(tmp_path / "none"))
