"""The benchmark of joining does the same work both ways, and one long answer holds up nobody."""

import json

import pytest

from benchmarks.joining import LONG, SHORT, arrivals, main, requests, served
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import load_model


def test_requests_come_one_behind_the_other_at_the_rate_that_is_asked_for():
    found = arrivals(2000, 4.0, seed=1)
    assert found == sorted(found)
    assert found[0] == 0
    assert 2000 / found[-1] == pytest.approx(4, rel=0.1)


def test_both_ways_give_the_same_answers_and_short_ones_wait_for_a_long_one_in_batches(
    tiny_folder,
):
    ensemble = Ensemble(load_model(str(tiny_folder)), "avg")
    ensemble.stop.eos_token_ids = frozenset()
    asked = requests(6, 2, [LONG, SHORT, SHORT])
    # All but the first come while it is being answered.
    coming = [0.0, *[0.001] * 5]
    joining, batches = (
        served(ensemble, asked, coming, 4, is_joining=is_joining) for is_joining in (True, False)
    )
    assert joining.answers == batches.answers
    assert [len(one) for one in joining.answers] == [LONG, SHORT, SHORT] * 2
    assert max(joining.latencies[1:3]) < joining.latencies[0] / 2
    assert min(batches.latencies[1:]) > batches.latencies[0]


def test_it_ends_with_one_document(tiny_folder, capsys):
    main(["--model", str(tiny_folder), "--requests", "8", "--per-s", "1000", "--rounds", "2"])
    *_, said, line = capsys.readouterr().out.splitlines()
    assert said == "Answers are equal both ways."
    found = json.loads(line)
    assert found["batches"]["short_p95_s"] > 0
    assert found["equal"] is True
