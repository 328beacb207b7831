"""Tables, figures and pages as files: whole or as they were, and with names of their own."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from self_ensemble.report.files import file_names, write_file


@pytest.fixture
def small_disk():
    """Files end at 20,000 bytes: the kernel refuses more, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_does_not_fit_is_left_as_it_was(tmp_path, small_disk):
    path = tmp_path / "table.csv"
    write_file(path, "before")
    with pytest.raises(UserError, match=r"^Cannot write \S+/table\.csv \(File too large\)\. Name"):
        write_file(path, b"x" * 30_000)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_link_leads_to_what_is_written(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "table.csv")
    write_file(tmp_path / "link", "a")
    write_file(tmp_path / "link", "\u7b54")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "table.csv").read_text("utf-8") == "\u7b54"


def test_a_pipe_is_written_to_and_a_full_device_is_told():
    code = "from self_ensemble.report.files import *; write_file(Path('/dev/stdout'), 'a table')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"a table")
    with pytest.raises(UserError, match=r"^Cannot write /dev/full \(No space left on device\)"):
        write_file(Path("/dev/full"), "a")


def test_names_that_differ_in_signs_or_size_alone_stay_apart():
    texts = ["a b", "a/b", "A_b", "a_b-2", "c", "c"]
    names = file_names(texts)
    assert list(names) == ["a b", "a/b", "A_b", "a_b-2", "c"]
    assert names["a b"] == "a_b"
    assert len({name.lower() for name in names.values()}) == 5


@pytest.mark.parametrize("text", ["../up", "rel/uri", "\u5173\u7cfb" * 100, "a\0b\n"])
def test_a_name_is_one_of_a_file_in_the_same_folder(tmp_path, text):
    (name,) = file_names([text]).values()
    write_file(tmp_path / f"{name}.png", "")
    assert os.listdir(tmp_path) == [f"{name}.png"]
