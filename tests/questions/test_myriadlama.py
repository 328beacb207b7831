"""Template sets: which wordings a fact gets, in which order."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import datasets
import pytest

from self_ensemble.errors import UserError
from self_ensemble.questions import QuestionSet, hub, myriadlama
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.myriadlama import TemplateChoice, choose_templates
from self_ensemble.questions.schema import Shot

Writer = Callable[[str, Iterable[object]], Path]

TEMPLATES = [
    {"rel_uri": "P1", "template": "[X] auto 0 [Y].", "is_manual": False},
    {"rel_uri": "P1", "template": "[X] manual 0 [Y].", "is_manual": True},
    {"rel_uri": "P2", "template": "[Y] of [X].", "is_manual": True},
    {"rel_uri": "P1", "template": "[X] manual 1 [Y].", "is_manual": True},
    {"rel_uri": "P1", "template": "[X] manual 0 [Y].", "is_manual": True},
    *(
        {"rel_uri": "P1", "template": f"[X] auto {i} [Y].", "is_manual": False}
        for i in range(1, 30)
    ),
]


def fact(number: int, **other: object) -> dict[str, object]:
    values = {"uuid": f"f{number}", "rel_uri": "P1", "sub_ent": f"S{number}", "obj_aliases": ["o"]}
    return {**values, **other}


@pytest.fixture
def folder(tmp_path: Path, write_jsonl: Writer) -> Path:
    write_jsonl("data/myriadlama/facts.jsonl", [fact(i) for i in range(12)])
    write_jsonl("data/myriadlama/templates.jsonl", TEMPLATES)
    return tmp_path / "data"


def load(folder: Path, num_manual: int | None = None, **options: int) -> QuestionSet:
    return load_questions("myriadlama", data_dir=folder, num_manual=num_manual, **options)


def test_manual_templates_come_first_and_in_file_order(folder: Path) -> None:
    loaded = load(folder, num_shots=0, num_auto=3)
    question = loaded.questions[4]
    assert question.wordings[:2] == ("S4 manual 0 [MASK].", "S4 manual 1 [MASK].")
    assert all(text.startswith("S4 auto") for text in question.wordings[2:])
    assert question.groups == ("manual", "manual", "auto", "auto", "auto")
    assert len(set(question.wordings)) == 5
    assert question.extra == {"rel_uri": "P1", "sub_ent": "S4"}
    assert (loaded.name, loaded.max_new_tokens) == ("myriadlama", 10)
    assert "[MASK]" in loaded.instruction


@pytest.mark.parametrize(
    ("num_manual", "num_auto", "groups"),
    [
        (None, 0, ("manual",) * 2),
        (1, 0, ("manual",)),
        (0, 2, ("auto",) * 2),
        (9, 99, ("manual",) * 2 + ("auto",) * 30),
    ],
)
def test_as_many_templates_as_asked_for_or_as_there_are(
    folder: Path, num_manual: int | None, num_auto: int, groups: tuple[str, ...]
) -> None:
    questions = load(folder, num_manual, num_shots=0, num_auto=num_auto).questions
    assert {question.groups for question in questions} == {groups}


def test_automatic_templates_do_not_depend_on_other_rows(
    tmp_path: Path, folder: Path, write_jsonl: Writer
) -> None:
    write_jsonl("alone/myriadlama/facts.jsonl", [fact(7)])
    write_jsonl("alone/myriadlama/templates.jsonl", TEMPLATES[:1] + TEMPLATES[3:])
    among_others = {q.uuid: q for q in load(folder, 0, num_shots=0, num_auto=5).questions}
    (alone,) = load(tmp_path / "alone", 0, num_shots=0, num_auto=5, seed=3).questions
    assert alone == among_others["f7"]
    chosen = {q.wordings[0].partition(" ")[2] for q in among_others.values()}
    assert len(chosen) > 3, "every fact has the same first automatic template"


def test_more_automatic_templates_add_to_fewer() -> None:
    templates = {f"[X] {i} [Y]": False for i in range(100)}
    chosen = [list(choose_templates(templates, "u", TemplateChoice(0, n))) for n in range(101)]
    assert all(larger[: len(smaller)] == smaller for smaller, larger in pairwise(chosen))
    assert set(chosen[100]) == set(templates)


def test_facts_set_aside_are_never_evaluated(folder: Path) -> None:
    loaded = load(folder)
    shown = {shot.wording.partition(" ")[0] for shot in loaded.shots}
    asked = {question.extra["sub_ent"] for question in loaded.questions}
    assert len(shown) == 5
    assert shown | asked == {f"S{i}" for i in range(12)}
    assert not shown & asked


def test_examples_depend_on_the_seed_alone(folder: Path) -> None:
    shots = load(folder).shots
    assert load(folder, 0, num_auto=4, max_samples=1).shots == shots
    assert load(folder, seed=1).shots != shots


def test_slots_in_a_subject_are_not_filled(tmp_path: Path, write_jsonl: Writer) -> None:
    write_jsonl("facts.jsonl", [fact(0, sub_ent="[Y] and [X]", rel_uri="P2")])
    write_jsonl("templates.jsonl", TEMPLATES)
    assert load(tmp_path, num_shots=0).questions[0].wordings == ("[MASK] of [Y] and [X].",)


def test_a_relation_without_templates_leaves_a_question_without_wordings(
    tmp_path: Path, write_jsonl: Writer
) -> None:
    write_jsonl("facts.jsonl", [fact(0, rel_uri="P9"), fact(1)])
    write_jsonl("templates.jsonl", TEMPLATES)
    loaded = load(tmp_path, num_shots=1)
    assert loaded.shots == (Shot("S1 manual 0 [MASK].", "o"),)
    assert [(q.uuid, q.wordings) for q in loaded.questions] == [("f0", ())]


def test_another_set_of_the_same_layout_goes_by_its_folders_name(
    tmp_path: Path, write_jsonl: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jsonl("bear/facts.jsonl", [fact(0)])
    write_jsonl("bear/templates.jsonl", TEMPLATES)
    assert load(tmp_path / "bear", num_shots=0).name == "bear"
    monkeypatch.chdir(tmp_path / "bear")
    assert load(Path(), num_shots=0).name == "bear"


@pytest.mark.parametrize(
    ("facts", "templates", "message"),
    [
        ([fact(0), fact(0, sub_ent="T")], TEMPLATES, r"facts\.jsonl:2: id 'f0' already stands at"),
        ([fact(0, uuid=None)], TEMPLATES, r"facts\.jsonl:1: the row has no 'uuid'"),
        ([fact(0, sub_ent="")], TEMPLATES, r"facts\.jsonl:1: the row has no 'sub_ent'"),
        (
            [fact(0, obj_aliases={"a": "b"})],
            TEMPLATES,
            r"facts\.jsonl:1: 'obj_aliases' is an object with the keys 'a'",
        ),
        ([{"uuid": "u", "rel_uri": "P", "sub_ent": "s"}], TEMPLATES, r":1: .* no 'obj_aliases'"),
        ([fact(0)], [{"rel_uri": "P1", "is_manual": True}], r"templates\.jsonl:1: .*'template'"),
        (
            [fact(0)],
            [*TEMPLATES[:1], {"rel_uri": "P1", "template": "[X] is.", "is_manual": True}],
            r"templates\.jsonl:2: the template '\[X\] is\.' has no \[Y\]",
        ),
        (
            [fact(0)],
            [{"rel_uri": "P1", "template": "[X] [Y]", "is_manual": "yes"}],
            r"templates\.jsonl:1: 'is_manual' must be true or false, got str 'yes'",
        ),
        ([fact(0)], TEMPLATES, r"has 1 questions.*--num-shots 0"),
    ],
)
def test_a_malformed_set_is_refused_with_its_place(
    tmp_path: Path,
    write_jsonl: Writer,
    facts: list[object],
    templates: list[object],
    message: str,
) -> None:
    write_jsonl("facts.jsonl", facts)
    write_jsonl("templates.jsonl", templates)
    with pytest.raises(UserError, match=message):
        load(tmp_path)


def test_a_folder_without_facts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither myriadlama/facts\.jsonl nor facts\.jsonl"):
        load(tmp_path)


def test_hub_rows_make_the_same_questions_as_files(
    tmp_path: Path, folder: Path, write_jsonl: Writer
) -> None:
    of_relation = [t for t in TEMPLATES if t["rel_uri"] == "P1"]
    columns = [
        {**fact(i), **template, "obj_uris": ["Q1"]} for i in range(12) for template in of_relation
    ]
    path = write_jsonl("hub.jsonl", columns)
    dataset = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    loaded = myriadlama.from_hub_rows(
        hub.split_rows(dataset, myriadlama.HUB_COLUMNS, "hub"),
        choice=TemplateChoice(1, 4),
        num_shots=5,
        seed=0,
    )
    local = load(folder, 1, num_auto=4)
    assert loaded.questions == local.questions
    assert loaded.shots == local.shots
    assert loaded.source.startswith("iszhaoxin/MyriadLAMA (sha256 ")


@pytest.mark.parametrize(
    ("name", "facts", "fewest"),
    # One of bear's relations repeats a template.
    [("myriadlama", 1502, 5), ("bear", 5899, 2), ("myriadlama_like", 18937, 2)],
)
def test_the_evaluation_data_load_whole(
    evaluation_data: Path, name: str, facts: int, fewest: int
) -> None:
    loaded = load(evaluation_data / name, num_shots=0)
    assert (loaded.name, len(loaded.questions)) == (name, facts)
    for question in loaded.questions:
        assert len(question.wordings) >= fewest
        assert all("[MASK]" in text and "[Y]" not in text for text in question.wordings)
