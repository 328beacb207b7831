"""The file of learned weights: written, read, and refused where it does not belong."""

import json
from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.results.paths import learned_weights_path
from self_ensemble.weighting.learned_file import (
    LearnedWeights,
    is_learned_file,
    learned_fields,
    learned_weights_for,
    read_learned,
    write_learned,
)
from self_ensemble.weighting.sources import weights_from

CHOSEN = (0, 1, 2)
BY_INDEX = LearnedWeights("index", {"all": (0.5, 0.3, 0.2)}, CHOSEN, "facts", "tiny", ("d1", "d2"))
BY_TEMPLATE = LearnedWeights(
    "template", {"P1": (1.0, 0.0, 0.0), "P2": (0.2, 0.2, 0.6)}, CHOSEN, "facts", "tiny", ("d1",)
)


def question(uuid: str, relation: str = "P1", num_wordings: int = 3, kind: str = "manual"):
    return Question(
        uuid,
        tuple(f"{uuid} in wording {n}?" for n in range(num_wordings)),
        ("Paris",),
        groups=(kind,) * num_wordings,
        extra={"rel_uri": relation},
    )


def question_set(*questions: Question, name: str = "facts") -> QuestionSet:
    return QuestionSet(name, questions, (), "")


@pytest.fixture
def by_index(tmp_path) -> Path:
    path = tmp_path / "learned.json"
    write_learned(path, {"nll": 1.5, **learned_fields(BY_INDEX)})
    return path


@pytest.fixture
def by_template(tmp_path) -> Path:
    path = tmp_path / "templates.json"
    write_learned(path, learned_fields(BY_TEMPLATE))
    return path


def test_what_is_written_is_read_and_keeps_its_provenance(by_index) -> None:
    assert read_learned(by_index) == BY_INDEX
    assert json.loads(by_index.read_text())["nll"] == 1.5
    assert is_learned_file(by_index)
    assert [file.name for file in by_index.parent.iterdir()] == ["learned.json"]


def test_by_index_all_questions_have_the_same_weights(by_index) -> None:
    asked = question_set(question("a"), question("b", "P7"), question("c", num_wordings=2))
    weights = learned_weights_for(by_index, asked, CHOSEN, "/models/tiny")
    assert weights == {"a": (0.5, 0.3, 0.2), "b": (0.5, 0.3, 0.2), "c": ()}


def test_by_template_a_question_has_its_relations_weights(by_template) -> None:
    asked = question_set(question("a", "P2"), question("b", "P1"))
    weights = learned_weights_for(by_template, asked, CHOSEN, "/models/tiny")
    assert weights == {"a": (0.2, 0.2, 0.6), "b": (1.0, 0.0, 0.0)}


@pytest.mark.parametrize(
    ("asked", "chosen", "model", "message"),
    [
        (question_set(question("a"), question("d2"), question("d1")), CHOSEN, "/m/tiny",
         "fitted on row 'd2'"),
        (question_set(question("a"), question("d2", num_wordings=1)), CHOSEN, "/m/tiny",
         "fitted on row 'd2'"),
        (question_set(question("a"), name="bridges"), CHOSEN, "/m/tiny",
         "data set facts; this run has bridges"),
        (question_set(question("a")), CHOSEN, "/m/large", "model tiny; this run has large"),
        (question_set(question("a")), (0, 1), "/m/tiny", "wordings 0,1,2; this run has 0,1"),
        (question_set(question("a")), (0, 2, 1), "/m/tiny", "wordings 0,1,2; this run has 0,2,1"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_belong_is_refused(by_index, asked, chosen, model, message) -> None:
    with pytest.raises(UserError, match=message):
        learned_weights_for(by_index, asked, chosen, model)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (question("b", "P9"), "no weights for the relation 'P9' of row 'b'"),
        (question("b", kind="auto"), "Row 'b' is not asked in a relation's manual templates"),
        (Question("b", ("x", "y", "z"), ("Paris",)), "Row 'b' is not asked in a relation's"),
    ],
)
def test_a_question_without_a_known_relation_is_refused(by_template, asked, message) -> None:
    with pytest.raises(UserError, match=message):
        learned_weights_for(by_template, question_set(question("a"), asked), CHOSEN, "/m/tiny")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weights", {"all": [0.5, 0.5]}, "'weights' has .* for 'all'; expected 3"),
        ("weights", {"all": [0.5, -0.1, 0.6]}, "'weights' has"),
        ("weights", {"all": [0.5, None, 0.5]}, "'weights' has"),
        ("weights", {"all": [float("nan"), 0.5, 0.5]}, "'weights' has"),
        ("weights", {"all": [float("inf"), 0.5, 0.5]}, "'weights' has"),
        ("weights", {"all": [0, 0, 0]}, "'weights' has"),
        ("weights", [0.5, 0.3, 0.2], "no field 'weights' of type dict"),
        ("by", "column", "'by' is 'column'"),
        ("indices", ["0", "1", "2"], "'indices' is no list of int"),
        ("dev_uuids", [], "'dev_uuids' is no list of str"),
        ("dev_uuids", None, "no field 'dev_uuids'"),
        ("dataset", 3, "no field 'dataset'"),
        ("kind", "other", "field 'kind'"),
    ],
)
def test_a_broken_field_is_named(by_index, field, value, message) -> None:
    fields = json.loads(by_index.read_text()) | {field: value, "checksum": "edited"}
    by_index.write_text(json.dumps(fields))
    with pytest.raises(UserError, match=message) as error:
        read_learned(by_index)
    assert str(by_index) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{", "[1, 2]", "", '"text"', "\ufeff{}", "[" * 100_000])
def test_a_file_that_is_no_such_file_is_refused(tmp_path, content) -> None:
    path = tmp_path / "learned.json"
    path.write_text(content)
    assert not is_learned_file(path)
    with pytest.raises(UserError, match=r"learned\.json"):
        read_learned(path)
    with pytest.raises(UserError, match=r"learned\.json"):
        weights_from(str(path), question_set(question("a")), CHOSEN,
                     output_dir=tmp_path, model="/m/tiny")  # fmt: skip


def test_the_source_learned_reads_the_file_of_data_set_and_model(tmp_path) -> None:
    asked = question_set(question("a"))
    with pytest.raises(UserError, match=r"learned_weights\.json .* learn-weights"):
        weights_from("learned", asked, CHOSEN, output_dir=tmp_path, model="/m/tiny")
    path = learned_weights_path(tmp_path, "facts", "/m/tiny")
    path.parent.mkdir(parents=True)
    write_learned(path, learned_fields(BY_INDEX))
    for source in ("learned", str(path)):
        weights = weights_from(source, asked, CHOSEN, output_dir=tmp_path, model="/m/tiny")
        assert weights == {"a": (0.5, 0.3, 0.2)}


def test_a_plain_table_of_weights_still_works(tmp_path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps([{"uuid": "a", "weights": [1, 2, 3]}]))
    asked = question_set(question("a"))
    weights = weights_from(str(path), asked, CHOSEN, output_dir=tmp_path, model="/m/tiny")
    assert weights == {"a": (1.0, 2.0, 3.0)}


def test_a_column_named_learned_is_refused(tmp_path) -> None:
    mixed = Question("a", ("x", "y", "z"), ("Paris",), extra={"learned": [1, 2, 3]})
    with pytest.raises(UserError, match="both a source of weights and a column"):
        weights_from("learned", question_set(mixed), CHOSEN, output_dir=tmp_path, model="/m/tiny")
