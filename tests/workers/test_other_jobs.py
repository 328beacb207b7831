"""Wordings, confidences and learned weights made by workers are those of one process."""

import json
from pathlib import Path

import pandas as pd
import pytest

import self_ensemble as se
from self_ensemble.jobs.paraphrase import Wordings
from self_ensemble.results.disk import read_table
from tests.cli.commands import many_question_rows

WORKERS = se.Workers(2, cpus_per_worker=1)
QUESTIONS = many_question_rows(1)[:7]


def table(path: Path) -> pd.DataFrame:
    return pd.DataFrame(read_table(path).to_pylist())


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_wordings_do_not_depend_on_workers(tmp_path, long_folder) -> None:
    def reword(name: str, workers: se.Workers | None) -> Wordings:
        return se.paraphrase(
            QUESTIONS,
            tmp_path / name / "wordings.jsonl",
            model=long_folder,
            options=se.ParaphraseOptions(num=2, tries=2, batch_size=2),
            workers=workers,
        )

    alone, found = reword("alone", None), reword("found", WORKERS)
    # What it said is in the rows, whether it passed the gate or not.
    assert all(row["rejected"] or row["paraphrases"] for row in alone.rows())
    assert found.path.read_bytes() == alone.path.read_bytes()
    assert found.summary == alone.summary
    assert reword("found", None).seconds is None


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_confidences_do_not_depend_on_workers(tmp_path, tiny_folder) -> None:
    def estimate(name: str, workers: se.Workers | None) -> se.Results:
        return se.estimate_confidence(
            QUESTIONS,
            model=tiny_folder,
            estimators=["sampling", "agreement", "margin"],
            output_dir=tmp_path / name,
            options=se.ConfidenceOptions(
                num_samples=4, num_paraphrases=2, max_new_tokens=4, batch_size=2
            ),
            workers=workers,
        )

    alone, found = estimate("alone", None), estimate("found", WORKERS)
    assert found.counters["prompt_tokens"] == alone.counters["prompt_tokens"]
    for name, path in alone.files.items():
        pd.testing.assert_frame_equal(table(found.files[name]), table(path), check_exact=True)
    assert estimate("found", None).outcome.num_questions == 0


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_attribution_does_not_depend_on_workers(tmp_path, tiny_folder) -> None:
    def answer(name: str, workers: se.Workers | None) -> se.Results:
        return se.generate(
            QUESTIONS,
            model=tiny_folder,
            methods=["flex_attention", "avg"],
            output_dir=tmp_path / name,
            options=se.GenerateOptions(
                num_paraphrases=3, max_new_tokens=4, batch_size=2,
                attribution=("mass", "shapley", "share"),
            ),
            workers=workers,
        )  # fmt: skip

    alone, found = answer("alone", None), answer("found", WORKERS)
    for name, path in alone.files.items():
        expected = table(path).drop(columns="seconds")
        assert expected["attribution_shapley"].notna().all()
        of_workers = table(found.files[name]).drop(columns="seconds")
        pd.testing.assert_frame_equal(of_workers, expected, check_exact=True)
    assert answer("found", None).outcome.num_questions == 0


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_learned_weights_do_not_depend_on_workers(tmp_path, tiny_folder) -> None:
    def learn(name: str, workers: se.Workers | None) -> dict[str, object]:
        found = se.learn_weights(
            QUESTIONS,
            model=tiny_folder,
            output=tmp_path / f"{name}.json",
            options=se.LearnOptions(num_paraphrases=3, folds=2, batch_size=2),
            workers=workers,
        )
        document = json.loads(found.path.read_text())
        return {
            name: value for name, value in document.items() if name not in ("date", "checksum")
        }

    alone = learn("alone", None)
    assert alone["weights"]
    assert learn("found", WORKERS) == alone


def test_workers_that_no_model_is_for_are_refused(tmp_path) -> None:
    with pytest.raises(se.UserError, match="Workers have nothing to do"):
        se.paraphrase(
            QUESTIONS,
            tmp_path / "wordings.jsonl",
            options=se.ParaphraseOptions(human=True),
            workers=WORKERS,
        )
