"""What a job that is worked on tells where there is no terminal."""

import json

from self_ensemble.cli import console
from self_ensemble.cli.console import ConsoleProgress
from self_ensemble.running.batches import BatchProgress

BATCH = BatchProgress(16, 0, 1.0, num_workers=3)


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch) -> None:
    monkeypatch.setattr(console, "TELL_EVERY_S", 0.0)
    with ConsoleProgress().working("answering", 2000, 100) as on_batch:
        on_batch(BATCH)
    err = capsys.readouterr().err
    assert err.startswith("answering: 116 of 2,000 questions, ")
    assert " questions/s, 3 workers, 0:" in err
    assert err.endswith(" left\n")


def test_beside_a_json_line_it_is_json_on_standard_error(capsys, monkeypatch) -> None:
    monkeypatch.setattr(console, "TELL_EVERY_S", 0.0)
    with ConsoleProgress(as_json=True).working("answering", 32, 0) as on_batch:
        on_batch(BATCH)
        on_batch(BATCH)
    out, err = capsys.readouterr()
    first, second = map(json.loads, err.splitlines())
    assert (first["done"], first["total"]) == (16, 32)
    assert first["workers"] == 3
    assert first["questions_per_second"] > 0
    assert second["done"] == 32
    assert second["seconds_left"] == 0
    assert out == ""


def test_a_short_run_tells_nothing(capsys) -> None:
    with ConsoleProgress().working("answering", 32, 0) as on_batch:
        on_batch(BATCH)
    assert capsys.readouterr() == ("", "")
