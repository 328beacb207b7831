"""`confidence` from command line to page: what is printed, refused, set aside and gone on with."""

import json
import signal
from dataclasses import asdict

import pandas as pd
import pytest

from self_ensemble.cli.main import main
from self_ensemble.confidence.self_report import TrueOrFalse
from self_ensemble.models.load import load_model
from tests.cli.commands import interrupt, many_question_rows, question_rows, write_rows
from tests.cli.confidence_files import arguments, result, same


def test_json_is_one_document(questions, judge_folder, tmp_path, capsys) -> None:
    command = arguments(questions, judge_folder, tmp_path, "--estimator", "logprob,sampling")
    assert main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == ""
    assert document["errors"] == 0
    assert set(document["files"]) == set(document["mean_confidence"]) == {"logprob", "sampling"}
    for name, file in document["files"].items():
        mean = pd.read_feather(file)["confidence"].mean()
        assert document["mean_confidence"][name] == pytest.approx(mean)
    assert document["counters"]["prefix_tokens"] > 0


def test_the_work_of_p_true_is_counted(questions, judge_folder, tmp_path, capsys) -> None:
    counted = {}
    for name in ("logprob", "p_true"):
        command = arguments(questions, judge_folder, tmp_path, "--estimator", name)
        assert main([*command, "--json"]) == 0
        counted[name] = json.loads(capsys.readouterr().out)["counters"]
    judge = TrueOrFalse(load_model(str(judge_folder)))
    table = result(tmp_path, "p_true")
    # Three wordings of three questions at a time.
    for start in range(0, len(table), 9):
        batch = table[start : start + 9]
        judge.probabilities(list(batch["paraphrase"]), list(batch["greedy_predict"]),
                            len(batch) // 3)  # fmt: skip
    alone = asdict(judge.ensemble.counters)
    assert alone["forwards"] > 0
    # Beside them both estimators do the same: they answer greedily.
    assert counted["p_true"] == {name: counted["logprob"][name] + alone[name] for name in alone}


def test_the_table_on_the_page_shows_each_estimator_and_its_mean(
    questions, judge_folder, tmp_path, capsys
) -> None:
    command = arguments(questions, judge_folder, tmp_path, "--estimator", "logprob,margin")
    assert main(command) == 0
    page = capsys.readouterr().out
    for name in ("logprob", "margin"):
        mean = result(tmp_path, name)["confidence"].mean()
        (line,) = [line for line in page.splitlines() if line.split()[:1] == [name]]
        assert line.split() == [name, "24", f"{mean:.3f}", f"confidence-{name}.feather"]


def test_rows_that_cannot_be_asked_are_error_rows_and_the_others_go_on(
    judge_folder, tmp_path, capsys
) -> None:
    rows = question_rows()
    bad = [
        {**rows[5], "uuid": "long", "question": "word " * 2000},
        {**rows[6], "uuid": "empty", "paraphrases": ["", "Who?"]},
        {**rows[7], "uuid": "few", "paraphrases": []},
        {**rows[8], "uuid": "unscored", "answers": []},
    ]
    clean = write_rows(tmp_path / "clean" / "bridges.jsonl", rows)
    mixed = write_rows(tmp_path / "mixed" / "bridges.jsonl", rows[:4] + bad + rows[4:])
    for path, code in ((clean, 0), (mixed, 3)):
        # No shots: the rows set aside would not be the same in both files.
        options = ["--num-shots", "0", "--estimator", "sampling,agreement"]
        assert main(arguments(path, judge_folder, path.parent, *options)) == code
    assert "4 questions could not be asked or answered" in capsys.readouterr().out
    # A finished run still tells of them.
    assert main([*arguments(mixed, judge_folder, mixed.parent, *options), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["errors"] == 4
    for name in ("sampling", "agreement"):
        good, table = (result(path.parent, name) for path in (clean, mixed))
        failed = table["error"].notna()
        assert same(table[~failed].reset_index(drop=True), good)
        wrong = table[failed]
        # One row for each wording asked for, whether the question has it or not.
        assert list(wrong["uuid"]) == [uuid for uuid in ("long", "empty", "few", "unscored")
                                       for _ in range(3)]  # fmt: skip
        assert list(wrong["paraphrase_index"]) == [0, 1, 2] * 4
        assert wrong["confidence"].isna().all()
        assert wrong["greedy_predict"].isna().all()


def test_an_answer_too_long_to_be_asked_about_is_an_error_of_p_true_alone(
    judge_folder, tmp_path
) -> None:
    rows = question_rows()
    rows[3]["question"] = "word " * 190  # fits with an answer, but not with the examples of p_true
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    options = ["--num-shots", "0", "--estimator", "p_true,logprob"]
    assert main(arguments(path, judge_folder, tmp_path, *options)) == 3
    judged, greedy = (result(tmp_path, name) for name in ("p_true", "logprob"))
    assert greedy["error"].isna().all()
    failed = judged[judged["error"].notna()]
    assert list(zip(failed["uuid"], failed["paraphrase_index"], strict=True)) == [("q3", 0)]
    assert failed["confidence"].isna().all()
    assert list(judged["greedy_predict"]) == list(greedy["greedy_predict"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--estimator", "sampeling"], "Did you mean 'sampling'?"),
        (["--estimator", ","], "No estimator given"),
        (["--temperature", "0"], "Got --temperature 0, at which all samples are equal"),
        (["--temperature", "-1"], "Got temperature -1.0"),
        (["--top-p", "0"], "Got top-p 0.0"),
        (["--num-samples", "0"], "Got --num-samples 0. Give 1 or more"),
        (["--estimator", "agreement", "--num-paraphrases", "1"], "Ask two or more"),
        (["--estimator", "all", "--indices", "1"], "Ask two or more"),
        (["--num-paraphrases", "9"], "no question of bridges has more than 3"),
        (["--offset", "-1"], "Got --offset -1"),
        (["--max-new-tokens", "0"], "Give 1 or more"),
        (["--dataset", "no_such.jsonl"], "does not exist"),
        (["--model", "smollm2_135m_tt"], "Did you mean 'smollm2_135m_it'?"),
        (["--chat-template", "maybe"], "Unknown chat template setting"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_names_the_remedy(
    questions, judge_folder, tmp_path, capsys, options, message
) -> None:
    assert main(arguments(questions, judge_folder, tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").rglob("*.feather"))


def test_a_vocabulary_without_the_words_true_and_false_is_refused(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    assert main(arguments(questions, tiny_folder, tmp_path, "--estimator", "p_true")) == 2
    assert "begin with the same token" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--num-samples=9", "--temperature=0.5", "--top-p=0.5"])
def test_options_of_samples_are_refused_where_nothing_is_sampled(
    option, questions, judge_folder, tmp_path, capsys
) -> None:
    command = arguments(questions, judge_folder, tmp_path, "--estimator", "logprob")
    assert main([*command, option]) == 2
    assert f"{option.partition('=')[0]} is for the estimator sampling" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_without_losing_or_repeating_a_row(
    judge_folder, tmp_path, number
) -> None:
    rows = many_question_rows(12)
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    options = ["--estimator", "sampling,agreement", "--num-shots", "0"]
    command = arguments(path, judge_folder, tmp_path / "out", *options)
    interrupt(command, tmp_path / "out", number)
    assert not list((tmp_path / "out" / "bridges" / "tiny").glob("*.feather"))
    # What is already there does not depend on the batch size, so it may differ now.
    assert main([*command, "--batch-size", "7"]) == 0
    assert main([*command, "--output-dir", str(tmp_path / "whole")]) == 0
    for name in ("sampling", "agreement"):
        resumed, whole = (result(tmp_path / folder, name) for folder in ("out", "whole"))
        assert list(resumed["uuid"])[::3] == [row["uuid"] for row in rows]
        assert same(resumed, whole)
