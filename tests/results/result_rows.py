"""Rows and a manifest to make results of, and results that are finished or not."""

from self_ensemble.results.manifest import Manifest
from self_ensemble.results.plan import RowPlan
from self_ensemble.results.schema import PER_PROMPT_SCHEMA, RESULT_SCHEMA, rows_to_table
from self_ensemble.results.store import ResultFile

MANIFEST = Manifest({"method": "vote", "num_paraphrases": 5, "batch_size": 4})


def result_row(uuid: str, **changes: object) -> dict[str, object]:
    """A row of `RESULT_SCHEMA` that says its uuid in every text."""
    row: dict[str, object] = {
        "uuid": uuid,
        "answers": [f"answer {uuid}"],
        "paraphrases": [f"what is {uuid}?", f"{uuid} is what?"],
        "prompts": [f"Q: what is {uuid}?\nA:", f"Q: {uuid} is what?\nA:"],
        "prediction": f"Zürich {uuid}",
        "generation": f"Zürich {uuid}\n",
        "predict_lemma": ["zürich", uuid],
        "answer_lemmas": [["answer", uuid]],
        "token_ids": [1, 2, 3],
        "num_tokens": 3,
        "mean_logprob": -0.5,
        "seconds": 0.25,
        "tokens": 30,
        "stop_reason": "\n",
        "backend": "sdpa",
        "error": None,
    }
    return row | changes


def per_prompt_rows(uuid: str, num_wordings: int = 2) -> list[dict[str, object]]:
    """The rows of one question, one a wording, for `PER_PROMPT_SCHEMA`."""
    return [
        result_row(uuid, paraphrase=f"wording {index} of {uuid}", paraphrase_index=index)
        for index in range(num_wordings)
    ]


def append(result: ResultFile, rows: list[dict[str, object]]) -> int:
    """Append rows by column name; those of one question have the same columns."""
    schema = PER_PROMPT_SCHEMA if any("paraphrase" in row for row in rows) else RESULT_SCHEMA
    return result.append(rows_to_table(rows, schema))


def open_result(path, manifest=MANIFEST, uuids=("a", "b", "c"), **options):
    return ResultFile.open(path, manifest, RowPlan(RESULT_SCHEMA, tuple(uuids)), **options)


def open_per_prompt(path, uuids=("a", "b"), wordings=(0, 1), manifest=MANIFEST, **options):
    plan = RowPlan(PER_PROMPT_SCHEMA, tuple(uuids), tuple(wordings))
    return ResultFile.open(path, manifest, plan, **options)


def changed(**fields):
    return Manifest({**MANIFEST.fields, **fields})


def write_result(path, uuids, manifest=MANIFEST):
    with open_result(path, manifest, uuids) as result:
        append(result, [result_row(uuid) for uuid in uuids])
        result.finish()


def interrupted(path, *batches):
    """Leave one shard a batch; returns the run folder."""
    with open_result(path) as result:
        for uuids in batches:
            append(result, [result_row(uuid) for uuid in uuids])
    return path.with_suffix(".run")
