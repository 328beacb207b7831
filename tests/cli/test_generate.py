import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from self_ensemble.asking import Request, Settings
from self_ensemble.cli.main import main
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import load_model
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.load import load_questions

METHODS = ["flex_attention", "avg", "max", "prob_avg", "logprob_avg", "vote", "origin",
           "per_prompt", "weighted_avg", "weighted_max"]  # fmt: skip
NUM_SHOTS, NUM_WORDINGS = 2, 3


def arguments(questions: Path, model: Path, output: Path, *more: str) -> list[str]:
    return [
        "generate", "--dataset", str(questions), "--model", str(model), "--output-dir",
        str(output), "--num-shots", "2", "--num-paraphrases", "3", "--max-new-tokens", "4",
        "--batch-size", "3", *more,
    ]  # fmt: skip


def result(output: Path, name: str) -> pd.DataFrame:
    return pd.read_feather(output / "bridges" / "tiny" / f"{name}.feather")


@pytest.fixture(scope="module")
def all_methods(tmp_path_factory, tiny_folder) -> tuple[Path, Path]:
    """One run of every method; the question file and the output folder."""
    from tests.cli.conftest import question_rows

    folder = tmp_path_factory.mktemp("run")
    path = folder / "bridges.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in question_rows()))
    code = main(arguments(path, tiny_folder, folder, "--method", "all", "--weights", "trust"))
    assert code == 0
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
    file = output / "bridges" / "tiny" / "flex_attention-3.feather"
    before = file.read_bytes()
    assert main(arguments(path, tiny_folder, output)) == 0
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
    ],
)
def test_a_changed_option_is_named(all_methods, tiny_folder, capsys, option, field) -> None:
    path, output = all_methods
    assert main([*arguments(path, tiny_folder, output), *option]) == 2
    message = capsys.readouterr().err
    assert field in message
    assert "--overwrite" in message
    assert message.count("\n") == 1


def test_overwrite_starts_anew(questions, tiny_folder, tmp_path) -> None:
    assert main(arguments(questions, tiny_folder, tmp_path, "--max-samples", "2")) == 0
    assert len(result(tmp_path, "flex_attention-3")) == 2
    code = main(arguments(questions, tiny_folder, tmp_path, "--max-samples", "4", "--overwrite"))
    assert code == 0
    assert len(result(tmp_path, "flex_attention-3")) == 4


def test_batch_size_does_not_change_answers(all_methods, tiny_folder, tmp_path) -> None:
    path, output = all_methods
    assert main(arguments(path, tiny_folder, tmp_path, "--method", "flex_attention,avg",
                          "--batch_size", "8")) == 0  # fmt: skip
    for name in ("flex_attention-3", "ensemble_avg-3"):
        ours, other = result(tmp_path, name), result(output, name)
        assert list(ours["generation"]) == list(other["generation"])


def test_bad_rows_become_error_rows_and_the_others_go_on(tiny_folder, tmp_path, capsys) -> None:
    from tests.cli.conftest import question_rows

    rows = question_rows()
    clean = tmp_path / "clean" / "bridges.jsonl"
    mixed = tmp_path / "mixed" / "bridges.jsonl"
    bad = [
        {**rows[5], "uuid": "long", "question": "word " * 2000},
        {**rows[6], "uuid": "empty", "paraphrases": ["", "Who?"]},
        {**rows[7], "uuid": "few", "paraphrases": []},
    ]
    for path, content in ((clean, rows), (mixed, rows[:4] + bad + rows[4:])):
        path.parent.mkdir()
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
        # No shots: the rows set aside would not be the same in both files.
        options = ["--num-shots", "0", "--method", "flex_attention,per_prompt"]
        code = main(arguments(path, tiny_folder, path.parent, *options))
        assert code == (0 if path is clean else 3)
    assert "3 questions could not be asked" in capsys.readouterr().err
    good, table = (result(p.parent, "flex_attention-3").set_index("uuid") for p in (clean, mixed))
    errors = table["error"].dropna()
    assert set(errors.index) == {"long", "empty", "few"}
    assert "positions" in errors["long"]
    assert "empty" in errors["empty"]
    assert "3 wordings are asked for" in errors["few"]
    kept = table.loc[good.index]
    assert list(kept["generation"]) == list(good["generation"])


def test_json_is_one_document_and_quiet(questions, tiny_folder, tmp_path, capsys) -> None:
    assert main(arguments(questions, tiny_folder, tmp_path, "--json")) == 0
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
    code = main(arguments(questions, tiny_folder, tmp_path, "--indexs", "2,0"))
    assert code == 0
    table = result(tmp_path, "diversity/flex_attention-2,0")
    assert table["paraphrases"].map(lambda wordings: wordings[1].startswith("Who built")).all()


def _spawn(arguments: list[str]) -> subprocess.Popen[str]:
    code = "from self_ensemble.cli.main import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip


def _wait_for_shard(folder: Path, process: subprocess.Popen[str], number: int) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(folder.rglob("shard-*.feather"))) >= number:
            return
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_without_losing_or_repeating_a_row(
    tiny_folder, tmp_path, number
) -> None:
    from tests.cli.conftest import question_rows

    rows = [{**row, "uuid": f"{n}-{row['uuid']}"} for n in range(20) for row in question_rows()]
    for n, row in enumerate(rows):
        row["question"] = f"{row['question']} ({n})"
    path = tmp_path / "bridges.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = arguments(path, tiny_folder, tmp_path / "out", "--method", "flex_attention,avg",
                        "--num-shots", "0")  # fmt: skip
    process = _spawn(command)
    _wait_for_shard(tmp_path / "out", process, 3)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number
        assert "again to go on" in err
    assert not (tmp_path / "out" / "bridges" / "tiny" / "flex_attention-3.feather").exists()
    assert main(command) == 0
    assert main([*command[:-1], "0", "--output-dir", str(tmp_path / "whole")]) == 0
    for name in ("flex_attention-3", "ensemble_avg-3"):
        resumed, whole = result(tmp_path / "out", name), result(tmp_path / "whole", name)
        assert list(resumed["uuid"]) == [row["uuid"] for row in rows]
        assert list(resumed["generation"]) == list(whole["generation"])


def test_origin_answers_what_it_answers_alone_beside_methods_that_cannot(
    tiny_folder, tmp_path
) -> None:
    from tests.cli.conftest import question_rows

    rows = question_rows()
    rows[2]["paraphrases"] = []
    rows[4]["paraphrases"] = ["", "Who?"]
    path = tmp_path / "bridges.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    together = arguments(path, tiny_folder, tmp_path / "together", "--num-shots", "0",
                         "--method", "origin", "--method", "avg,per_prompt")  # fmt: skip
    alone = arguments(path, tiny_folder, tmp_path / "alone", "--num-shots", "0", "--method",
                      "origin")  # fmt: skip
    assert main(together) == 3
    assert main(alone) == 0
    ours, other = (result(tmp_path / name, "origin") for name in ("together", "alone"))
    assert ours.drop(columns=["seconds", "mean_logprob"]).equals(
        other.drop(columns=["seconds", "mean_logprob"])
    )
    per_prompt = result(tmp_path / "together", "per_prompt")
    indices = per_prompt.groupby("uuid")["paraphrase_index"].agg(list)
    assert all(found == [0, 1, 2] for found in indices)
    # The original does not depend on N, so another N finds it finished.
    assert main([*alone, "--num-paraphrases", "2"]) == 0


def test_weights_go_with_their_wordings_whatever_the_order(
    questions, tiny_folder, tmp_path
) -> None:
    options = ["--method", "weighted_max,per_prompt", "--weights", "trust"]
    code = main(arguments(questions, tiny_folder, tmp_path, *options, "--indices", "2,1,0"))
    assert code == 0
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


def test_a_question_without_accepted_answers_is_an_error_row_and_does_not_stop_the_scores(
    tiny_folder, tmp_path, capsys
) -> None:
    from tests.cli.conftest import question_rows

    rows = question_rows()
    rows[3]["answers"] = []
    path = tmp_path / "bridges.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(arguments(path, tiny_folder, tmp_path, "--num-shots", "0")) == 3
    assert main(["analyze", "--dataset", str(path), "--model", str(tiny_folder), "--output-dir",
                 str(tmp_path), "--json"]) == 0  # fmt: skip
    assert '"errors": 1' in capsys.readouterr().out


def test_a_batch_that_does_not_fit_is_halved_and_no_row_is_lost(all_methods, tiny_folder) -> None:
    from self_ensemble.results.manifest import Manifest
    from self_ensemble.results.schema import RESULT_SCHEMA
    from self_ensemble.results.store import ResultFile
    from self_ensemble.run import WordingChoice, run_questions

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
    for may_shrink in (False, True):
        target = output / f"shrunk-{may_shrink}.feather"
        with ResultFile.open(target, Manifest({}), schema=RESULT_SCHEMA) as file:
            options = {"batch_size": 8, "may_shrink": may_shrink}
            if may_shrink:
                run_questions(ensemble, questions, WordingChoice(3), {"avg": file}, **options)
                assert list(pd.read_feather(target)["generation"]) == list(
                    result(output, "ensemble_avg-3")["generation"]
                )
            else:
                with pytest.raises(UserError, match="--batch-size"):
                    run_questions(ensemble, questions, WordingChoice(3), {"avg": file}, **options)
