"""Digests of files, and those that are kept between runs."""

import json
import os
import random
import tempfile
import threading
import time

import pytest
import xxhash

from self_ensemble.errors import UserError
from self_ensemble.identity import files
from self_ensemble.identity.files import read_files, require_unchanged


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file whose digest is kept, as if it were large and had been there for long."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "MIN_KEPT_BYTES", 1)
    monkeypatch.setattr(files, "SETTLED_NS", 0)
    path = tmp_path / "model.safetensors"
    path.write_bytes(random.Random(0).randbytes(10_000))
    time.sleep(0.02)  # more than the clock of files is coarse
    return path


def read(path):
    """Its digest, and how many bytes were read for it."""
    seen = [0]
    digest = read_files({"it": path}, lambda done, total: seen.append(done))["it"].digest
    return digest, seen[-1]


def truth(path):
    return f"xxh3:{xxhash.xxh3_128(path.read_bytes()).hexdigest()}"


def rewrite(path, content):
    """Write in place, and give the file its old modification time back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


def test_every_byte_counts(tmp_path):
    path = tmp_path / "file"
    content = bytearray(random.Random(0).randbytes(700))
    seen = set()
    for place in range(len(content)):
        content[place] ^= 1
        path.write_bytes(content)
        seen.add(read_files({"it": path})["it"].digest)
        content[place] ^= 1
    assert len(seen) == len(content)


def test_a_kept_digest_spares_the_reading(large):
    assert read(large) == (truth(large), 10_000)
    assert read(large) == (truth(large), 0)


def test_a_file_changed_in_place_with_its_old_time_is_read_again(large):
    first, _ = read(large)
    rewrite(large, bytes(1))
    assert read(large) == (truth(large), 10_000)
    assert truth(large) != first


def test_another_file_in_its_place_is_read(large, tmp_path):
    read(large)
    other = tmp_path / "other"
    other.write_bytes(bytes(10_000))
    before = large.stat()
    os.replace(other, large)
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read(large) == (truth(large), 10_000)


def test_a_link_that_points_elsewhere_is_followed(large, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(large)
    read(link)
    assert read(large)[1] == 0
    other = tmp_path / "other"
    other.write_bytes(bytes(10_000))
    link.unlink()
    link.symlink_to(other)
    assert read(link)[0] == truth(other)


def test_a_file_written_just_now_is_not_kept(large, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_NS", 3 * 10**9)
    assert [read(large)[1] for _ in range(2)] == [10_000, 10_000]
    assert not files.cache_folder("digests").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: b"",
        lambda kept: b"{}",
        lambda kept: b"[1, 2]",
        lambda kept: b"[" * 100_000,
        lambda kept: b"\xff" + kept,
        lambda kept: kept[:-9],
        lambda kept: kept.replace(b"xxh3:", b"xxh3:0", 1),
        lambda kept: json.dumps([json.loads(kept)[0], "xxh3:0"]).encode(),
    ],
)
def test_a_damaged_cache_is_ignored(large, damage):
    read(large)
    (record,) = files.cache_folder("digests").iterdir()
    record.write_bytes(damage(record.read_bytes()))
    assert read(large) == (truth(large), 10_000)
    assert read(large) == (truth(large), 0)


def test_any_byte_of_the_cache_may_be_wrong(large):
    read(large)
    (record,) = files.cache_folder("digests").iterdir()
    content = record.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 4
        record.write_bytes(flipped)
        assert read(large)[0] == truth(large), place


def test_a_cache_that_cannot_be_written_only_costs_time(large, tmp_path, monkeypatch):
    (tmp_path / "in_the_way").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "in_the_way"))
    assert [read(large)[1] for _ in range(2)] == [10_000, 10_000]


def test_many_at_once_keep_whole_records(large):
    threads = [threading.Thread(target=read, args=(large,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(large) == (truth(large), 0)


def test_what_is_written_while_it_is_read_is_refused(large, monkeypatch):
    monkeypatch.setattr(files, "_CHUNK_BYTES", 4_000)
    with pytest.raises(UserError, match=r"model.safetensors changed while it was read"):
        read_files({"it": large}, lambda done, total: rewrite(large, bytes(1)))
    (found,) = read_files({"it": large}).values()
    require_unchanged([found])
    time.sleep(0.02)
    rewrite(large, bytes([1]))
    with pytest.raises(UserError, match=r"changed while it was read"):
        require_unchanged([found])


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"Cannot read .*nothing: No such file"):
        read_files({"it": tmp_path / "nothing"})


def test_progress_counts_to_the_sizes_of_what_is_read(large, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(bytes(5_000))
    seen = []
    read_files({"a": large, "b": other}, lambda *progress: seen.append(progress))
    assert seen == [(10_000, 15_000), (15_000, 15_000)]


def test_a_user_without_a_home_keeps_digests_with_temporary_files(tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    # As for a number that no account has.
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert files.cache_folder("digests") == tmp_path / "self-ensemble" / "digests"
