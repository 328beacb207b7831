"""Whole jobs from Python: what they take and return; the command line's results are theirs."""

import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch

import self_ensemble as se
from self_ensemble.cli.main import main
from self_ensemble.jobs.progress import Silent
from tests.cli.commands import (
    arguments,
    many_question_rows,
    question_rows,
    result,
    write_rows,
)

OPTIONS = se.GenerateOptions(num_paraphrases=3, max_new_tokens=4)
METHODS = ["flex_attention", "avg"]


class Listening(Silent):
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def data(path: Path) -> se.DataOptions:
    return se.DataOptions(str(path), num_shots=2)


def test_the_library_writes_what_the_command_line_writes(tmp_path, tiny_folder) -> None:
    path = write_rows(tmp_path / "bridges.jsonl", question_rows())
    options = ["--method", "flex_attention,avg"]
    assert main(arguments("generate", path, tiny_folder, tmp_path / "cli", *options)) == 0
    found = se.generate(
        data(path),
        model=tiny_folder,
        methods=METHODS,
        output_dir=tmp_path / "library",
        options=OPTIONS,
    )
    assert list(found.files) == METHODS
    assert not found.failed
    assert found.outcome.num_questions == len(question_rows()) - 2  # the examples
    for method, name in zip(METHODS, ("flex_attention-3", "ensemble_avg-3"), strict=True):
        expected = result(tmp_path / "cli", name)
        assert [row["generation"] for row in found.rows(method)] == list(expected["generation"])

    # One goes on with the other's files: their manifests are the same.
    listening = Listening()
    again = se.generate(
        data(path),
        model=tiny_folder,
        methods=METHODS,
        output_dir=tmp_path / "cli",
        options=OPTIONS,
        progress=listening,
    )
    assert listening.said == ["Finished already: flex_attention, avg."]
    assert (again.outcome.num_questions, again.seconds_per_question) == (0, None)


def test_questions_may_be_rows_or_a_data_set_and_the_model_loaded(tmp_path, tiny_folder) -> None:
    model = se.load_model(str(tiny_folder))
    given = {
        "rows": question_rows(),
        "set": se.questions_from_rows(question_rows()),
        "file": se.DataOptions(
            str(write_rows(tmp_path / "questions.jsonl", question_rows())), num_shots=0
        ),
    }
    predictions = {}
    for name, questions in given.items():
        found = se.generate(
            questions,
            model=model,
            methods=["avg"],
            output_dir=tmp_path / name,
            options=OPTIONS,
        )
        assert found.folder.parent == tmp_path / name / "questions"
        predictions[name] = [row["generation"] for row in found.rows("avg")]
    assert predictions["rows"] == predictions["set"] == predictions["file"]


def largest(logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """A rule as a notebook would define it: `max`, of raw logits."""
    return logits.amax(dim=1)


def test_one_method_may_be_a_name_or_a_rule_itself(tmp_path, tiny_folder) -> None:
    given = {"model": tiny_folder, "output_dir": tmp_path, "options": OPTIONS}
    own = se.generate(iter(question_rows()), methods=largest, **given)
    (name,) = own.files
    assert name.endswith(":largest")
    listening = Listening()
    again = se.generate(question_rows(), methods=[largest], progress=listening, **given)
    assert again.rows(name) == own.rows(name)
    assert listening.said == [f"Finished already: {name}."]
    assert list(se.generate(question_rows(), methods="avg", **given).files) == ["avg"]


@pytest.mark.parametrize("questions", [42, ["who?"], pd.DataFrame(question_rows()), object()])
def test_what_are_no_questions_is_refused(questions) -> None:
    with pytest.raises(se.UserError, match=r"Got questions of type .* rows such as"):
        se.generate(questions, model="nowhere")


def test_a_job_runs_in_a_thread_where_no_signal_can_come(tmp_path, tiny_folder) -> None:
    found: list[se.Results] = []

    def ask() -> None:
        found.append(
            se.generate(
                question_rows(),
                model=tiny_folder,
                methods=["avg"],
                output_dir=tmp_path,
                options=OPTIONS,
            )
        )

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert len(found[0].rows("avg")) == len(question_rows())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "alined"}, "Unknown positions 'alined'. Did you mean 'aligned'?"),
        ({"fusion_point": "end"}, "Unknown fusion point 'end'"),
        ({"chat_template": "yes"}, "Unknown chat template setting 'yes'"),
        ({"decode": "graph"}, "Unknown way to decode 'graph'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_loaded(options, message) -> None:
    with pytest.raises(se.UserError, match=message.replace("?", r"\?")):
        se.generate("nowhere.jsonl", model="nowhere", options=se.GenerateOptions(**options))


def test_no_rows_are_refused() -> None:
    with pytest.raises(se.UserError, match="Got no questions"):
        se.generate([], model="nowhere")


def test_a_row_that_cannot_be_used_is_named() -> None:
    with pytest.raises(se.UserError, match=r"row 1: .*no 'answers'"):
        se.questions_from_rows([*question_rows()[:1], {"question": "Who?"}])


def test_what_a_result_does_not_hold_is_refused(tmp_path, tiny_folder) -> None:
    found = se.generate(
        question_rows(), model=tiny_folder, methods=["avg"], output_dir=tmp_path, options=OPTIONS
    )
    with pytest.raises(se.UserError, match="Unknown result 'agv'"):
        found.rows("agv")


def test_scoring_imports_no_torch() -> None:
    code = "import sys; from self_ensemble import analyze; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_are_not_learned_on_so_many_that_none_are_left_to_evaluate() -> None:
    with pytest.raises(se.UserError, match=r"Got 210 questions\. Weights are learned on at most"):
        se.learn_weights(many_question_rows(21), model="nowhere")
