import os
from pathlib import Path

import pytest
from result_rows import interrupted, open_result

from self_ensemble.errors import UserError
from self_ensemble.results.disk import check_writable, write_atomically


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    folder = tmp_path / "results" / "demo"
    check_writable(folder)
    check_writable(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("below", ["", "demo", "demo/model"])
def test_a_file_in_the_way_is_named(tmp_path, below):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match="results is not a folder") as refused:
        check_writable(tmp_path / "results" / below)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("target", ["nowhere", "results"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, target):
    (tmp_path / "results").symlink_to(tmp_path / target)
    with pytest.raises(UserError, match="results is not a folder"):
        check_writable(tmp_path / "results" / "demo")


def test_a_name_that_the_file_system_refuses_is_told(tmp_path):
    with pytest.raises(UserError, match=r"Cannot write .*: File name too long. .*--output-dir"):
        check_writable(tmp_path / ("x" * 300))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs the proc file system")
@pytest.mark.parametrize("folder", ["/proc", "/proc/results"])
def test_a_file_system_that_takes_no_files_is_told(folder):
    # Not even root can make a file there.
    with pytest.raises(UserError, match=f"Cannot write {folder}: "):
        check_writable(Path(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop root")
@pytest.mark.parametrize("below", ["", "demo"])
def test_a_folder_without_write_permission_is_told(tmp_path, below):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        check_writable(tmp_path / below)


@pytest.fixture
def synced(monkeypatch):
    """Inodes in the order in which they are made to survive a power cut, and renames between."""
    seen, fsync, replace = [], os.fsync, os.replace

    def note_sync(descriptor):
        seen.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def note_rename(old, new):
        seen.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    return seen


def test_a_file_survives_a_power_cut_from_its_rename_on(tmp_path, synced):
    write_atomically(tmp_path / "file", b"content")
    assert synced == [(tmp_path / "file").stat().st_ino, "rename", tmp_path.stat().st_ino]


def test_a_result_whose_maker_was_killed_survives_before_its_shards_go(path, synced):
    run = interrupted(path, ["a", "b", "c"])
    shards = [run / "shard-00000.feather", run / "manifest.json"]
    contents = [shard.read_bytes() for shard in shards]
    with open_result(path) as result:
        result.finish()
    run.mkdir()
    for shard, content in zip(shards, contents, strict=True):
        shard.write_bytes(content)
    synced.clear()
    with open_result(path) as result:
        assert result.finished
    assert synced[:2] == [path.stat().st_ino, path.parent.stat().st_ino]
