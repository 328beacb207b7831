"""What is refused when a result is opened: damage, other options, other people's files."""

import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
from result_rows import (
    MANIFEST,
    append,
    changed,
    interrupted,
    open_result,
    result_row,
    write_result,
)

from self_ensemble.errors import UserError
from self_ensemble.results.disk import write_table
from self_ensemble.results.manifest import MANIFEST_KEY
from self_ensemble.results.shards import write_shard


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"garbage",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: (
            content[: len(content) // 4]
            + bytes(len(content) // 2)
            + content[-(len(content) // 4) :]
        ),
    ],
    ids=["empty", "garbage", "half", "one byte short", "zeros"],
)
def test_a_damaged_shard_is_named_and_the_rest_survives_its_deletion(path, damage):
    shard = interrupted(path, ["a"], ["b"]) / "shard-00000.feather"
    shard.write_bytes(damage(shard.read_bytes()))

    with pytest.raises(UserError, match=r"shard-00000\.feather cannot be used") as refused:
        open_result(path)
    assert "\n" not in str(refused.value)

    shard.unlink()
    with open_result(path) as result:
        assert result.done == {"b"}
        append(result, [result_row("a"), result_row("c")])
        result.finish()
    assert list(pd.read_feather(path)["uuid"]) == ["a", "b", "c"]


def test_a_copied_shard_is_refused(path):
    run = interrupted(path, ["a"])
    (run / "shard-00007.feather").write_bytes((run / "shard-00000.feather").read_bytes())
    with pytest.raises(UserError, match=r"shard-00007\.feather .* is shard 0 under another name"):
        open_result(path)


def test_a_shard_with_other_columns_is_refused(path):
    run = interrupted(path, ["a"])
    write_shard(run, 1, pa.table({"uuid": ["b"]}), MANIFEST.digest())
    with pytest.raises(UserError, match=r"shard-00001\.feather .* has other columns"):
        open_result(path)


def test_shards_without_a_manifest_are_refused(path):
    run = interrupted(path, ["a"])
    (run / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"vote-5\.run .* has shards but no manifest\.json"):
        open_result(path)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe"])
def test_a_damaged_manifest_is_named(path, content):
    run = interrupted(path, ["a"])
    (run / "manifest.json").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json cannot be used: it has no checksum"):
        open_result(path)


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_option_is_refused_by_its_name(path, finished):
    write_result(path, ["a"]) if finished else interrupted(path, ["a"])

    with pytest.raises(UserError, match=r"^num_paraphrases was 5, now 3: .*--overwrite"):
        open_result(path, changed(num_paraphrases=3))

    with open_result(path, uuids=["a"]) as result:
        assert result.done == {"a"}


def test_a_file_of_someone_else_is_kept_unless_overwritten(path):
    path.parent.mkdir(parents=True)
    pa.feather.write_feather(pa.table({"uuid": ["mine"]}), path)
    before = path.read_bytes()

    with pytest.raises(UserError, match="cannot be used: it has no checksum"):
        open_result(path)
    assert path.read_bytes() == before

    with open_result(path, uuids=["a"], overwrite=True) as result:
        append(result, [result_row("a")])
        result.finish()
    assert list(pd.read_feather(path)["uuid"]) == ["a"]


def test_a_text_file_in_place_of_the_result_is_kept(path):
    path.parent.mkdir(parents=True)
    path.write_text("my notes")
    with pytest.raises(UserError, match=r"vote-5\.feather cannot be used: it has no checksum"):
        open_result(path)
    assert path.read_text() == "my notes"


def test_a_second_opener_is_refused_until_the_first_closes(path):
    with open_result(path), pytest.raises(UserError, match=r"Process \d+ on .* is writing"):
        open_result(path)
    with open_result(path):
        pass
    with open_result(path.with_name("avg.feather")), open_result(path):
        pass


def test_a_refused_open_gives_the_lock_back(path):
    interrupted(path, ["a"])
    with pytest.raises(UserError, match="num_paraphrases"):
        open_result(path, changed(num_paraphrases=3))
    assert not list(path.parent.glob(".*.lock"))


def _with_other_options(path):
    open_result(path, changed(num_paraphrases=3)).close()


def _finished_with_other_options(path):
    write_result(path, ["a"], changed(num_paraphrases=3))


def _in_the_way(path):
    path.parent.parent.write_text("a file")


def _of_someone_else(path):
    path.parent.mkdir(parents=True)
    pa.feather.write_feather(pa.table({"uuid": ["mine"]}), path)


def _without_manifest(path):
    (interrupted(path, ["a"]) / "manifest.json").unlink()


def _with_damaged_manifest(path):
    (interrupted(path, ["a"]) / "manifest.json").write_text("[1]")


def _finished_with_damaged_manifest(path):
    path.parent.mkdir(parents=True)
    write_table(path, pa.table({"uuid": ["a"]}), {MANIFEST_KEY: b"[1]"})


def _with_other_columns(path):
    write_shard(interrupted(path, ["a"]), 1, pa.table({"uuid": ["b"]}), MANIFEST.digest())


@pytest.mark.parametrize(
    "leave",
    [
        _with_other_options,
        _finished_with_other_options,
        _in_the_way,
        _of_someone_else,
        _without_manifest,
        _with_damaged_manifest,
        _finished_with_damaged_manifest,
        _with_other_columns,
    ],
)
def test_a_refusal_names_the_option_with_which_the_place_was_chosen(path, leave):
    leave(path)
    with pytest.raises(UserError, match=r"another --output-dir\.$"):
        open_result(path)
    with pytest.raises(UserError, match=r"another --output\.$"):
        open_result(path, output_option="--output")


def test_a_lock_and_a_failed_write_name_that_option_too(path):
    with open_result(path, output_option="--output") as result:
        with pytest.raises(UserError, match=r"is writing .* another --output\.$"):
            open_result(path, output_option="--output")
        shutil.rmtree(path.with_suffix(".run"))
        with pytest.raises(UserError, match=r"Cannot write .* another --output\.$"):
            append(result, [result_row("a")])
