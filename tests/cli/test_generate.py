"""`generate` from command line to file."""

import json
import signal
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from self_ensemble.asking.request import Request, Settings
from self_ensemble.cli.main import main
from self_ensemble.ensemble import Ensemble
from self_ensemble.jobs.filling import fill
from self_ensemble.jobs.places import Here
from self_ensemble.jobs.progress import SILENT
from self_ensemble.jobs.recipe import Task
from self_ensemble.models.load import load_model
from self_ensemble.passes import batch, memory
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.results.manifest import Manifest
from self_ensemble.results.store import ResultFile
from self_ensemble.running.answers import AnswerMaker
from self_ensemble.running.choice import WordingChoice
from self_ensemble.running.finite_rows import held_back
from self_ensemble.running.making import Order, append_rows
from self_ensemble.running.rows import row_plan
from tests.cli.commands import (
    arguments,
    interrupt,
    many_question_rows,
    question_rows,
    result,
    result_path,
    write_rows,
)

METHODS = ["flex_attention", "avg", "max", "prob_avg", "logprob_avg", "vote", "origin",
           "per_prompt", "weighted_avg", "weighted_max"]  # fmt: skip
NUM_SHOTS = 2


@pytest.fixture(scope="module")
def all_methods(tmp_path_factory, tiny_folder) -> tuple[Path, Path]:
    """One run of every method; the question file and the output folder."""
    folder = tmp_path_factory.mktemp("run")
    path = write_rows(folder / "bridges.jsonl", question_rows())
    options = ["--method", "all", "--weights", "trust"]
    assert main(arguments("generate", path, tiny_folder, folder, *options)) == 0
    return path, folder


@pytest.mark.parametrize(
    ("method", "name"),
    [("flex_attention", "flex_attention-3"), ("origin", "origin"), ("vote", "vote-3")]
    + [(m, f"ensemble_{m}-3") for m in METHODS if "avg" in m or "max" in m],
)
def test_rows_on_disk_are_the_ensembles_own_answers(
    all_methods, tiny_folder, method, name
) -> None:
    path, output = all_methods
    questions = load_questions(str(path), num_shots=NUM_SHOTS)
    model = load_model(str(tiny_folder))
    ensemble = Ensemble(
        model,
        method,
        frame=plain_frame(
            model.tokenizer, questions.instruction, questions.shots, questions.framing
        ),
        settings=Settings(max_new_tokens=4, stop=questions.stop),
    )
    table = result(output, name)
    assert list(table["uuid"]) == [question.uuid for question in questions.questions]
    for question, (_, row) in zip(questions.questions, table.iterrows(), strict=True):
        weights = tuple(question.extra["trust"])
        alone = ensemble.run([Request(question.uuid, question.wordings, weights)])[method][0]
        assert row["generation"] == alone.generation
        assert list(row["token_ids"]) == list(alone.token_ids)
        assert row["mean_logprob"] == pytest.approx(alone.mean_logprob, abs=1e-4)


def test_per_prompt_has_a_row_per_wording(all_methods) -> None:
    table = result(all_methods[1], "per_prompt")
    counts = table.groupby("uuid")["paraphrase_index"].agg(list)
    assert all(indices == [0, 1, 2] for indices in counts)
    assert all(row["paraphrases"][row["paraphrase_index"]] == row["paraphrase"]
               for _, row in table.iterrows())  # fmt: skip


def test_a_finished_run_says_so_and_changes_nothing(all_methods, tiny_folder, capsys) -> None:
    path, output = all_methods
    file = result_path(output, "flex_attention-3")
    before = file.read_bytes()
    assert main(arguments("generate", path, tiny_folder, output)) == 0
    assert "Finished already: flex_attention." in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "field"),
    [
        (["--max-new-tokens", "5"], "max_new_tokens"),
        (["--seed", "1"], "seed"),
        (["--positions", "contiguous"], "positions"),
        (["--segment-weights", "none"], "segment_weights"),
        (["--max-samples", "4"], "max_samples"),
        (["--attention", "eager"], "attention"),
        (["--decode", "captured"], "decode"),
    ],
)
def test_a_changed_option_is_named(all_methods, tiny_folder, capsys, option, field) -> None:
    path, output = all_methods
    assert main([*arguments("generate", path, tiny_folder, output), *option]) == 2
    message = capsys.readouterr().err
    assert field in message
    assert "--overwrite" in message
    assert message.count("\n") == 1


def test_overwrite_starts_anew(questions, tiny_folder, tmp_path) -> None:
    command = arguments("generate", questions, tiny_folder, tmp_path)
    assert main([*command, "--max-samples", "2"]) == 0
    assert len(result(tmp_path, "flex_attention-3")) == 2
    assert main([*command, "--max-samples", "4", "--overwrite"]) == 0
    assert len(result(tmp_path, "flex_attention-3")) == 4


def test_batch_size_does_not_change_answers(all_methods, tiny_folder, tmp_path) -> None:
    path, output = all_methods
    options = ["--method", "flex_attention,avg", "--batch_size", "8"]
    assert main(arguments("generate", path, tiny_folder, tmp_path, *options)) == 0
    for name in ("flex_attention-3", "ensemble_avg-3"):
        ours, other = result(tmp_path, name), result(output, name)
        assert list(ours["generation"]) == list(other["generation"])


def test_captured_steps_do_not_change_answers(all_methods, tiny_folder, tmp_path) -> None:
    path, output = all_methods
    options = ["--method", "flex_attention,avg", "--decode", "captured"]
    assert main([*arguments("generate", path, tiny_folder, tmp_path), *options]) == 0
    for name in ("flex_attention-3", "ensemble_avg-3"):
        ours, other = result(tmp_path, name), result(output, name)
        assert list(ours["generation"]) == list(other["generation"])


def test_captured_samples_are_refused_before_the_model_is_loaded(
    all_methods, tmp_path, capsys
) -> None:
    path, _ = all_methods
    options = ["--decode", "captured", "--temperature", "0.5"]
    assert main([*arguments("generate", path, "no/such_model", tmp_path), *options]) == 2
    assert "--decode captured is greedy" in capsys.readouterr().err


def test_json_is_one_document_and_quiet(questions, tiny_folder, tmp_path, capsys) -> None:
    assert main(arguments("generate", questions, tiny_folder, tmp_path, "--json")) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert err == ""
    assert summary["answered"] == 8
    assert summary["backend"] == "sdpa"
    assert summary["counters"]["prefix_tokens"] > 0


def test_underscored_options_of_published_scripts_work(questions, tiny_folder, tmp_path) -> None:
    code = main(["generate", "--dataset", str(questions), "--model", str(tiny_folder),
                 "--output_dir", str(tmp_path), "--max_samples", "2", "--num_paraphrases", "2",
                 "--num_shots", "2", "--max_new_tokens", "2", "--method", "flex_attention",
                 ])  # fmt: skip
    assert code == 0
    assert len(result(tmp_path, "flex_attention-2")) == 2


def test_chosen_wordings_go_to_their_own_file(questions, tiny_folder, tmp_path) -> None:
    code = main(arguments("generate", questions, tiny_folder, tmp_path, "--indexs", "2,0"))
    assert code == 0
    table = result(tmp_path, "diversity/flex_attention-2,0")
    assert table["paraphrases"].map(lambda wordings: wordings[1].startswith("Who built")).all()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_without_losing_or_repeating_a_row(
    tiny_folder, tmp_path, number
) -> None:
    rows = many_question_rows(20)
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    command = arguments("generate", path, tiny_folder, tmp_path / "out", "--method",
                        "flex_attention,avg", "--num-shots", "0")  # fmt: skip
    interrupt(command, tmp_path / "out", number)
    assert not result_path(tmp_path / "out", "flex_attention-3").exists()
    assert main(command) == 0
    assert main([*command[:-1], "0", "--output-dir", str(tmp_path / "whole")]) == 0
    for name in ("flex_attention-3", "ensemble_avg-3"):
        resumed, whole = result(tmp_path / "out", name), result(tmp_path / "whole", name)
        assert list(resumed["uuid"]) == [row["uuid"] for row in rows]
        assert list(resumed["generation"]) == list(whole["generation"])


def test_weights_go_with_their_wordings_whatever_the_order(
    questions, tiny_folder, tmp_path
) -> None:
    options = ["--method", "weighted_max,per_prompt", "--weights", "trust", "--indices", "2,1,0"]
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *options)) == 0
    folder = "diversity/"
    fused = result(tmp_path, folder + "ensemble_weighted_max-2,1,0").set_index("uuid")
    alone = result(tmp_path, folder + "per_prompt-2,1,0").set_index(["uuid", "paraphrase_index"])
    for row in map(json.loads, questions.read_text().splitlines()):
        if row["uuid"] in fused.index:
            best = max((2, 1, 0), key=lambda index: row["trust"][index])
            key = (row["uuid"], best)
            assert fused.loc[row["uuid"], "generation"] == alone.loc[key, "generation"]
            wordings = [row["question"], *row["paraphrases"]]
            assert alone.loc[key, "paraphrase"] == wordings[best]


def test_a_run_that_would_not_fit_into_memory_halves_its_batches(
    questions, tiny_folder, tmp_path, monkeypatch, capsys
) -> None:
    taken: list[int] = []

    def run(folder: str, *options: str) -> int:
        return main(arguments("generate", questions, tiny_folder, tmp_path / folder, *options))

    with monkeypatch.context() as patch:
        patch.setattr(batch, "check_fits", taken.append)
        assert run("four", "--batch-size", "4") == 0
    monkeypatch.setattr(memory, "ASKED_FROM", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda: max(taken))
    capsys.readouterr()
    assert run("auto", "--batch-size", "auto") == 0
    said = capsys.readouterr().err
    assert "8 questions at once do not fit into memory; going on with 4." in said
    assert run("eight", "--batch-size", "8") == 2
    assert "use a smaller --batch-size" in " ".join(capsys.readouterr().err.split())
    name = "flex_attention-3"
    found, expected = (result(tmp_path / folder, name) for folder in ("auto", "four"))
    assert list(found["generation"]) == list(expected["generation"])


def test_a_batch_that_does_not_fit_is_halved_and_answers_are_the_same(
    all_methods, tiny_folder
) -> None:
    class Small(Ensemble):
        def run(self, requests, methods=None):
            if len(requests) > 2:
                raise torch.OutOfMemoryError
            return super().run(requests, methods)

    path, output = all_methods
    questions = load_questions(str(path), num_shots=NUM_SHOTS)
    model = load_model(str(tiny_folder))
    frame = plain_frame(model.tokenizer, questions.instruction, questions.shots, questions.framing)
    ensemble = Small(model, "avg", frame=frame, settings=Settings(max_new_tokens=4))
    target = output / "shrunk.feather"
    choice = WordingChoice(3)
    plan = row_plan(*ensemble.methods, questions, choice)
    with ResultFile.open(target, Manifest({}), plan) as file:
        put = partial(append_rows, files=held_back({"avg": file}, len(questions.questions)))
        here = Here(AnswerMaker(ensemble, choice, questions))
        work = here.work(Task(Order(("avg",)), put, None))
        fill([file], questions.questions, work, progress=SILENT, doing="answering")
    expected = result(output, "ensemble_avg-3")
    assert list(pd.read_feather(target)["generation"]) == list(expected["generation"])
