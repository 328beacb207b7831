import math
import random
import subprocess
import sys

import pandas as pd
import pytest
from result_rows import (
    MANIFEST,
    append,
    changed,
    interrupted,
    open_per_prompt,
    open_result,
    per_prompt_rows,
    result_row,
    write_result,
)

from self_ensemble.errors import UserError
from self_ensemble.results.manifest import read_manifest


def test_pandas_reads_back_every_value_in_the_order_given(path):
    error_row = result_row(
        "b", prediction=None, generation=None, error="too long", token_ids=[], num_tokens=0
    ) | {"mean_logprob": math.nan, "predict_lemma": []}
    rows = {"a": result_row("a"), "b": error_row, "c": result_row("c", answer_lemmas=[[], ["x"]])}
    with open_result(path) as result:
        append(result, [rows["c"], rows["a"]])
        append(result, [rows["b"]])
        result.finish()

    frame = pd.read_feather(path)

    assert list(frame.columns) == list(rows["a"])
    assert list(frame["uuid"]) == ["a", "b", "c"]
    for read, written in zip(frame.to_dict("records"), rows.values(), strict=True):
        assert {name: plain(value) for name, value in read.items()} == {
            name: plain(value) for name, value in written.items()
        }


def plain(value):
    """Arrays as lists, and one spelling of "nothing" (pandas reads a null text as nan)."""
    if isinstance(value, list) or type(value).__name__ == "ndarray":
        return [plain(item) for item in value]
    return "nothing" if pd.isna(value) else value


def test_all_rows_of_a_question_stay_in_their_order(path):
    with open_per_prompt(path) as result:
        append(result, per_prompt_rows("b") + per_prompt_rows("a"))
        result.finish()

    frame = pd.read_feather(path)
    assert list(frame["uuid"]) == ["a", "a", "b", "b"]
    assert list(frame["paraphrase_index"]) == [0, 1, 0, 1]


def test_an_empty_data_set_makes_an_empty_result(path):
    write_result(path, [])
    assert pd.read_feather(path).empty


def test_a_finished_result_is_known_with_its_manifest(path):
    write_result(path, ["a", "b"])

    with open_result(path, uuids=["a", "b"]) as result:
        assert result.finished
        assert result.done == {"a", "b"}
    assert read_manifest(path) == MANIFEST
    assert [file.name for file in path.parent.iterdir()] == ["vote-5.feather"]


def test_an_interrupted_run_knows_what_is_done(path):
    interrupted(path, ["a", "b"], ["c"])

    with open_result(path) as result:
        assert not result.finished
        assert result.done == {"a", "b", "c"}
        assert not path.exists()


def test_rows_of_a_done_question_are_left_out(path):
    interrupted(path, ["a"])

    with open_result(path, uuids=["a", "b"]) as result:
        assert append(result, [result_row("a", generation="again"), result_row("b")]) == 1
        assert append(result, [result_row("a", generation="again")]) == 0
        result.finish()

    assert list(pd.read_feather(path)["generation"]) == ["Zürich a\n", "Zürich b\n"]


@pytest.mark.parametrize("row_changes", [{"uuid": None}, {"token_ids": None}, {"colour": "red"}])
def test_a_row_that_does_not_fit_writes_nothing(path, row_changes):
    with open_result(path) as result:
        with pytest.raises(ValueError, match=next(iter(row_changes))):
            append(result, [result_row("a"), result_row("b") | row_changes])
        assert result.done == frozenset()


def test_a_row_without_a_column_is_refused(path):
    row = result_row("a")
    del row["error"]
    with open_result(path) as result, pytest.raises(ValueError, match=r"Missing: \['error'\]"):
        append(result, [row])


def test_the_same_row_twice_in_a_batch_is_refused(path):
    with (
        open_result(path) as result,
        pytest.raises(ValueError, match="2 rows of question 'a', not one"),
    ):
        append(result, [result_row("a"), result_row("a")])


def test_only_the_whole_data_set_can_be_finished(path):
    with open_result(path) as result:
        append(result, [result_row("a"), result_row("b")])
        with pytest.raises(ValueError, match="has 2 of 3 questions"):
            result.finish()
        assert not path.exists()


@pytest.mark.parametrize("wordings", [[], [0], [1, 0], [0, 0, 1], [0, 2]])
def test_a_question_has_exactly_its_wordings(path, wordings):
    rows = [result_row("a", paraphrase="", paraphrase_index=index) for index in wordings]
    with open_per_prompt(path) as result:
        if wordings:
            with pytest.raises(ValueError, match="does not fit"):
                append(result, rows + per_prompt_rows("b"))
        else:
            with pytest.raises(ValueError, match="row 'x', which is none of the questions"):
                append(result, per_prompt_rows("x"))
        assert result.done == frozenset()


def test_a_left_over_run_folder_of_a_finished_result_is_cleared_away(path):
    write_result(path, ["a"])
    run = path.with_suffix(".run")
    run.mkdir()
    (run / "shard-00000.feather").write_bytes(b"half deleted")

    with open_result(path, uuids=["a"]) as result:
        assert result.finished
    assert not run.exists()


def test_a_torn_temporary_file_is_cleared_away(path):
    run = interrupted(path, ["a"])
    torn = [run / ".shard-00001.feather.tmp", path.with_name(f".{path.name}.tmp")]
    for file in torn:
        file.write_bytes(b"ARROW1 and then the power went")

    with open_result(path) as result:
        assert result.done == {"a"}
    assert sorted(file.name for file in run.iterdir()) == ["manifest.json", "shard-00000.feather"]
    assert [file.name for file in path.parent.iterdir()] == ["vote-5.run"]


def test_an_option_that_may_differ_keeps_the_value_the_run_was_begun_with(path):
    with open_result(path, uuids=["a"], may_differ={"batch_size"}) as result:
        append(result, [result_row("a")])
    other = changed(batch_size=16)

    with pytest.raises(UserError, match="batch_size was 4, now 16"):
        open_result(path, other)
    with open_result(path, other, ["a"], may_differ={"batch_size"}) as result:
        result.finish()
    assert read_manifest(path) == MANIFEST


@pytest.mark.parametrize("finished", [True, False])
def test_overwrite_starts_anew(path, finished):
    write_result(path, ["a"]) if finished else interrupted(path, ["a"])

    with open_result(path, changed(num_paraphrases=3), ["b"], overwrite=True) as result:
        assert not result.finished
        assert result.done == frozenset()
        append(result, [result_row("b")])
        result.finish()
    assert list(pd.read_feather(path)["uuid"]) == ["b"]
    assert read_manifest(path) == changed(num_paraphrases=3)


FULL_DISK = """
import resource, sys
from pathlib import Path
from self_ensemble.errors import UserError
sys.path.insert(0, sys.argv[2])
from test_result_store import append, open_result, result_row, noise

with open_result(Path(sys.argv[1])) as result:
    append(result, [result_row("a")])
    # The kernel refuses bytes past this size, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        append(result, [result_row("b", generation=noise())])
    except UserError as error:
        print(error)
    assert result.done == {"a"}
"""


def noise():
    return "".join(map(chr, random.Random(0).choices(range(33, 127), k=100_000)))


def test_a_shard_that_does_not_fit_on_the_disk_is_one_line_and_loses_nothing(path):
    told = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), str(__file__).rpartition("/")[0]],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == 1
    assert "vote-5.run: File too large." in told.stdout

    with open_result(path, uuids=["b", "a"]) as result:
        assert result.done == {"a"}
        append(result, [result_row("b", generation=noise())])
        result.finish()
    assert pd.read_feather(path)["generation"][0] == noise()
