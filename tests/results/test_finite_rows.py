"""Rows are held back until something is finite, and a run without anything finite ends."""

from result_rows import open_result, result_row

from self_ensemble.results.schema import RESULT_SCHEMA, rows_to_table
from self_ensemble.running.finite_rows import ENOUGH, FiniteRows

UUIDS = [f"q{n}" for n in range(40)]


def rows_of(*uuids, error=None):
    return rows_to_table([result_row(uuid, error=error) for uuid in uuids], RESULT_SCHEMA)


def append(rows, uuid, kind):
    """A batch of one question: finite, not finite, or one that could not be asked."""
    error = None if kind == "finite" else kind
    return rows.append(rows_of(uuid, error=error), {uuid: "nan"} if kind == "nan" else {})


def run(path, kinds):
    """What ends a run of such questions, how many were asked, and what is on disk then."""
    uuids = UUIDS[: len(kinds)]
    with open_result(path, uuids=uuids) as file:
        rows = FiniteRows(file, len(kinds), "avg")
        for number, (uuid, kind) in enumerate(zip(uuids, kinds, strict=True), start=1):
            problem = append(rows, uuid, kind)
            if problem is not None:
                return str(problem), number, set(file.done)
        return None, len(kinds), set(file.done)


def test_rows_that_are_not_finite_are_written_once_something_is(path):
    assert run(path, ["nan", "nan", "finite", "nan"]) == (None, 4, set(UUIDS[:4]))


def test_a_run_ends_when_enough_questions_are_not_finite(path):
    error, asked, done = run(path, ["nan"] * 40)
    assert (asked, done) == (ENOUGH, set())
    assert f"None of the first {ENOUGH} questions has finite scores (avg)" in error
    assert "Question 'q0': nan" in error


def test_a_run_of_few_questions_ends_with_the_last(path):
    error, asked, done = run(path, ["nan"] * 3)
    assert "None of the first 3 questions" in error
    assert (asked, done) == (3, set())


def test_questions_that_cannot_be_asked_do_not_count(path):
    assert run(path, ["too long"] * 20) == (None, 20, set(UUIDS[:20]))
    other = path.with_name("other.feather")
    assert run(other, [*["too long"] * 20, "nan", "finite"]) == (None, 22, set(UUIDS[:22]))


def test_questions_that_cannot_be_asked_put_nothing_on_disk_that_is_not_finite(path):
    error, asked, done = run(path, ["nan", "too long", "nan", "too long"])
    assert (asked, done) == (4, set())
    assert "None of the first 2 questions" in error


def test_a_resumed_run_has_seen_something_finite(path):
    with open_result(path, uuids=UUIDS) as file:
        file.append(rows_of("q0"))
    with open_result(path, uuids=UUIDS) as file:
        rows = FiniteRows(file, len(UUIDS), "avg")
        assert append(rows, "q1", "nan") is None
        assert "q1" in file.done
