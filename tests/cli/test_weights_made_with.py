"""Weights of another model, tokenizer, prompt or data are refused, by the name of what differs."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from self_ensemble.cli.main import main
from tests.cli.commands import arguments, question_rows, write_rows


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_folder) -> Path:
    """A folder with questions, and confidences and learned weights among its results."""
    folder = tmp_path_factory.mktemp("made")
    questions = write_rows(folder / "bridges.jsonl", question_rows())
    shutil.copytree(tiny_folder, folder / "tiny")
    command = arguments("confidence", questions, folder / "tiny", folder / "out")
    assert main([*command, "--estimator", "logprob"]) == 0
    learned = ["learn-weights", "--dataset", str(questions), "--model", str(folder / "tiny"),
               "--output-dir", str(folder / "out"), "--num-shots", "2", "--num-paraphrases", "3",
               "--max-samples", "4", "--folds", "2"]  # fmt: skip
    assert main(learned) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "copy")


def generate(folder: Path, source: str, *more: str) -> int:
    command = arguments("generate", folder / "bridges.jsonl", folder / "tiny", folder / "out")
    offset = ["--offset", "4"] if source == "learned" else []
    return main(
        [*command, "--method", "weighted_avg", "--weights", source, *offset, "--overwrite", *more]
    )


def change_tensor(folder: Path) -> None:
    path = folder / "tiny" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] += 0.25
    save_file(tensors, path, metadata={"format": "pt"})


def change_config(folder: Path) -> None:
    path = folder / "tiny" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rms_norm_eps": 0.01}))


def change_tokenizer(folder: Path) -> None:
    path = folder / "tiny" / "tokenizer.json"
    state = json.loads(path.read_text())
    state["pre_tokenizer"]["add_prefix_space"] = True
    path.write_text(json.dumps(state))


def change_data(folder: Path) -> None:
    path = folder / "bridges.jsonl"
    path.write_text(path.read_text().replace('["Paris"]', '["Rome"]', 1))


CHANGES = [
    (change_tensor, "identity.weights.model.safetensors was xxh3:"),
    (change_config, "identity.config.rms_norm_eps was 1e-06, now 0.01"),
    (change_tokenizer, "identity.tokenizer.pre_tokenizer was xxh3:"),
]


@pytest.mark.parametrize("source", ["logprob", "learned"])
@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_weights_of_another_model_are_refused(folder, capsys, source, change, named):
    change(folder)
    assert generate(folder, source) == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("\n") == 1
    assert "self-ensemble" in message


@pytest.mark.parametrize("source", ["logprob", "learned"])
def test_weights_of_another_prompt_are_refused(folder, capsys, source):
    # Other examples before the same questions.
    assert generate(folder, source, "--chat-template", "on") == 2
    assert "prompt_sha256 was" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["logprob", "learned"])
def test_the_same_model_elsewhere_is_the_same(folder, source):
    (folder / "models").mkdir()
    (folder / "tiny").rename(folder / "models" / "tiny")
    (folder / "tiny").symlink_to(folder / "models" / "tiny")
    assert generate(folder, source) == 0
    assert generate(folder, source, "--dtype", "bfloat16") == 0


def test_learned_weights_of_other_data_are_refused(folder, capsys):
    change_data(folder)
    assert generate(folder, "learned") == 2
    assert "data was [" in capsys.readouterr().err


def test_questions_that_weights_are_learned_from_may_have_a_file_of_wordings_of_their_own(
    folder, capsys
):
    def wordings(name: str, kept: slice) -> list[str]:
        rows = [{"uuid": row["uuid"], "question": row["question"],
                 "paraphrases": row["paraphrases"]} for row in question_rows()[kept]]  # fmt: skip
        return ["--paraphrases", str(write_rows(folder / name, rows))]

    learn = ["learn-weights", "--dataset", str(folder / "bridges.jsonl"), "--overwrite",
             "--model", str(folder / "tiny"), "--output-dir", str(folder / "out"),
             "--num-shots", "2", "--num-paraphrases", "3", "--max-samples", "4",
             "--folds", "2", *wordings("dev.jsonl", slice(0, 8))]  # fmt: skip
    assert main(learn) == 0
    assert generate(folder, "learned", *wordings("test.jsonl", slice(2, 10))) == 0
    change_data(folder)
    assert generate(folder, "learned", *wordings("test.jsonl", slice(2, 10))) == 2
    assert "data was [" in capsys.readouterr().err


def test_a_file_that_does_not_say_what_its_model_was_is_refused(folder, capsys):
    path = folder / "out" / "bridges" / "tiny" / "learned_weights.json"
    document = json.loads(path.read_text())
    del document["identity"]
    path.write_text(json.dumps(document | {"checksum": "edited"}))
    assert generate(folder, "learned") == 2
    assert "does not say what its model was" in capsys.readouterr().err
