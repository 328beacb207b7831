"""Rows of a file of wordings, their summary, and how they look."""

import json
import math

import pyarrow as pa
from rich.console import Console

from self_ensemble.questions.schema import Question
from self_ensemble.report.wordings import summary_lines, wordings_view
from self_ensemble.wordings.draw import human_pools
from self_ensemble.wordings.pool import Candidate, Pool
from self_ensemble.wordings.rows import PARAPHRASE_SCHEMA, paraphrase_row, summarise, to_jsonl

QUESTION = Question("u", ("Who built the [old] bridge?",), ("Seven",))


def full_pool() -> Pool:
    pool = Pool(QUESTION)
    for quality, text in ((-2.0, "The old bridge was built by whom?"),
                          (-0.5, "Who was the builder of the old bridge?"),
                          (-3.0, "By whom was the old bridge built?")):  # fmt: skip
        candidate = pool.admit(Candidate(text, "end", quality / 2, quality / 2, "nli: [0.9]"))
        assert candidate is not None
        pool.keep(candidate)
    for text in ("who built the old bridge?", "who built the old bridge", "Where is it?", ""):
        assert pool.admit(Candidate(text, "plain", -1.0)) is None
    assert pool.admit(Candidate("Name the builder of the old bridge", "x"), is_cut=True) is None
    return pool


def test_a_row_has_the_best_wordings_and_every_refusal() -> None:
    row = paraphrase_row(full_pool(), 2)
    assert row["paraphrases"][0] == "Who was the builder of the old bridge?"
    assert len(row["paraphrases"]) == len(row["styles"]) == len(row["logprobs"]) == 2
    assert row["logprobs"][0] == row["recoveries"][0] == -0.25
    assert len(row["spare"]) == 1
    reasons = [refused["reason"] for refused in row["rejected"]]
    assert reasons == ["echo", "echo", "asks_else", "empty", "too_long"]
    assert row["missing"] == 0
    assert paraphrase_row(full_pool(), 5)["missing"] == 2
    assert paraphrase_row(full_pool(), None)["missing"] == 0
    assert set(row) == set(PARAPHRASE_SCHEMA.names)
    pa.Table.from_pylist([row], schema=PARAPHRASE_SCHEMA).validate(full=True)


def test_a_summary_counts_every_candidate_once() -> None:
    rows = [paraphrase_row(full_pool(), 2), paraphrase_row(full_pool(), 4)]
    rows.append(paraphrase_row(Pool(QUESTION, error="too long"), 2))
    summary = summarise(rows)
    assert summary.questions == 3
    assert summary.candidates == 16
    assert (summary.survived, summary.kept) == (6, 5)
    assert sum(summary.rejected.values()) == 10
    assert summary.rejected["echo"] == 4
    assert (summary.too_few, summary.errors) == (1, 1)
    text = "\n".join(summary_lines(summary, 2, 1.25))
    assert "3 questions, 16 candidates; 6 (38%) passed" in text
    assert "echo 4" in text
    assert "fewer than 2 wordings: 1." in text
    assert "1.2 s." in text
    assert "Questions" not in "\n".join(summary_lines(summarise([]), None, math.nan))


def test_nan_is_null_in_json_lines() -> None:
    (pool,) = human_pools(
        [Question("u", (*QUESTION.wordings, "Whose work is the old bridge, who built it?"), ())],
        None,
    )
    line = to_jsonl([paraphrase_row(pool, None)])
    assert line.endswith(b"}\n")
    assert json.loads(line)["logprobs"] == [None]


def test_kept_and_rejected_stand_side_by_side() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(wordings_view(paraphrase_row(full_pool(), 5)))
    lines = capture.get().splitlines()
    # Markup in texts is text.
    assert "Who built the [old] bridge?" in lines[0]
    (line,) = [line for line in lines if "Who was the builder" in line]
    assert "-0.25" in line
    assert "nli: [0.9]" in line
    assert "echo" in line
    assert any("2 too few" in line for line in lines)
    assert any("(nothing)" in line and "empty" in line for line in lines)
