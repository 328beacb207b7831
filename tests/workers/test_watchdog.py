"""What a run's Ray leaves when it ends."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

from self_ensemble.jobs.workers.watchdog import end_all, own_folder

HOLD = "import sys, time; held = open(sys.argv[1], 'w'); print('held', flush=True); time.sleep(99)"
OWN = """
import subprocess, sys, time
from self_ensemble.jobs.workers.watchdog import own_folder

with own_folder() as folder:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(folder / "log")],
                             stdout=subprocess.PIPE)
    child.stdout.readline()
    print(folder, child.pid, flush=True)
    time.sleep(99)
"""


def holder(path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_whoever_has_a_file_open_is_ended_and_nobody_else(tmp_path) -> None:
    ours, others = tmp_path / "ours", tmp_path / "ours-not"
    for folder in (ours, others):
        folder.mkdir()
    inside, outside, spared = holder(ours / "a"), holder(others / "a"), holder(ours / "b")
    try:
        end_all(ours, but=psutil.Process(spared.pid))
        inside.wait(timeout=5)
        assert outside.poll() is None
        assert spared.poll() is None
        assert not ours.exists()
        assert others.exists()
    finally:
        for process in (inside, outside, spared):
            process.kill()
            process.communicate()


def test_a_folder_goes_with_its_block() -> None:
    with own_folder() as folder:
        process = holder(folder / "log")
    assert process.wait(timeout=5) == -9
    assert not folder.exists()
    process.communicate()


def test_a_folder_goes_with_a_process_that_is_killed() -> None:
    driver = subprocess.Popen([sys.executable, "-c", OWN, HOLD], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    folder, pid = driver.stdout.readline().split()
    child = psutil.Process(int(pid))
    driver.kill()
    driver.communicate()
    _, alive = psutil.wait_procs([child], timeout=20)
    for process in alive:
        process.kill()
    assert alive == []
    latest = time.monotonic() + 5
    while Path(folder).exists() and time.monotonic() < latest:
        time.sleep(0.1)
    assert not Path(folder).exists()


def test_a_folder_behind_a_link_is_the_folder(tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    process = holder(tmp_path / "real" / "log")
    end_all(tmp_path / "link")
    assert process.wait(timeout=5) is not None
    process.communicate()
