"""MyriadLAMA and sets like it: facts, asked through every template of their relation.

Zhao, Yoshinaga, Oba, "What Matters in Memorizing and Recalling Facts? Multifaceted Benchmarks for
Knowledge Probing in Language Models", arXiv 2406.12277.

    fact       sub_ent "Paris"  relation P1376  obj_aliases ["France", ...]
    template   "[X] is the capital of [Y]."     manual or automatic
    wording    "Paris is the capital of [MASK]."
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.questions.fields import (
    answer_list,
    flag,
    identity,
    required_text,
)
from self_ensemble.questions.hub import content_sha256, load_split, split_rows
from self_ensemble.questions.rows import Row
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.questions.shots import set_aside
from self_ensemble.questions.tables import read_table

NAME = "myriadlama"
HUB_ID = "iszhaoxin/MyriadLAMA"
HUB_COLUMNS = ("uuid", "rel_uri", "sub_ent", "obj_aliases", "template", "is_manual")
INSTRUCTION = "Say in one or a few words what [MASK] stands for in each sentence.\n\n"

# The templates of one relation or fact: template -> is it manual. A dict keeps the file's order.
Templates = dict[str, bool]


@dataclass(frozen=True, slots=True)
class TemplateChoice:
    """How many templates of each kind a fact is asked through; None means all."""

    num_manual: int | None = None
    num_auto: int = 0


@dataclass(frozen=True, slots=True)
class Fact:
    """A subject and a relation, and the accepted objects."""

    uuid: str
    rel_uri: str
    sub_ent: str
    obj_aliases: tuple[str, ...]


def load_from_folder(
    folder: Path, *, choice: TemplateChoice, num_shots: int, seed: int
) -> QuestionSet:
    """Load `myriadlama/{facts,templates}.jsonl` below the folder, or those two files in it.

    In the second case the folder's own name becomes the data set's, so that the results of
    other sets of this layout do not mix with MyriadLAMA's.
    """
    inside = folder / NAME
    here = inside if inside.is_dir() else folder
    if not (here / "facts.jsonl").is_file():
        raise UserError(
            f"--data {folder} holds neither {NAME}/facts.jsonl nor facts.jsonl. "
            f"Give the folder above {NAME}/, or leave --data out to use the hub.",
            "SE-0114",
        )
    fact_table, template_table = (
        read_table(here / "facts.jsonl"),
        read_table(here / "templates.jsonl"),
    )
    by_relation: dict[str, Templates] = {}
    for row in template_table.rows:
        relation = by_relation.setdefault(required_text(row, "rel_uri"), {})
        relation.setdefault(_template(row), flag(row, "is_manual"))
    facts = _facts(fact_table.rows)
    return _question_set(
        here.resolve().name,
        facts,
        {fact.uuid: by_relation.get(fact.rel_uri, {}) for fact in facts},
        choice=choice,
        num_shots=num_shots,
        seed=seed,
        source=f"{here} (sha256 facts {fact_table.sha256}, templates {template_table.sha256})",
    )


def load_from_hub(*, choice: TemplateChoice, num_shots: int, seed: int) -> QuestionSet:
    """Load the whole set from the hub."""
    rows = split_rows(load_split(HUB_ID, "train"), HUB_COLUMNS, HUB_ID)
    return from_hub_rows(rows, choice=choice, num_shots=num_shots, seed=seed)


def from_hub_rows(
    rows: Iterable[Row], *, choice: TemplateChoice, num_shots: int, seed: int
) -> QuestionSet:
    """Make the data set of rows that hold a fact and one of its templates each.

    Where the rows of one uuid differ in the subject's name, the first one's is used.
    """
    facts: dict[str, Fact] = {}
    templates: dict[str, Templates] = {}
    # Millions of rows hold a few thousand different templates: keep each text once.
    interned: dict[str, str] = {}
    for row in rows:
        uuid = required_text(row, "uuid")
        if uuid not in facts:
            facts[uuid], templates[uuid] = _fact(row), {}
        template = _template(row)
        templates[uuid].setdefault(interned.setdefault(template, template), flag(row, "is_manual"))
    sha256 = content_sha256(
        [fact.uuid, fact.rel_uri, fact.sub_ent, fact.obj_aliases, list(templates[uuid].items())]
        for uuid, fact in facts.items()
    )
    return _question_set(
        NAME,
        tuple(facts.values()),
        templates,
        choice=choice,
        num_shots=num_shots,
        seed=seed,
        source=f"{HUB_ID} (sha256 {sha256})",
    )


def _question_set(
    name: str,
    facts: tuple[Fact, ...],
    templates: Mapping[str, Templates],
    *,
    choice: TemplateChoice,
    num_shots: int,
    seed: int,
    source: str,
) -> QuestionSet:
    # Every fact in its first wording: which facts serve as examples, and how they read, must not
    # depend on the choice of templates.
    plain = [_question(fact, _first_template(templates[fact.uuid])) for fact in facts]
    shots, rest = set_aside(plain, num_shots=num_shots, seed=seed, source=name)
    evaluated = {question.uuid for question in rest}
    return QuestionSet(
        name=name,
        questions=tuple(
            _question(fact, choose_templates(templates[fact.uuid], fact.uuid, choice))
            for fact in facts
            if fact.uuid in evaluated
        ),
        shots=shots,
        instruction=INSTRUCTION,
        max_new_tokens=10,
        source=source,
    )


def choose_templates(templates: Templates, uuid: str, choice: TemplateChoice) -> Templates:
    """Choose a fact's templates: manual ones in file order, then automatic ones at random.

    The random order depends on the fact's uuid and its templates alone, and a larger `num_auto`
    only adds to a smaller one's. Where there are fewer than asked for, all of them are chosen.
    """
    manual = [template for template, is_manual in templates.items() if is_manual]
    auto = [template for template, is_manual in templates.items() if not is_manual]
    random.Random(uuid).shuffle(auto)
    return dict.fromkeys(manual[: choice.num_manual], True) | dict.fromkeys(
        auto[: choice.num_auto], False
    )


def _first_template(templates: Templates) -> Templates:
    manual_first = sorted(templates.items(), key=lambda item: not item[1])
    return dict(manual_first[:1])


def _question(fact: Fact, templates: Templates) -> Question:
    return Question(
        uuid=fact.uuid,
        wordings=tuple(_fill(template, fact.sub_ent) for template in templates),
        answers=fact.obj_aliases,
        groups=tuple("manual" if is_manual else "auto" for is_manual in templates.values()),
        extra={"rel_uri": fact.rel_uri, "sub_ent": fact.sub_ent},
    )


def _fill(template: str, subject: str) -> str:
    # The subject last: a subject that holds "[Y]" stays as it is.
    return template.replace("[Y]", "[MASK]").replace("[X]", subject)


def _facts(rows: Iterable[Row]) -> tuple[Fact, ...]:
    first: dict[str, tuple[str, Fact]] = {}
    for row in rows:
        fact = _fact(row)
        where, known = first.setdefault(fact.uuid, (row.where, fact))
        if known != fact:
            raise UserError(
                f"{row.where}: id {fact.uuid!r} already stands at {where} with other content. "
                "Give every fact its own id.",
                "SE-0110",
            )
    return tuple(fact for _, fact in first.values())


def _fact(row: Row) -> Fact:
    uuid = identity(row, "uuid")
    if uuid is None:
        raise UserError(
            f"{row.where}: the row has no 'uuid'. Give every fact its own id.", "SE-0110"
        )
    return Fact(
        uuid=uuid,
        rel_uri=required_text(row, "rel_uri"),
        sub_ent=required_text(row, "sub_ent"),
        obj_aliases=answer_list(row, "obj_aliases"),
    )


def _template(row: Row) -> str:
    template = required_text(row, "template")
    for slot in ("[X]", "[Y]"):
        if slot not in template:
            raise UserError(
                f"{row.where}: the template {template!r} has no {slot}. "
                "A template names its subject [X] and its answer [Y].",
                "SE-0109",
            )
    return template
