"""`generate` with weights from `confidence`, with contrast, and over part of a file."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.asking.request import Request, Settings
from self_ensemble.cli.main import main
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import load_model
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.results.disk import read_table, write_table
from self_ensemble.results.manifest import MANIFEST_KEY, read_manifest
from tests.cli.commands import arguments, question_rows, result, result_path, write_rows

WEIGHTED = ["weighted_avg", "weighted_max", "flex_attention"]


def name_of(method: str, source: str | None) -> str:
    stem = method if method == "flex_attention" else f"ensemble_{method}"
    return f"{stem}-3" + ("" if source is None else f"-{source}")


def with_weights(source: str) -> list[str]:
    return ["--method", ",".join(WEIGHTED), "--weights", source, "--segment-weights", source]


@pytest.fixture(scope="module")
def explored(tmp_path_factory, tiny_folder) -> tuple[Path, Path]:
    """Confidences of a data set; the question file and the output folder."""
    folder = tmp_path_factory.mktemp("run")
    path = write_rows(folder / "bridges.jsonl", question_rows())
    command = arguments("confidence", path, tiny_folder, folder, "--num-samples", "8",
                        "--estimator", "logprob,sampling,margin")  # fmt: skip
    assert main(command) == 0
    return path, folder


@pytest.fixture
def copied(explored, tmp_path) -> tuple[Path, Path]:
    """The same, to be spoilt."""
    path, folder = explored
    (tmp_path / "bridges.jsonl").write_bytes(path.read_bytes())
    for estimator in ("confidence", "confidence-logprob", "confidence-margin"):
        target = result_path(tmp_path, estimator)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(result_path(folder, estimator).read_bytes())
    return tmp_path / "bridges.jsonl", tmp_path


@pytest.mark.parametrize(
    ("source", "file"),
    [("logprob", "confidence-logprob"), ("confidence", "confidence"), ("sampling", "confidence")],
)
def test_the_numbers_of_the_file_are_the_weights(explored, tiny_folder, source, file) -> None:
    path, output = explored
    assert main(arguments("generate", path, tiny_folder, output, *with_weights(source))) == 0
    confidences = result(output, file).groupby("uuid")["confidence"].agg(tuple)
    questions = load_questions(str(path), num_shots=2)
    model = load_model(str(tiny_folder))
    frame = plain_frame(model.tokenizer, questions.instruction, questions.shots, questions.framing)
    settings = Settings(max_new_tokens=4, stop=questions.stop, segment_weights="given")
    ensemble = Ensemble(model, WEIGHTED, frame=frame, settings=settings)
    # Confidences of one question are not all the same, or they would not show.
    assert max(max(c) - min(c) for c in confidences) > 0.05
    for question in questions.questions:
        weights = confidences[question.uuid]
        weights = weights if any(weights) else (1.0, 1.0, 1.0)
        request = Request(question.uuid, question.wordings, weights, weights)
        for method, (answer,) in ensemble.run([request]).items():
            # The published name of the estimator sampling is confidence.
            name = name_of(method, "confidence" if source == "sampling" else source)
            rows = result(output, name).set_index("uuid")
            assert list(rows.loc[question.uuid, "token_ids"]) == list(answer.token_ids)


def test_the_source_is_in_the_name_of_the_methods_that_read_it(explored, tiny_folder) -> None:
    path, output = explored
    options = ["--method", "weighted_avg,avg,flex_attention,origin", "--weights", "margin"]
    assert main(arguments("generate", path, tiny_folder, output, *options)) == 0
    for name in ("ensemble_weighted_avg-3-margin", "ensemble_avg-3", "flex_attention-3", "origin"):
        assert result_path(output, name).exists()
    # Another source is another file, and the first is not in its way.
    options = ["--method", "weighted_avg", "--weights", "logprob"]
    assert main(arguments("generate", path, tiny_folder, output, *options)) == 0
    assert result_path(output, "ensemble_weighted_avg-3-logprob").exists()


def test_a_column_is_not_in_the_name(questions, tiny_folder, tmp_path) -> None:
    options = ["--method", "weighted_avg", "--weights", "trust"]
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *options)) == 0
    assert result_path(tmp_path, "ensemble_weighted_avg-3").exists()


@pytest.mark.parametrize("indices", ["2,0", "1"])
def test_weights_go_with_the_chosen_wordings(explored, tiny_folder, indices) -> None:
    path, output = explored
    options = ["--method", "weighted_max,per_prompt", "--weights", "logprob", "--indices", indices]
    assert main(arguments("generate", path, tiny_folder, output, *options)) == 0
    fused = result(output, f"diversity/ensemble_weighted_max-{indices}-logprob").set_index("uuid")
    alone = result(output, f"diversity/per_prompt-{indices}")
    confidences = result(output, "confidence-logprob").set_index(["uuid", "paraphrase_index"])
    for uuid, row in fused.iterrows():
        best = max(
            map(int, indices.split(",")), key=lambda n: confidences.loc[(uuid, n)].confidence
        )
        (expected,) = alone[(alone["uuid"] == uuid) & (alone["paraphrase_index"] == best)][
            "generation"
        ]
        assert row["generation"] == expected


def rewrite(path: Path, frame: pd.DataFrame) -> None:
    """Put other rows into a file, as a run that had made them would."""
    old = read_table(path).schema
    table = pa.Table.from_pandas(frame, old.remove_metadata(), preserve_index=False)
    write_table(path, table, {MANIFEST_KEY: old.metadata[MANIFEST_KEY]})


def test_confidences_of_zero_weigh_the_same(copied, tiny_folder) -> None:
    path, output = copied
    table = result(output, "confidence-margin").assign(confidence=0.0)
    rewrite(result_path(output, "confidence-margin"), table)
    command = arguments("generate", path, tiny_folder, output, *with_weights("margin"))
    assert main(command) == 0
    plain = ["--method", "avg,flex_attention"]
    assert main(arguments("generate", path, tiny_folder, output, *plain)) == 0
    for weighted, equal in (("weighted_avg", "avg"), ("flex_attention", "flex_attention")):
        ours, theirs = (
            result(output, name_of(weighted, "margin")),
            result(output, name_of(equal, None)),
        )
        assert list(ours["generation"]) == list(theirs["generation"])


def _refused(capsys, command: list[str]) -> str:
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("option", ["--weights", "--segment-weights"])
def test_a_row_that_is_not_there_is_named(copied, tiny_folder, capsys, option) -> None:
    path, output = copied
    table = result(output, "confidence-logprob")
    uuid = table["uuid"][4]
    rewrite(result_path(output, "confidence-logprob"), table.drop(index=4))
    method = "weighted_avg" if option == "--weights" else "flex_attention"
    error = _refused(
        capsys,
        arguments("generate", path, tiny_folder, output, "--method", method, option, "logprob"),
    )
    assert f"no confidence in wording 1 of row '{uuid}'" in error
    assert not result_path(output, name_of(method, "logprob")).exists()


def test_a_wording_that_has_changed_is_named(copied, tiny_folder, capsys) -> None:
    path, output = copied
    rows = question_rows()
    # All of them, because two are set aside as examples.
    for row in rows:
        row["paraphrases"][1] = "Who made it?"
    write_rows(path, rows)
    error = _refused(
        capsys,
        arguments("generate", path, tiny_folder, output, "--method", "weighted_avg", "--weights",
                  "logprob", "--overwrite"),
    )  # fmt: skip
    assert "with wording 2 'Name the builder of bridge" in error
    assert "now reads 'Who made it?'" in error


def test_confidences_that_were_not_estimated_yet_are_asked_for(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    command = arguments("generate", questions, tiny_folder, tmp_path, *with_weights("confidence"))
    assert "self-ensemble confidence --estimator sampling" in _refused(capsys, command)


def test_a_column_named_like_an_estimator_is_refused(tiny_folder, tmp_path, capsys) -> None:
    rows = [row | {"logprob": [0.1, 0.2, 0.3]} for row in question_rows()]
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    command = arguments("generate", path, tiny_folder, tmp_path, *with_weights("logprob"))
    assert "Rename the column" in _refused(capsys, command)


def test_all_takes_the_weighted_methods_where_there_are_weights(explored, tiny_folder, tmp_path):
    path, output = explored
    options = ["--method", "all", "--weights", "logprob", "--max-samples", "2", "--overwrite"]
    assert main(arguments("generate", path, tiny_folder, output, *options)) == 0
    for method in ("weighted_avg", "weighted_max"):
        assert len(result(output, name_of(method, "logprob"))) == 2
    for method in ("contrast", "gated", "min_entropy"):
        assert len(result(output, name_of(method, None))) == 2


def test_contrast_strength_reaches_the_rule(questions, tiny_folder, tmp_path) -> None:
    options = ["--method", "contrast,avg", "--contrast-strength", "2.5"]
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *options)) == 0
    data = load_questions(str(questions), num_shots=2)
    model = load_model(str(tiny_folder))
    frame = plain_frame(model.tokenizer, data.instruction, data.shots, data.framing)
    settings = Settings(max_new_tokens=4, stop=data.stop)
    found = []
    for strength in (2.5, 0.25):
        methods = resolve_methods(["contrast"], has_weights=False, contrast_strength=strength)
        ensemble = Ensemble(model, methods, frame=frame, settings=settings)
        asking = [Request(question.uuid, question.wordings) for question in data.questions]
        found.append([answer.generation for answer in ensemble.run(asking)["contrast"]])
    assert list(result(tmp_path, "ensemble_contrast-3")["generation"]) == found[0] != found[1]


def test_contrast_strength_is_part_of_what_made_contrast_and_of_nothing_else(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    command = arguments("generate", questions, tiny_folder, tmp_path, "--method", "contrast,avg")
    assert main([*command, "--contrast-strength", "0.5"]) == 0
    contrast, avg = (
        read_manifest(result_path(tmp_path, name_of(method, None))).fields["contrast_strength"]
        for method in ("contrast", "avg")
    )
    assert (contrast, avg) == (0.5, None)
    capsys.readouterr()
    error = _refused(capsys, [*command, "--contrast-strength", "1"])
    assert "contrast_strength was 0.5, now 1.0" in error
    assert "ensemble_contrast-3" in error


@pytest.mark.parametrize("strength", ["-0.1", "nan", "inf"])
def test_a_contrast_strength_that_is_no_number_from_0_is_refused(
    questions, tiny_folder, tmp_path, capsys, strength
) -> None:
    command = arguments("generate", questions, tiny_folder, tmp_path, "--method", "contrast")
    error = _refused(capsys, [*command, "--contrast-strength", strength])
    assert f"Got --contrast-strength {float(strength)}" in error


def test_contrast_strength_without_contrast_is_refused(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    command = arguments("generate", questions, tiny_folder, tmp_path, "--method", "avg,gated")
    error = _refused(capsys, [*command, "--contrast-strength", "0.5"])
    assert "--contrast-strength is for contrast" in error


def test_parts_of_a_file_together_are_the_whole(questions, tiny_folder, tmp_path) -> None:
    tables = {}
    for name, options in {
        "whole": [],
        "first": ["--max-samples", "3"],
        "second": ["--offset", "3", "--max-samples", "2"],
        "rest": ["--offset", "5"],
    }.items():
        command = arguments("generate", questions, tiny_folder, tmp_path / name, *options)
        assert main(command) == 0
        tables[name] = result(tmp_path / name, "flex_attention-3").drop(columns="seconds")
    parts = pd.concat([tables[name] for name in ("first", "second", "rest")], ignore_index=True)
    assert list(parts["uuid"]) == list(tables["whole"]["uuid"])
    assert list(parts["generation"]) == list(tables["whole"]["generation"])


@pytest.mark.parametrize(("offset", "message"), [("-1", "Got --offset -1"), ("8", "--offset 8")])
def test_an_offset_that_leaves_no_question_is_refused(
    questions, tiny_folder, tmp_path, capsys, offset, message
) -> None:
    # Ten questions, two of which are examples.
    command = arguments("generate", questions, tiny_folder, tmp_path, "--offset", offset)
    assert message in _refused(capsys, command)
