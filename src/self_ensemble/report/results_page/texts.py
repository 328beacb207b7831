"""Sections of texts: what was asked, example questions, the mask, and where all of it is from."""

from collections.abc import Mapping, Sequence

from self_ensemble.analysis.answered import AnsweredQuestion, Said
from self_ensemble.analysis.loaded import Loaded
from self_ensemble.analysis.loaded_file import LoadedFile
from self_ensemble.analysis.wording_matrix import PER_PROMPT
from self_ensemble.questions.patterns import is_pattern
from self_ensemble.report.results_page.mask_sketch import mask_svg, segment_weight, sketch_parts
from self_ensemble.report.results_page.parts import Section
from self_ensemble.report.results_page.repeat_command import repeat_commands
from self_ensemble.report.results_page.reported import Reported, cut, value_text

_FUSED_METHOD = "flex_attention"
# Fields of which all files of a folder should say the same.
_SHARED = {
    "model": "model", "identity": "weights, tokenizer or configuration", "dtype": "dtype",
    "engine": "engine",
    "questions_sha256": "questions", "prompt_sha256": "prompt", "num_shots": "few-shot examples",
    "temperature": "temperature", "max_new_tokens": "longest answer",
}  # fmt: skip


def asked_section(reported: Reported) -> Section:
    """What was asked of what."""
    loaded = reported.loaded
    uuids = {row.uuid for file in loaded.files.values() for row in file.rows}
    known = [one.fields for one in reported.made_with if one.fields]
    first: Mapping[str, object] = known[0] if known else {}
    facts = [
        ("data set", loaded.folder.dataset),
        ("questions", f"{len(uuids):,}"),
        ("model", str(first.get("model", loaded.folder.model))),
        ("wordings", _wordings(loaded)),
        ("files", f"{len(loaded.files)}: {', '.join(loaded.files)}"),
    ]
    if first:
        facts += [
            ("computed in", _computed_in(first)),
            ("few-shot examples", str(first.get("num_shots"))),
            ("longest answer", f"{first.get('max_new_tokens')} tokens"),
            ("decoding", _decoding(first)),
            ("chat template", str(first.get("chat_template"))),
        ]
    notes = [] if known else ["No file has a manifest, so only what the rows hold is known."]
    differing = [
        name
        for field, name in _SHARED.items()
        if len({repr(fields.get(field)) for fields in known if "method" in fields}) > 1
    ]
    if differing:
        notes.append(
            f"Beware: the files were not all made with the same {', '.join(differing)}. "
            "See the provenance below."
        )
    unfinished = loaded.folder.unfinished
    if unfinished:
        notes.append(f"Not finished, so not in the report: {', '.join(unfinished)}.")
    prefix = first.get("prefix")
    return Section(
        "asked", "What was asked", notes=tuple(notes),
        content={"kind": "asked", "facts": facts,
                 "prefix": cut(prefix) if isinstance(prefix, str) else ""},
    )  # fmt: skip


def examples_section(reported: Reported, examples: Sequence[AnsweredQuestion]) -> Section:
    """Questions with all that was said to them."""
    title = "Example questions"
    if not examples:
        return Section("examples", title, "No file has a row.")
    kinds = [kind for kind in ("gained", "lost", "new", "disagree")
             if any(kind in one.kinds for one in examples)]  # fmt: skip
    notes = [
        f"{len(examples)} questions: such as were gained, lost, or answered in several ways by "
        "most files, then others; open one for every answer."
    ]
    if reported.baseline is None:
        notes.append(f"Gained and lost are not known: {reported.without_baseline}")
    if PER_PROMPT not in reported.loaded.files:
        notes.append(
            f"What each wording says alone is not known: there is no {PER_PROMPT}.feather."
        )
    return Section(
        "examples", title, notes=tuple(notes),
        content={"kind": "examples", "kinds": kinds, "baseline": reported.baseline,
                 "examples": [_example(one) for one in examples]},
    )  # fmt: skip


def mask_section(reported: Reported, examples: Sequence[AnsweredQuestion]) -> Section:
    """Who reads whom in the packed question."""
    title = "Who reads whom"
    names = [
        name
        for name in reported.loaded.files
        if reported.made(name).get("method") == _FUSED_METHOD
    ]
    if not names:
        return Section(
            "mask", title,
            f"No file of {_FUSED_METHOD} has a manifest, which says how wordings were packed.",
        )  # fmt: skip
    # That of most wordings has most to see.
    name = max(names, key=lambda one: _most_wordings(reported.loaded.file(one)))
    made = reported.made(name)
    if made.get("manual_read_each_other"):
        return Section(
            "mask", title,
            "Manual templates read the earlier ones here, and the file does not say which they "
            "are; `self-ensemble mask --manual-read-each-other` draws it.",
        )  # fmt: skip
    wanted = [one.uuid for one in examples]
    rows = {
        row.uuid: row for row in reported.loaded.file(name).rows if row.wordings and not row.error
    }
    uuid = next((one for one in wanted if one in rows), next(iter(rows), None))
    if uuid is None:
        return Section("mask", title, f"{name} has no answered question with its wordings.")
    row = rows[uuid]
    weight = segment_weight(made, len(row.wordings))
    parts = sketch_parts(
        str(made.get("prefix") or ""), row.wordings, row.prediction or "",
        has_cue=made.get("fusion_point") != "last_segment",
    )  # fmt: skip
    weighed = (
        "Each wording has a weight of its own, which the file does not keep; all are drawn alike. "
        if weight is None
        else f"The weight of each wording is {weight:.3g}. "
    )
    alt = (
        f"Mask of a packed question in {len(row.wordings)} wordings. Every wording reads the "
        "prefix and itself and no other wording; the answer reads all."
    )
    return Section(
        "mask", title,
        content={
            "kind": "mask", "svg": mask_svg(parts, 0.2 if weight is None else weight, alt),
            "wordings": [cut(text) for text in row.wordings], "uuid": row.uuid, "file": name,
            "answer": cut(row.prediction or "(nothing)"),
        },
        legend=(
            "A row of tokens reads the columns that are filled, paler with less weight. "
            f"{weighed}A part is as long as its letters, a prefix cut to less than a third: the "
            "file keeps texts and no tokens. `self-ensemble mask` draws the tokens.",
        ),
    )  # fmt: skip


def provenance_section(reported: Reported) -> Section:
    """What the files were made with, and how to make them again."""
    said = {one.file: _facts(one.fields) for one in reported.made_with if one.fields}
    shared = set.intersection(*(set(facts) for facts in said.values())) if said else set()
    rows = [
        {
            "file": one.file,
            "sha256": one.sha256,
            "bytes": f"{one.num_bytes:,}",
            "has_manifest": one.fields is not None,
            "facts": [fact for fact in said.get(one.file, []) if fact not in shared],
        }
        for one in reported.made_with
    ]
    commands = repeat_commands(reported.made_with)
    without = [one.file for one in reported.made_with if one.fields is None]
    notes = []
    if without:
        notes.append(
            f"Without a manifest, so that nothing says what they were made with: "
            f"{', '.join(without)}."
        )
    if not commands:
        notes.append("No command repeats these files: no manifest says how questions were read.")
    return Section(
        "provenance", "Provenance", notes=tuple(notes),
        content={"kind": "provenance", "files": rows, "commands": commands,
                 "shared": sorted(shared)},
        legend=(
            "The commands name what the manifests keep. How the columns of a file were read, "
            "--offset, --split, --output-dir and the place of a model of your own are not among "
            "it; questions_sha256 and identity tell whether questions and model are the same.",
        ) if commands else (),
    )  # fmt: skip


def _example(one: AnsweredQuestion) -> dict[str, object]:
    accepted = [cut(answer) for answer in one.answers if not is_pattern(answer)]
    badges = [
        f"{kind} by {len(files)} file{'s' if len(files) > 1 else ''}"
        for kind, files in one.changed.items()
    ]
    return {
        "uuid": one.uuid,
        "question": cut(one.question) or one.uuid,
        "accepted": accepted or ["(a pattern)"],
        "kinds": " ".join(one.kinds),
        "badges": badges + ([f"{one.num_distinct} different answers"]
                            if one.num_distinct > 1 else []),
        "changed": [(kind, ", ".join(files)) for kind, files in one.changed.items()],
        "methods": [_said(said) for said in one.methods],
        "alone": [_said(said) for said in one.alone],
    }  # fmt: skip


def _said(said: Said) -> dict[str, str]:
    if said.prediction is None:
        return {"name": cut(said.name), "answer": said.error or "error", "verdict": "error"}
    return {
        "name": cut(said.name),
        "answer": cut(said.prediction) or "(nothing)",
        "verdict": "right" if said.right else "wrong",
    }


def _most_wordings(file: LoadedFile) -> int:
    return max((len(row.wordings) for row in file.rows), default=0)


def _wordings(loaded: Loaded) -> str:
    most = max(map(_most_wordings, loaded.files.values()), default=0)
    alone = loaded.files.get(PER_PROMPT)
    most = max(most, 0 if alone is None else len(alone.scores.paraphrase_indices))
    return f"up to {most} of a question" if most else "not known"


def _computed_in(made: Mapping[str, object]) -> str:
    engine = made.get("engine")
    return f"{made.get('dtype')} on {made.get('device')}" + (f" by {engine}" if engine else "")


def _decoding(made: Mapping[str, object]) -> str:
    temperature = made.get("temperature")
    if not temperature:
        return "greedy"
    return (
        f"sampled, temperature {temperature}, top-p {made.get('top_p')}, seed {made.get('seed')}"
    )


def _facts(fields: Mapping[str, object]) -> list[tuple[str, str]]:
    """A manifest; its prefix is shown where it is said what was asked."""
    return [
        (name, value_text(value)) for name, value in sorted(fields.items()) if name != "prefix"
    ]
