"""What the files of `confidence` hold, and that a finished one is kept."""

import math
from pathlib import Path

import pytest

from self_ensemble.asking.request import Settings
from self_ensemble.cli.main import main
from self_ensemble.confidence.self_report import TrueOrFalse
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import load_model
from self_ensemble.oracle.reference import next_logits_alone
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.results.paths import ESTIMATORS
from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma
from tests.cli import commands
from tests.cli.commands import question_rows, result_path, write_rows
from tests.cli.confidence_files import FILES, NUM_SAMPLES, arguments, result, same

PUBLISHED = ["uuid", "paraphrase", "prompt", "answers", "greedy_predict", "sample_predicts",
             "greedy_lemma", "sample_lemmas", "answer_lemmas", "confidence"]  # fmt: skip


@pytest.fixture(scope="module")
def all_estimators(tmp_path_factory, judge_folder) -> tuple[Path, Path]:
    """One run of every estimator, and the wordings' own answers; questions and output."""
    folder = tmp_path_factory.mktemp("run")
    path = write_rows(folder / "bridges.jsonl", question_rows())
    assert main(arguments(path, judge_folder, folder, "--estimator", "all")) == 0
    alone = ["--method", "per_prompt"]
    assert main(commands.arguments("generate", path, judge_folder, folder, *alone)) == 0
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
    answers = commands.result(output, "per_prompt")
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
    answers = commands.result(output, "per_prompt")
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
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    options = ["--num-shots", "0", "--num-paraphrases", "1", "--temperature", "1.5"]
    assert main(arguments(path, judge_folder, tmp_path, *options)) == 0
    one, other = map(list, result(tmp_path, "sampling")["sample_predicts"])
    assert one != other


def test_a_finished_run_says_so_and_changes_nothing(all_estimators, judge_folder, capsys) -> None:
    path, output = all_estimators
    files = [result_path(output, name) for name in FILES.values()]
    before = [file.read_bytes() for file in files]
    assert main(arguments(path, judge_folder, output, "--estimator", "all")) == 0
    assert f"Finished already: {', '.join(ESTIMATORS)}.\n" in capsys.readouterr().err
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
