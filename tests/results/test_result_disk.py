import os
from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from self_ensemble.results.disk import check_writable


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
