"""`--engine openvino` on the command line: files, their provenance, and what is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest

from self_ensemble.cli.main import main
from self_ensemble.models import engines
from self_ensemble.results.manifest import read_manifest
from tests.cli.commands import arguments, question_rows, result, result_path, write_rows

pytest.importorskip("openvino", reason='needs pip install "self-ensemble[openvino]"')

from self_ensemble.models import openvino_graph

BY_GRAPH = ("--engine", "openvino")


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "bridges.jsonl", question_rows())


@pytest.fixture(scope="module")
def answered(tmp_path_factory, questions, tiny_folder) -> Path:
    """Folder of a run by the graph."""
    output = tmp_path_factory.mktemp("graph")
    assert main(arguments("generate", questions, tiny_folder, output, *METHODS, *BY_GRAPH)) == 0
    return output


METHODS = ("--method", "flex_attention,avg,per_prompt")
FILES = ("flex_attention-3", "ensemble_avg-3")


def test_files_have_the_answers_of_the_reference(answered, questions, tiny_folder, tmp_path):
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *METHODS)) == 0
    for name in FILES:
        pd.testing.assert_series_equal(
            result(answered, name)["generation"], result(tmp_path, name)["generation"]
        )


def test_a_manifest_says_which_engine_and_which_version_of_it(answered):
    fields = read_manifest(result_path(answered, FILES[0])).fields
    assert fields["engine"] == "openvino"
    assert fields["versions"]["openvino"]


def test_results_of_one_engine_are_not_gone_on_with_by_another(
    answered, questions, tiny_folder, capsys
):
    command = arguments("generate", questions, tiny_folder, answered, *METHODS)
    assert main(command) == 2
    assert "engine was openvino, now" in capsys.readouterr().err
    assert main([*command, *BY_GRAPH]) == 0


def test_weights_in_8_bits_are_a_type_of_their_own(
    answered, questions, tiny_folder, tmp_path, capsys
):
    in_8_bits = (*METHODS, *BY_GRAPH, "--dtype", "int8")
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *in_8_bits)) == 0
    assert read_manifest(result_path(tmp_path, FILES[0])).fields["dtype"] == "int8"
    assert main(arguments("generate", questions, tiny_folder, answered, *in_8_bits)) == 2
    assert "dtype was float32, now int8" in capsys.readouterr().err


def test_what_is_not_held_to_the_oracle_is_not_timed_against_it(tiny_folder, capsys):
    assert main(["bench", "--model", str(tiny_folder), *BY_GRAPH, "--dtype", "int8"]) == 2
    assert "--dtype int8 rounds weights. Give float32 or bfloat16." in capsys.readouterr().err


def test_the_summary_names_the_engine(questions, tiny_folder, tmp_path, capsys):
    command = arguments("generate", questions, tiny_folder, tmp_path, *BY_GRAPH, "--json")
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["backend"] == "sdpa, engine openvino"


@pytest.mark.model
def test_a_trained_model_answers_as_by_the_reference(tmp_path):
    command = ["generate", "--dataset", "demo", "--max-samples", "3", "--num-shots", "2",
               "--method", "flex_attention,avg,origin", "--max-new-tokens", "8"]  # fmt: skip
    texts = []
    for more in ([], BY_GRAPH):
        output = tmp_path / str(len(more))
        assert main([*command, "--output-dir", str(output), *more]) == 0
        files = sorted(output.rglob("*.feather"))
        texts.append({file.name: list(pd.read_feather(file)["generation"]) for file in files})
    assert texts[0] == texts[1]
    assert len(texts[0]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "openvin"], "Unknown engine 'openvin'. Did you mean 'openvino'?"),
        ([*BY_GRAPH, "--device", "cuda"], "runs on the CPU, and --device is cuda"),
        ([*BY_GRAPH, "--dtype", "float16"], "float32, bfloat16 or int8, and --dtype is float16"),
        (["--dtype", "int8"], "rounds weights to 8 bits, which --engine torch does not."),
        ([*BY_GRAPH, "--attention", "flex"], "attention of its own, and --attention is flex"),
        ([*BY_GRAPH, "--decode", "captured"], "--engine openvino has passes of its own"),
        ([*BY_GRAPH, "--attribution", "mass"], "--engine openvino keeps to itself"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_in_a_line(
    questions, tiny_folder, tmp_path, capsys, options, message
):
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *options)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.rglob("*.feather"))


def test_a_family_that_the_graph_does_not_know_is_refused_by_name(
    tiny_model, tiny_tokenizer, questions, tmp_path, capsys
):
    folder = tmp_path / "gpt2"
    tiny_model("gpt2").save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    assert main(arguments("generate", questions, folder, tmp_path, *BY_GRAPH)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "knows the layers of llama, mistral, qwen2, qwen3, smollm3, and model" in line
    assert "is of type 'gpt2'. Choose another model, or use --engine torch. [SE-0407]" in line


def test_a_missing_package_is_told_with_what_installs_it(
    questions, tiny_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *BY_GRAPH)) == 2
    assert 'pip install "self-ensemble[openvino]"' in capsys.readouterr().err


def test_a_graph_that_is_not_the_model_is_refused(
    questions, tiny_folder, tmp_path, capsys, monkeypatch
):
    # As if the graph did not know of positions.
    monkeypatch.setattr(openvino_graph, "rotated", lambda x, cos, sin: x)
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *BY_GRAPH)) == 2
    assert "does not give the model's logits" in capsys.readouterr().err
