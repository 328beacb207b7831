"""`confidence` from command line to file."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pandas as pd
import pytest
import torch

from self_ensemble.asking import Settings
from self_ensemble.cli.main import main
from self_ensemble.confidence.self_report import TrueOrFalse
from self_ensemble.decoding.reference import next_logits_alone
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import load_model
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.results.paths import ESTIMATORS
from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma
from tests.cli.conftest import question_rows

PUBLISHED = ["uuid", "paraphrase", "prompt", "answers", "greedy_predict", "sample_predicts",
             "greedy_lemma", "sample_lemmas", "answer_lemmas", "confidence"]  # fmt: skip
NUM_SAMPLES = 5
FILES = {name: "confidence" if name == "sampling" else f"confidence-{name}" for name in ESTIMATORS}


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory, tiny_model, tiny_tokenizer) -> Path:
    """A model folder with room for the question about the answer, and tokens to answer it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model, tokenizer = tiny_model("llama"), deepcopy(tiny_tokenizer)
    tokenizer.add_tokens([" true", " false"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.max_position_embeddings = 1024
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arguments(questions: Path, model: Path, output: Path, *more: str) -> list[str]:
    return [
        "confidence", "--dataset", str(questions), "--model", str(model), "--output-dir",
        str(output), "--num-shots", "2", "--num-paraphrases", "3", "--max-new-tokens", "4",
        "--batch-size", "3", *(_few_samples(more)), *more,
    ]  # fmt: skip


def _few_samples(more: tuple[str, ...]) -> list[str]:
    # The option is refused where nothing is sampled.
    asked = more[more.index("--estimator") + 1] if "--estimator" in more else "sampling"
    sampled = {"sampling", "all"} & set(asked.split(","))
    return ["--num-samples", str(NUM_SAMPLES)] if sampled else []


def result(output: Path, estimator: str) -> pd.DataFrame:
    return pd.read_feather(output / "bridges" / "tiny" / f"{FILES[estimator]}.feather")


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether all columns are the same, confidences to rounding."""
    ours = json.loads(one.drop(columns="confidence").to_json(orient="records"))
    theirs = json.loads(other.drop(columns="confidence").to_json(orient="records"))
    confidences = list(other["confidence"])
    return ours == theirs and list(one["confidence"]) == pytest.approx(
        confidences, abs=1e-4, nan_ok=True
    )


@pytest.fixture(scope="module")
def all_estimators(tmp_path_factory, judge_folder) -> tuple[Path, Path]:
    """One run of every estimator, and the wordings' own answers; questions and output."""
    folder = tmp_path_factory.mktemp("run")
    path = write(folder / "bridges.jsonl", question_rows())
    assert main(arguments(path, judge_folder, folder, "--estimator", "all")) == 0
    code = main(["generate", *arguments(path, judge_folder, folder)[1:-2], "--method",
                 "per_prompt"])  # fmt: skip
    assert code == 0
    return path, folder


@pytest.fixture(scope="module")
def asked(all_estimators, judge_folder) -> Ensemble:
    questions = load_questions(str(all_estimators[0]), num_shots=2)
    model = load_model(str(judge_folder))
    frame = plain_frame(model.tokenizer, questions.instruction, questions.shots, questions.framing)
    settings = Settings(max_new_tokens=4, stop=questions.stop)
    return Ensemble(model, "per_prompt", frame=frame, settings=settings)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_file_has_the_published_columns_and_a_row_per_wording(all_estimators, estimator) -> None:
    path, output = all_estimators
    table = result(output, estimator)
    assert set(PUBLISHED) | {"paraphrase_index", "error"} == set(table.columns)
    expected = [
        (question.uuid, n, wording, list(question.answers))
        for question in load_questions(str(path), num_shots=2).questions
        for n, wording in enumerate(question.wordings)
    ]
    found = zip(
        table["uuid"], table["paraphrase_index"], table["paraphrase"],
        map(list, table["answers"]), strict=True,
    )  # fmt: skip
    assert list(found) == expected
    assert all(row["prompt"] == f"Q: {row['paraphrase']}\nA:" for _, row in table.iterrows())
    assert table["error"].isna().all()
    for _, row in table.iterrows():
        assert list(row["greedy_lemma"]) == predict_lemma(row["greedy_predict"])
        assert [list(one) for one in row["answer_lemmas"]] == answer_lemmas(list(row["answers"]))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_greedy_answers_are_those_of_per_prompt(all_estimators, estimator) -> None:
    _, output = all_estimators
    answers = pd.read_feather(output / "bridges" / "tiny" / "per_prompt.feather")
    assert list(result(output, estimator)["greedy_predict"]) == list(answers["prediction"])


def _agree(one, other) -> bool:
    ours, theirs = ("|" + "|".join(lemmas) + "|" for lemmas in (one, other))
    return len(one) > 0 and len(other) > 0 and (ours in theirs or theirs in ours)


def test_sampling_is_the_share_of_samples_that_agree(all_estimators) -> None:
    table = result(all_estimators[1], "sampling")
    for _, row in table.iterrows():
        assert len(row["sample_predicts"]) == NUM_SAMPLES
        lemmas = [list(one) for one in row["sample_lemmas"]]
        assert lemmas == [predict_lemma(text) for text in row["sample_predicts"]]
        agreeing = sum(_agree(row["greedy_lemma"], one) for one in lemmas)
        assert row["confidence"] == agreeing / NUM_SAMPLES
    assert table["confidence"].nunique() > 1


def test_logprob_is_that_of_per_prompts_tokens(all_estimators) -> None:
    _, output = all_estimators
    answers = pd.read_feather(output / "bridges" / "tiny" / "per_prompt.feather")
    expected = [math.exp(value) for value in answers["mean_logprob"]]
    assert list(result(output, "logprob")["confidence"]) == pytest.approx(expected, abs=1e-4)


def test_agreement_is_about_the_other_wordings_of_the_question(all_estimators) -> None:
    table = result(all_estimators[1], "agreement")
    for _, rows in table.groupby("uuid"):
        lemmas = [list(one) for one in rows["greedy_lemma"]]
        for n, confidence in enumerate(rows["confidence"]):
            others = [one for m, one in enumerate(lemmas) if m != n]
            assert confidence == sum(_agree(lemmas[n], one) for one in others) / len(others)


def test_margin_and_entropy_are_those_of_the_first_token(all_estimators, asked) -> None:
    margins, entropies = (result(all_estimators[1], name) for name in ("margin", "entropy"))
    for n, row in margins.iterrows():
        prompt = asked.frame.parts([row["paraphrase"]]).alone(0)
        probs = next_logits_alone(asked.model, prompt).double().softmax(-1)
        first, second = probs.sort(descending=True).values[:2].tolist()
        assert row["confidence"] == pytest.approx(first - second, abs=1e-4)
        nats = -float((probs * probs.log()).sum())
        expected = 1 - nats / math.log(len(probs))
        assert entropies["confidence"][n] == pytest.approx(expected, abs=1e-4)


def test_p_true_is_what_the_model_says_of_the_greedy_answer(all_estimators, asked) -> None:
    table = result(all_estimators[1], "p_true")
    expected = TrueOrFalse(asked.model).probabilities(
        list(table["paraphrase"]), list(table["greedy_predict"]), 1
    )
    assert list(table["confidence"]) == pytest.approx(expected, abs=1e-4)


def test_files_of_estimators_that_do_not_sample_hold_no_samples(all_estimators) -> None:
    for name in ESTIMATORS[1:]:
        table = result(all_estimators[1], name)
        assert table["sample_predicts"].map(len).sum() == 0
        assert table["sample_lemmas"].map(len).sum() == 0


@pytest.mark.parametrize("batch_size", ["1", "8", "auto"])
def test_batch_size_and_other_estimators_change_no_row(
    all_estimators, judge_folder, tmp_path, batch_size
) -> None:
    path, output = all_estimators
    names = ["sampling", "p_true"] if batch_size == "1" else ["sampling", "agreement"]
    code = main(arguments(path, judge_folder, tmp_path, "--estimator", ",".join(names),
                          "--batch-size", batch_size))  # fmt: skip
    assert code == 0
    for name in names:
        assert same(result(tmp_path, name), result(output, name))


def test_a_seed_fixes_the_samples(all_estimators, judge_folder, tmp_path) -> None:
    path, _ = all_estimators
    found = []
    for seed in ("0", "1"):
        # No shots, because the seed chooses them as well.
        command = arguments(
            path, judge_folder, tmp_path / seed, "--seed", seed, "--num-shots", "0"
        )
        assert main(command) == 0
        found.append(result(tmp_path / seed, "sampling"))
    assert list(found[0]["greedy_predict"]) == list(found[1]["greedy_predict"])
    assert not same(*found)


def test_questions_of_one_text_have_samples_of_their_own(judge_folder, tmp_path) -> None:
    rows = question_rows()[:2]
    for row in rows:
        row["question"] = "Who built it?"
    path = write(tmp_path / "bridges.jsonl", rows)
    options = ["--num-shots", "0", "--num-paraphrases", "1", "--temperature", "1.5"]
    assert main(arguments(path, judge_folder, tmp_path, *options)) == 0
    one, other = map(list, result(tmp_path, "sampling")["sample_predicts"])
    assert one != other


def test_a_finished_run_changes_nothing(all_estimators, judge_folder) -> None:
    path, output = all_estimators
    files = [output / "bridges" / "tiny" / f"{name}.feather" for name in FILES.values()]
    before = [file.read_bytes() for file in files]
    assert main(arguments(path, judge_folder, output, "--estimator", "all")) == 0
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("option", ["--num-samples", "--temperature", "--top-p"])
def test_how_samples_are_drawn_is_fixed_for_sampling_alone(
    all_estimators, judge_folder, capsys, option
) -> None:
    path, output = all_estimators
    changed = [option, "7" if option == "--num-samples" else "0.8"]
    assert main(arguments(path, judge_folder, output, *changed)) == 2
    message = capsys.readouterr().err
    assert option.removeprefix("--").replace("-", "_") in message
    assert "--overwrite" in message
    # The others are as they would be now, and so they are finished.
    before = result(output, "logprob")
    assert main(arguments(path, judge_folder, output, "--estimator", "logprob")) == 0
    assert result(output, "logprob").equals(before)
    command = arguments(path, judge_folder, output, "--estimator", "all", *changed, "--overwrite",
                        "--output-dir", str(output / "again"))  # fmt: skip
    assert main(command) == 0
    assert not same(result(output / "again", "sampling"), result(output, "sampling"))
    assert same(result(output / "again", "logprob"), result(output, "logprob"))


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
    clean = write(tmp_path / "clean" / "bridges.jsonl", rows)
    mixed = write(tmp_path / "mixed" / "bridges.jsonl", rows[:4] + bad + rows[4:])
    for path, code in ((clean, 0), (mixed, 3)):
        # No shots: the rows set aside would not be the same in both files.
        options = ["--num-shots", "0", "--estimator", "sampling,agreement"]
        assert main(arguments(path, judge_folder, path.parent, *options)) == code
    assert "4 questions could not be asked" in capsys.readouterr().out
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
    path = write(tmp_path / "bridges.jsonl", rows)
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


def _spawn(command: list[str]) -> subprocess.Popen[str]:
    code = "from self_ensemble.cli.main import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip


def _wait_for_shard(folder: Path, process: subprocess.Popen[str], number: int) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(folder.rglob("shard-*.feather"))) >= number:
            return
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_without_losing_or_repeating_a_row(
    judge_folder, tmp_path, number
) -> None:
    rows = [{**row, "uuid": f"{n}-{row['uuid']}"} for n in range(12) for row in question_rows()]
    for n, row in enumerate(rows):
        row["question"] = f"{row['question']} ({n})"
    path = write(tmp_path / "bridges.jsonl", rows)
    options = ["--estimator", "sampling,agreement", "--num-shots", "0"]
    command = arguments(path, judge_folder, tmp_path / "out", *options)
    process = _spawn(command)
    _wait_for_shard(tmp_path / "out", process, 3)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number
        assert "again to go on" in err
    assert not list((tmp_path / "out" / "bridges" / "tiny").glob("*.feather"))
    # What is already there does not depend on the batch size, so it may differ now.
    assert main([*command, "--batch-size", "7"]) == 0
    assert main([*command, "--output-dir", str(tmp_path / "whole")]) == 0
    for name in ("sampling", "agreement"):
        resumed, whole = (result(tmp_path / folder, name) for folder in ("out", "whole"))
        assert list(resumed["uuid"])[::3] == [row["uuid"] for row in rows]
        assert same(resumed, whole)
