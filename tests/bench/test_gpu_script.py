"""The script for a GPU runs with the same switches on a CPU."""

import json

import pytest

from benchmarks import gpu

TINY = ["--device", "cpu", "--tiny", "--backends", "sdpa", "--repeats", "1"]


@pytest.mark.slow
# The compiler itself uses what its own library deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_it_checks_times_and_traces(capsys):
    assert gpu.main([*TINY, "--batch-sizes", "1,3", "--shape", "9,2,4,3"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [check["gqa_ratio"] for check in found["correctness"]] == [3, 3, 4, 4, 7, 7, 7]
    # The streams of flex_attention, avg and per_prompt, and the rows of generate_five and
    # causal_concat.
    expected = 2 * (1 + 1 + 3 + 3 + 1) * 8
    assert all(check["num_tokens"] == expected for check in found["correctness"])
    assert list(found["batch_sizes"]) == ["1", "3"]
    assert set(found["batch_sizes"]["3"]["sdpa, tree"]) == set(gpu.RIVALS)
    assert set(found["batch_sizes"]["3"]["sdpa, captured"]) == set(gpu.OURS_AGAIN)
    assert set(found["batch_sizes"]["3"]["sdpa, compiled"]) == set(gpu.OURS_AGAIN)
    assert "sdpa, compiled" not in found["batch_sizes"]["1"]
    assert [trace["decode"] for trace in found["traces"]] == ["tree", "captured", "compiled"]
    for trace in found["traces"]:
        shares = [kernel["share"] for kernel in trace["top"]]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
    assert found["skipped"] == []


def test_what_would_not_end_in_time_is_left_out_and_named(capsys):
    assert gpu.main([*TINY, "--minutes", "0.001", "--decodes", "tree,captured"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["skipped"] == [
        "batch size 1", "batch size 4", "trace, tree", "trace, captured",
    ]  # fmt: skip
    assert found["batch_sizes"] == {}
    assert found["traces"] == []


def test_a_backend_that_cannot_run_stops_it_with_one_line(capsys):
    assert gpu.main(["--device", "cpu", "--tiny", "--backends", "sdpas"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("Error: Unknown attention backend")


@pytest.mark.gpu
def test_every_way_equals_the_oracle_on_a_gpu():
    assert len(gpu.correctness("cuda", ["sdpa", "flex"], list(gpu.DECODE))) == 13
