"""`self-ensemble paraphrase`: files, resume, refusals, and what is printed."""

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from self_ensemble.cli.main import main
from self_ensemble.questions.load import load_questions
from tests.cli.commands import interrupt, read_rows, write_rows

NUM = 3


@pytest.fixture
def command(questions: Path, long_folder: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The command line that rewords the ten questions, in two rounds, into a file."""

    def make(output: str = "out/w.jsonl", **options: str) -> list[str]:
        given = {
            "--dataset": str(questions), "--model": str(long_folder), "--num": str(NUM),
            "--tries": "2", "--num-shots": "0", "--batch-size": "4",
            "--output": str(tmp_path / output), **options,
        }  # fmt: skip
        return ["paraphrase", *(text for pair in given.items() for text in pair)]

    return make


def drawn(frame: pd.DataFrame) -> list[list[str]]:
    """All texts drawn for each question."""
    return [
        [*paraphrases, *spare, *(refused["text"] for refused in rejected)]
        for paraphrases, spare, rejected in zip(
            frame["paraphrases"], frame["spare"], frame["rejected"], strict=True
        )
    ]


def test_a_run_leaves_the_same_rows_as_jsonl_and_as_feather(command, tmp_path, capfd) -> None:
    assert main(command()) == 0
    frame = pd.read_feather(tmp_path / "out" / "w.feather")
    rows = read_rows(tmp_path / "out" / "w.jsonl")
    assert list(frame["uuid"]) == [row["uuid"] for row in rows] == [f"q{n}" for n in range(10)]
    assert rows[3]["question"] == "Who built bridge number 3?"
    for row, paraphrases, rejected in zip(
        rows, frame["paraphrases"], frame["rejected"], strict=True
    ):
        assert row["paraphrases"] == list(paraphrases)
        assert row["rejected"] == list(rejected)
        assert row["missing"] == NUM - len(row["paraphrases"]) > 0
        # Two rounds of two samples, each kept or refused with its reason.
        assert len(row["paraphrases"]) + len(row["spare"]) + len(row["rejected"]) == 4
    err = capfd.readouterr().err
    assert "10 questions, 40 candidates" in err
    assert "Questions with fewer than 3 wordings: 10." in err
    assert str(tmp_path / "out" / "w.jsonl") in err
    names = ["w.feather", "w.jsonl", "w.jsonl.sha256"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_the_file_is_a_data_set_too(command, tmp_path) -> None:
    assert main(command()) == 0
    for name in ("w.jsonl", "w.feather"):
        loaded = load_questions(str(tmp_path / "out" / name), num_shots=0)
        assert loaded.questions[3].wordings[0] == "Who built bridge number 3?"
        assert loaded.questions[3].answers == ("Paris",)


def test_wordings_do_not_depend_on_the_batch_size_but_on_the_seed(command, tmp_path) -> None:
    assert main(command("a.feather")) == 0
    assert main(command("b.feather", **{"--batch-size": "1"})) == 0
    assert main(command("c.feather", **{"--seed": "1"})) == 0
    first, second, third = (
        drawn(pd.read_feather(tmp_path / f"{name}.feather")) for name in ("a", "b", "c")
    )
    assert first == second
    assert first != third


def test_one_json_line_counts_what_the_file_holds(command, tmp_path, capfd) -> None:
    assert main([*command(), "--json"]) == 0
    captured = capfd.readouterr()
    (line,) = captured.out.splitlines()
    assert captured.err == ""
    found = json.loads(line)
    rows = read_rows(tmp_path / "out" / "w.jsonl")
    assert found["questions"] == len(rows)
    assert found["candidates"] == 40
    assert sum(found["rejected"].values()) == sum(len(row["rejected"]) for row in rows)
    assert found["kept"] == sum(len(row["paraphrases"]) for row in rows)
    assert found["too_few"] == sum(row["missing"] > 0 for row in rows)
    assert found["files"] == [str(tmp_path / "out" / name) for name in ("w.jsonl", "w.feather")]
    assert found["seconds"] > 0


def test_a_finished_file_is_kept_and_shown(command, tmp_path, capfd) -> None:
    assert main(command()) == 0
    store = tmp_path / "out" / "w.feather"
    before = store.read_bytes()
    (tmp_path / "out" / "w.jsonl").unlink()
    capfd.readouterr()
    assert main([*command(), "--show", "2"]) == 0
    captured = capfd.readouterr()
    assert "Finished already." in captured.err
    assert "Who built bridge number 1?" in captured.out
    assert "Who built bridge number 2?" not in captured.out
    reasons = {
        refused["reason"] for refused in read_rows(tmp_path / "out" / "w.jsonl")[0]["rejected"]
    }
    assert all(reason in captured.out for reason in reasons)
    assert store.read_bytes() == before
    assert main(["paraphrase", "--output", str(store), "--show", "1"]) == 0
    assert "Who built bridge number 0?" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [("--temperature", "0.5", "temperature was 0.7, now 0.5"), ("--num", "2", "num was 3, now 2"),
     ("--seed", "4", "seed was 0, now 4"), ("--max-samples", "4", "max_samples was null, now 4")],
)  # fmt: skip
def test_other_options_are_refused_until_overwrite(
    command, tmp_path, capfd, option, value, field
) -> None:
    assert main(command()) == 0
    before = read_rows(tmp_path / "out" / "w.jsonl")
    assert main(command(**{option: value})) == 2
    err = capfd.readouterr().err
    assert field in err
    assert err.endswith("Use --overwrite to start anew, or another --output. [SE-0704]\n")
    assert read_rows(tmp_path / "out" / "w.jsonl") == before
    assert main([*command(**{option: value}), "--overwrite"]) == 0
    assert read_rows(tmp_path / "out" / "w.jsonl") != before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_run_goes_on_to_the_same_rows(command, tmp_path, number) -> None:
    assert main(command("whole.jsonl")) == 0
    line = command("cut.jsonl", **{"--batch-size": "1"})
    interrupt(line, tmp_path, number)
    assert not (tmp_path / "cut.feather").exists()
    assert not (tmp_path / "cut.jsonl").exists()
    assert main(line) == 0
    whole, cut = (pd.read_feather(tmp_path / f"{name}.feather") for name in ("whole", "cut"))
    assert list(cut["uuid"]) == list(whole["uuid"])
    assert drawn(cut) == drawn(whole)


def test_human_wordings_go_through_the_gate_into_a_file_for_generate(
    questions, tiny_folder, tmp_path, capfd
) -> None:
    rows = read_rows(questions)
    rows[4]["paraphrases"] = ["Who built bridge number 5?", "Who in Paris built bridge 4?"]
    write_rows(questions, rows)
    output = tmp_path / "human.jsonl"
    common = ["--dataset", str(questions), "--num-shots", "2"]
    assert main(["paraphrase", "--human", "--output", str(output), *common]) == 0
    (refused,) = [row for row in read_rows(output) if row["uuid"] == "q4"]
    assert [one["reason"] for one in refused["rejected"]] == ["lost_number", "answer_leaked"]
    (kept,) = [row for row in read_rows(output) if row["uuid"] == "q8"]
    assert kept["paraphrases"] == ["Bridge 8 was built by whom?", "Name the builder of bridge 8?"]
    assert kept["styles"] == ["human", "human"]
    assert kept["logprobs"] == [None, None]
    frame = pd.read_feather(output.with_suffix(".feather"))
    assert all(math.isnan(number) for numbers in frame["logprobs"] for number in numbers)
    # The row that lost its wordings is an error row of the run, as any with too few.
    line = ["generate", *common, "--model", str(tiny_folder), "--num-paraphrases", "3",
            "--paraphrases", str(output), "--output-dir", str(tmp_path / "out"),
            "--max-new-tokens", "3"]  # fmt: skip
    assert main(line) == 3
    answers = pd.read_feather(next((tmp_path / "out").rglob("flex_attention-3.feather")))
    assert list(answers.loc[answers["error"].notna(), "uuid"]) == ["q4"]
    assert list(answers.set_index("uuid")["paraphrases"]["q8"]) == [
        "Who built bridge number 8?", *kept["paraphrases"]]  # fmt: skip
    # Other few-shot examples leave other rows to be asked, one of which the file lacks.
    capfd.readouterr()
    assert main([*line, "--seed", "3", "--output-dir", str(tmp_path / "other")]) == 2
    assert "human.jsonl has no row for question 'q" in capfd.readouterr().err


def test_an_answer_check_keeps_only_what_is_answered_alike(
    questions, long_folder, tmp_path
) -> None:
    output = tmp_path / "checked.jsonl"
    line = ["paraphrase", "--human", "--dataset", str(questions), "--num-shots", "2",
            "--check", "answer", "--model", str(long_folder), "--output", str(output)]  # fmt: skip
    assert main(line) == 0
    rows = read_rows(output)
    assert all(check.startswith("answer: ") for row in rows for check in row["checks"])
    refused = [one["reason"] for row in rows for one in row["rejected"]]
    assert set(refused) == {"check_answer"}


def test_a_question_that_cannot_be_reworded_is_an_error_row(command, questions, tmp_path) -> None:
    rows = read_rows(questions)
    rows[2] = {**rows[2], "question": "", "paraphrases": []}
    write_rows(questions, rows)
    assert main(command()) == 3
    written = read_rows(tmp_path / "out" / "w.jsonl")
    assert written[2]["error"] == "The question has no original wording."
    assert [row["error"] for row in written if row["uuid"] != "q2"] == [None] * 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--output": "w.csv"}, "Give a file that ends in .jsonl or .feather"),
        ({"--num": "0"}, "Got --num 0. Give 1 or more"),
        ({"--tries": "0"}, "Got --tries 0. Give 1 or more"),
        ({"--show": "-1"}, "Got --show -1. Give 0 or more"),
        ({"--check": "nlii"}, "Unknown check 'nlii'. Did you mean 'nli'?"),
        ({"--check": "nli"}, "--check nli needs an entailment model. Name one with --nli-model"),
        ({"--nli-model": "m"}, "--nli-model would change nothing: it belongs to --check nli"),
        ({"--check": "nli", "--nli-model": "m", "--nli-threshold": "2"}, "Got --nli-threshold 2"),
        ({"--temperature": "0"}, "Got --temperature 0: all draws would be alike"),
        ({"--top-p": "0"}, "Got top-p 0.0"),
        ({"--batch-size": "none"}, "Got --batch-size 'none'"),
        ({"--human": None}, "--tries would change nothing: --human draws nothing"),
        ({"--json": None, "--show": "1"}, "--show prints tables and --json one line"),
    ],
)
def test_a_bad_option_is_one_line(command, tmp_path, capfd, options, message) -> None:
    given = {name: value for name, value in options.items() if value is not None}
    flags = [name for name, value in options.items() if value is None]
    assert main([*command(**given), *flags]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_output_or_data_set_names_the_option(tmp_path, capfd) -> None:
    assert main(["paraphrase", "--dataset", "demo"]) == 2
    assert "Give --output FILE" in capfd.readouterr().err
    output = str(tmp_path / "w.jsonl")
    assert main(["paraphrase", "--output", output]) == 2
    assert "Give --dataset to write wordings, or --show K" in capfd.readouterr().err
    assert main(["paraphrase", "--output", output, "--show", "1"]) == 2
    assert "w.feather does not exist" in capfd.readouterr().err


def test_a_data_set_of_single_wordings_has_nothing_for_human(tmp_path, capfd) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"question": "Who?", "answers": ["a"]}\n')
    output = str(tmp_path / "w.jsonl")
    line = ["paraphrase", "--human", "--dataset", str(path), "--num-shots", "0"]
    assert main([*line, "--output", output]) == 2
    assert "No question of m has another wording" in capfd.readouterr().err


def test_a_place_that_cannot_be_written_is_told_with_the_option_that_chose_it(
    command, tmp_path, capfd
) -> None:
    (tmp_path / "out").write_text("a file in the way")
    assert main(command("out/w.jsonl")) == 2
    assert "out is not a folder. Move it away or choose another --output. [SE-0701]\n" in (
        capfd.readouterr().err
    )


def test_no_file_of_the_user_is_written_over(command, questions, tmp_path, capfd) -> None:
    before = questions.read_text()
    for name in ("bridges.jsonl",):
        assert main([*command(name), "--overwrite"]) == 2
        assert "would write over" in capfd.readouterr().err
    assert questions.read_text() == before
    (tmp_path / "mine.jsonl").write_text("mine")
    assert main(command("mine.jsonl")) == 2
    assert "mine.jsonl is there already" in capfd.readouterr().err
    assert (tmp_path / "mine.jsonl").read_text() == "mine"
    assert main(command("w.jsonl")) == 0
    (tmp_path / "w.jsonl").write_text("edited")
    assert main(command("w.jsonl")) == 2
    assert (
        "w.jsonl cannot be used: it holds something else than w.feather" in capfd.readouterr().err
    )
    assert (tmp_path / "w.jsonl").read_text() == "edited"
