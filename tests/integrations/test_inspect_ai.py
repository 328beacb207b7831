"""Inspect's provider and solver on the bundled task, without a network."""

import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

inspect_ai = pytest.importorskip("inspect_ai")

from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model

import self_ensemble as se
from self_ensemble.integrations.inspect_ai_solver import demo, ensemble
from tests.integrations.harness import rows, write_rows

pytestmark = pytest.mark.filterwarnings("ignore")
Evaluate = Callable[..., EvalLog]
NUM = 4


@pytest.fixture(autouse=True)
def only_here(monkeypatch, tmp_path) -> None:
    """Nothing is written outside, and nobody is called."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "INSPECT_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a connection to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


@pytest.fixture
def evaluate(tmp_path) -> Evaluate:
    def run(task: Any, model: Any, **options: Any) -> EvalLog:
        (log,) = inspect_ai.eval(
            task, model=model, log_dir=str(tmp_path / "logs"), display="none", **options
        )
        return read_eval_log(log.location, resolve_attachments=True)

    return run


@pytest.fixture(scope="module")
def wordings(tmp_path_factory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "w.jsonl", rows(NUM))


def own_answers(folder: Path, method: str, num: int) -> list[se.Answer]:
    """What the library itself answers in the same conversations."""
    model = se.load_model(str(folder))
    frame = se.conversation_frame(model.tokenizer, [])
    asked = se.Ensemble(
        model, method, frame=frame, settings=se.Settings(max_new_tokens=32, stop=())
    )
    return asked.answer_many([(row["question"], *row["paraphrases"])[:num] for row in rows(NUM)])


def test_a_task_is_answered_as_by_the_library_itself(tiny_folder, evaluate, wordings):
    log = evaluate(
        demo(NUM), f"self-ensemble/{tiny_folder}",
        model_args={"method": "avg", "paraphrases": str(wordings), "num_paraphrases": 3,
                    "attribution": "leave_one_out", "batch_size": 3},
    )  # fmt: skip
    assert log.status == "success", log.error
    expected = own_answers(tiny_folder, "avg", 3)
    alone = own_answers(tiny_folder, "per_prompt", 3)
    frame = se.conversation_frame(se.load_model(str(tiny_folder)).tokenizer, [])
    samples = sorted(log.samples or [], key=lambda sample: str(sample.id))
    assert len(samples) == NUM
    for sample, answer, each, row in zip(samples, expected, alone, rows(NUM), strict=True):
        assert sample.output.completion == answer.generation
        told = sample.metadata["self_ensemble"]
        assert told["method"] == "avg"
        assert told["wordings"] == [
            {"wording": wording, "answer": member.text}
            for wording, member in zip(
                (row["question"], *row["paraphrases"][:2]), each.members, strict=True
            )
        ]
        assert len(told["attribution"]["leave_one_out"]) == 3
        (usage,) = sample.model_usage.values()
        # Of all wordings, with their beginning and end once.
        parts = frame.parts((row["question"], *row["paraphrases"][:2]))
        whole = sum(len(parts.alone(n)) for n in range(3))
        assert usage.input_tokens == whole - 2 * (len(parts.prefix) + len(parts.cue))
        assert usage.output_tokens == len(answer.token_ids)
        events = [event for event in sample.events if event.event == "info"]
        (table,) = [str(event.data).splitlines() for event in events]
        assert table[0] == "| wording | answer | leave_one_out |"
        shares = told["attribution"]["leave_one_out"]
        assert [_cells(line) for line in table[2:]] == [
            [" ".join(one["wording"].split()), " ".join(one["answer"].split()), f"{share:.3f}"]
            for one, share in zip(told["wordings"], shares, strict=True)
        ]


def _cells(line: str) -> list[str]:
    """What a row of Markdown's table shows."""
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
    return [re.sub(r"\\(\W|_)", r"\1", cell).strip() for cell in cells]


def test_origin_asks_the_message_as_it_is(tiny_folder, evaluate):
    log = evaluate(demo(NUM), f"self-ensemble/{tiny_folder}", model_args={"method": "origin"})
    assert log.status == "success", log.error
    said = {sample.id: sample.output.completion for sample in log.samples or []}
    expected = [answer.generation for answer in own_answers(tiny_folder, "origin", 1)]
    assert [said[row["uuid"]] for row in rows(NUM)] == expected


@pytest.mark.parametrize("has_file", [False, True], ids=["metadata", "file"])
def test_the_solver_asks_any_model_and_votes_as_the_library_does(
    tiny_folder, evaluate, wordings, has_file
):
    """Our provider stands for any: one wording at a time, and texts come back."""
    asked = ensemble(str(wordings) if has_file else None, num=3)
    log = evaluate(
        demo(NUM), f"self-ensemble/{tiny_folder}", model_args={"method": "origin"}, solver=asked
    )
    assert log.status == "success", log.error
    expected = own_answers(tiny_folder, "vote", 3)
    samples = sorted(log.samples or [], key=lambda sample: str(sample.id))
    for sample, answer in zip(samples, expected, strict=True):
        assert sample.output.completion == answer.generation
        assert sample.messages[-1].text == answer.generation
        told = sample.metadata["self_ensemble"]
        assert told["method"] == "vote"
        assert [one["answer"] for one in told["wordings"]] == [m.text for m in answer.members]


def test_the_majority_wins(evaluate):
    """Of a model that says of each wording what it is told to say."""
    heard: list[str] = []

    def say(messages: Any, tools: Any, choice: Any, config: Any) -> ModelOutput:
        text = messages[-1].text
        heard.append(text)
        first = any(text == row["question"] for row in rows(NUM))
        output = ModelOutput.from_content("mockllm/model", "Rome." if first else "paris\nIt is.")
        # Without it Inspect counts tokens with a vocabulary that it downloads.
        output.usage = ModelUsage()
        return output

    model = get_model("mockllm/model", custom_outputs=say)
    log = evaluate(demo(NUM), model, solver=ensemble(num=3))
    assert log.status == "success", log.error
    assert sorted(heard) == sorted(
        wording for row in rows(NUM) for wording in (row["question"], *row["paraphrases"][:2])
    )
    for sample in log.samples or []:
        assert sample.output.completion == "paris\nIt is."
        answers = [one["answer"] for one in sample.metadata["self_ensemble"]["wordings"]]
        assert answers == ["Rome.", "paris", "paris"]
    assert log.results is not None
    (score,) = log.results.scores
    assert score.metrics["accuracy"].value == pytest.approx(
        sum("Paris" in row["answers"] for row in rows(NUM)) / NUM
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "avg"}, "without paraphrases"),
        ({"method": "origin", "paraphrases": "w.jsonl"}, "with paraphrases"),
        ({"method": "avg", "paraphrases": "auto"}, "needs num_paraphrases"),
        ({"method": "avg", "paraphrases": "gone.jsonl"}, "gone.jsonl does not exist"),
        ({"method": "origin", "few": 3}, "Unknown -M few"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_the_provider(tiny_folder, arguments, says):
    with pytest.raises(se.UserError, match=says):
        get_model(f"self-ensemble/{tiny_folder}", memoize=False, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-M", "method=avg"], "Error: Got method=avg without paraphrases."),
        (["-M", "method=agv", "-M", "paraphrases={w}"], "Error: Unknown method 'agv'. Did you"),
        (["-M", "method=origin", "--solver", "self_ensemble/ensemble", "-S",
          "paraphrases=gone[red].jsonl"], "Error: gone[red].jsonl does not exist."),
    ],
)  # fmt: skip
def test_the_command_prints_what_is_refused_and_no_traceback(
    tiny_folder, wordings, tmp_path, arguments, says
):
    command = [sys.executable, "-m", "inspect_ai", "eval", "self_ensemble/demo", "--model",
               f"self-ensemble/{tiny_folder}", "--display", "plain", "--limit", "1",
               "--log-dir", str(tmp_path)]  # fmt: skip
    done = subprocess.run(
        [*command, *(one.format(w=wordings) for one in arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert says in said
    assert "Traceback" not in said
    assert "[SE-" in said
    assert len(said.splitlines()) < 10


def test_a_sample_that_cannot_be_asked_says_why(tiny_folder, evaluate, tmp_path):
    other = write_rows(tmp_path / "other.jsonl", [{"question": "who?", "paraphrases": ["why?"]}])
    arguments = {"method": "avg", "paraphrases": str(other)}
    log = evaluate(
        demo(NUM), f"self-ensemble/{tiny_folder}", model_args=arguments, fail_on_error=False
    )
    errors = [sample.error.message for sample in log.samples or [] if sample.error]
    assert len(errors) == NUM
    assert all("no question of" in error for error in errors)


def test_options_of_generation_that_are_not_there_are_refused(tiny_folder, evaluate):
    log = evaluate(
        demo(1), f"self-ensemble/{tiny_folder}", model_args={"method": "origin"}, top_k=3
    )
    assert log.status == "error"
    assert "'top_k': 3" in log.error.message


def test_the_entry_point_names_a_module_that_registers_all(tiny_folder):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    (target,) = project["project"]["entry-points"]["inspect_ai"].values()
    module = import_module(target)
    assert module.demo is demo
    assert get_model(f"self-ensemble/{tiny_folder}", method="origin").api.model_name == str(
        tiny_folder
    )
