"""Damage to the files of a result is refused by name, and `repair` makes what it held again."""

import os
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
    open_per_prompt,
    open_result,
    per_prompt_rows,
    result_row,
    write_result,
)

from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import DamagedError
from self_ensemble.results.disk import read_table, write_table
from self_ensemble.results.manifest import MANIFEST_KEY, Manifest
from self_ensemble.results.shards import SHARD_KEY, write_shard

ALL = ("a", "b", "c")


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1 << (place % 8)
    file.write_bytes(content)


def go_on(path, **options):
    """Run as a user would: what is not there is answered."""
    with open_result(path, **options) as result:
        if not result.finished:
            append(result, [result_row(uuid) for uuid in ALL])
        result.finish()
    return result.repaired


def repaired_to_whole(path, *names):
    """Refused without `repair`; with it, the names are set aside and the result is whole."""
    with pytest.raises(DamagedError, match=r"Use --repair") as refused:
        go_on(path)
    lines = go_on(path, repair=True)
    assert len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        assert name in line
        assert "\n" not in line
    assert list(pd.read_feather(path)["prediction"]) == [f"Zürich {uuid}" for uuid in ALL]
    assert go_on(path) == ()
    return str(refused.value)


def test_each_flipped_bit_of_a_shard_is_seen_before_anything_is_parsed(path):
    shard = interrupted(path, ["a"]) / "shard-00000.feather"
    whole = shard.read_bytes()
    for place in range(0, len(whole), 7):
        flip(shard, place)
        with pytest.raises(DamagedError, match="checksum"):
            read_table(shard)
        shard.write_bytes(whole)


def test_damaged_shards_are_set_aside_and_made_again(path):
    run = interrupted(path, ["a"], ["b"])
    flip(run / "shard-00000.feather", 700)
    os.truncate(run / "shard-00001.feather", 0)
    repaired_to_whole(path, "shard-00000.feather.damaged-1", "shard-00001.feather.damaged-1")
    # Nothing is deleted.
    assert sorted(file.name for file in run.iterdir()) == [
        "shard-00000.feather.damaged-1", "shard-00001.feather.damaged-1"
    ]  # fmt: skip


def test_a_damaged_result_is_set_aside_again_and_again(path):
    for number in (1, 2, 3):
        go_on(path)
        flip(path, 1000 * number)
        repaired_to_whole(path, f"vote-5.feather.damaged-{number}")


def test_a_damaged_result_whose_shards_are_still_there_is_made_of_them(path):
    run = interrupted(path, ALL)
    shutil.copytree(run, path.parent / "copy")
    with open_result(path) as result:
        result.finish()
    shutil.move(path.parent / "copy", run)
    flip(path, 2000)
    with open_result(path, repair=True) as result:
        assert result.done == set(ALL)
        result.finish()
    assert list(pd.read_feather(path)["uuid"]) == list(ALL)


def test_a_lost_or_damaged_manifest_is_written_anew_and_no_shard_is_lost(path):
    run = interrupted(path, ["a"], ["b"])
    (run / "manifest.json").unlink()
    with open_result(path, repair=True) as result:
        assert result.done == {"a", "b"}
        assert len(result.repaired) == 1
    flip(run / "manifest.json", 90)
    with pytest.raises(DamagedError, match=r"manifest\.json cannot be used"):
        open_result(path)
    with open_result(path, repair=True) as result:
        assert result.done == {"a", "b"}
        assert result.manifest == MANIFEST


def test_a_manifest_of_another_run_is_told_from_other_options(path):
    run = interrupted(path, ["a"])
    changed(num_paraphrases=3).write(run / "manifest.json")
    with pytest.raises(DamagedError, match="of another run than the shards beside it"):
        open_result(path)
    with open_result(path, repair=True) as result:
        assert result.done == {"a"}


def test_other_options_are_no_damage_that_repair_could_mend(path):
    interrupted(path, ["a"])
    for repair in (True, False):
        with pytest.raises(UserError, match="num_paraphrases was 5, now 3"):
            open_result(path, changed(num_paraphrases=3), repair=repair)
    go_on(path)
    with pytest.raises(UserError, match="num_paraphrases was 5, now 3"):
        open_result(path, changed(num_paraphrases=3), repair=True)


def test_a_shard_of_other_options_is_refused(path):
    other = path.with_name("other.feather")
    with open_result(other, changed(num_paraphrases=3)) as result:
        append(result, [result_row("b", prediction="of other options")])
    run = interrupted(path, ["a"])
    shutil.copy(other.with_suffix(".run") / "shard-00000.feather", run / "shard-00001.feather")
    # The same number, too.
    message = repaired_to_whole(path, "shard-00001.feather")
    assert "is of another run (other questions, model or options)" in message


def test_a_shard_of_another_data_set_is_refused(path):
    other = path.with_name("other.feather")
    with open_result(other, uuids=["x"]) as result:
        append(result, [result_row("x")])
    run = interrupted(path)
    shutil.copy(other.with_suffix(".run") / "shard-00000.feather", run)
    assert "row 'x', which is none of the questions" in repaired_to_whole(path, "shard-00000")


def test_a_renamed_shard_is_refused(path):
    run = interrupted(path, ["a"])
    (run / "shard-00000.feather").rename(run / "shard-00004.feather")
    assert "is shard 0 under another name" in repaired_to_whole(path, "shard-00004.feather")


def test_a_question_that_two_shards_have_is_refused(path):
    run = interrupted(path, ["a"])
    table = read_table(run / "shard-00000.feather").replace_schema_metadata(None)
    write_shard(run, 1, table, MANIFEST.digest())
    assert "repeats an earlier shard's row 'a'" in repaired_to_whole(path, "shard-00001")


@pytest.mark.parametrize("keep", [[0], [1, 0], [0, 1, 1]], ids=["cut", "turned", "doubled"])
def test_a_shard_without_exactly_a_questions_rows_is_refused(path, keep):
    with open_per_prompt(path) as result:
        append(result, per_prompt_rows("a"))
    run = path.with_suffix(".run")
    table = read_table(run / "shard-00000.feather").replace_schema_metadata(None)
    write_shard(run, 0, table.take(keep), MANIFEST.digest())
    with pytest.raises(DamagedError, match="rows of wordings"):
        open_per_prompt(path)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([0, 1], "lacks 1 of 3 questions"),
        ([], "lacks 3 of 3 questions"),
        ([0, 1, 2, 2], "2 rows of question 'c'"),
        ([0, 2, 1], "in another order"),
    ],
)
def test_a_result_without_exactly_its_rows_is_not_finished(path, rows, fault):
    write_result(path, ALL)
    table = read_table(path)
    kept = table.take(pa.array(rows, pa.int64()))
    write_table(path, kept, {MANIFEST_KEY: table.schema.metadata[MANIFEST_KEY]})
    assert fault in repaired_to_whole(path, "vote-5.feather.damaged-1")


def test_rows_cut_out_with_the_checksum_kept_are_seen(path):
    write_result(path, ALL)
    pa.feather.write_feather(read_table(path).slice(1), path)
    assert "its checksum is another one" in repaired_to_whole(path, "vote-5.feather.damaged-1")


def test_a_shard_is_no_finished_result(path):
    run = interrupted(path, ALL)
    shutil.copy(run / "shard-00000.feather", path)
    assert "it has no manifest" in repaired_to_whole(path, "vote-5.feather.damaged-1")
    assert SHARD_KEY not in read_table(path).schema.metadata


@pytest.mark.parametrize("what", ["one", "all", "folder"])
def test_shards_that_go_while_the_run_goes_on_are_told_and_asked_again(path, what):
    with open_result(path) as result:
        for uuid in ALL:
            append(result, [result_row(uuid)])
        run = path.with_suffix(".run")
        if what == "folder":
            shutil.rmtree(run)
        for shard in run.glob("shard-*1.feather" if what == "one" else "shard-*"):
            shard.unlink()
        lost = 1 if what == "one" else 3
        with pytest.raises(UserError, match=f"has lost the rows of {lost} of 3 questions"):
            result.finish()
        assert not path.exists()
    go_on(path)
    assert list(pd.read_feather(path)["uuid"]) == list(ALL)


def test_a_manifest_that_goes_while_the_run_goes_on_costs_nothing(path):
    with open_result(path) as result:
        append(result, [result_row(uuid) for uuid in ALL])
        (path.with_suffix(".run") / "manifest.json").unlink()
        result.finish()
    with open_result(path) as result:
        assert result.finished
        assert result.manifest == MANIFEST


def test_a_shard_damaged_while_the_run_goes_on_is_refused_at_its_end(path):
    with open_result(path) as result:
        append(result, [result_row(uuid) for uuid in ALL])
        flip(path.with_suffix(".run") / "shard-00000.feather", 900)
        with pytest.raises(DamagedError, match=r"same command again with --repair"):
            result.finish()
    repaired_to_whole(path, "shard-00000.feather.damaged-1")


def test_a_text_that_looks_like_a_checksum_is_a_text_like_any_other(path):
    text = f"self-ensemble-sha256:{'0' * 64}"
    manifest = Manifest({"stop": [text], "checksum of": text})
    rows = [result_row(uuid, generation=text) for uuid in ALL]
    with open_result(path, manifest) as result:
        append(result, rows[:1])
    with open_result(path, manifest) as result:
        append(result, rows[1:])
        result.finish()
    with open_result(path, manifest) as result:
        assert result.finished
        assert result.manifest == manifest
    assert set(pd.read_feather(path)["generation"]) == {text}


def test_a_run_folder_that_is_a_link_to_another_place_works(path, tmp_path):
    path.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    path.with_suffix(".run").symlink_to(tmp_path / "elsewhere")
    interrupted(path, ["a"])
    assert (tmp_path / "elsewhere" / "shard-00000.feather").exists()
    go_on(path)
    assert os.listdir(path.parent) == ["vote-5.feather"]
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no second file system")
def test_a_run_folder_on_another_file_system_works(path):
    path.parent.mkdir(parents=True)
    there = f"/dev/shm/{os.getpid()}-{path.parent.parent.parent.name}"
    os.mkdir(there)
    try:
        assert os.stat(there).st_dev != os.stat(path.parent).st_dev
        path.with_suffix(".run").symlink_to(there)
        go_on(path)
        assert os.listdir(path.parent) == ["vote-5.feather"]
    finally:
        shutil.rmtree(there)


def test_a_result_folder_that_is_renamed_between_two_halves_is_gone_on_with(path):
    interrupted(path, ["a"])
    new = path.parent.with_name("renamed")
    path.parent.rename(new)
    with open_result(new / path.name) as result:
        assert result.done == {"a"}
