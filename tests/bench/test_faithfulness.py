"""The summary of a faithfulness run, on facts made up so that the answer is known."""

from benchmarks.faithfulness import Asked, summary, table


def test_rates_are_of_the_wording_with_most_and_least_and_of_the_mean() -> None:
    facts = {
        "a": Asked((True, False, False, False), {"mass": (0.4, 0.3, 0.2, 0.1)}),
        "b": Asked((False, False, False, True), {"mass": (0.1, 0.2, 0.3, 0.4)}),
        "c": Asked((False, False, True, False), {"mass": (0.4, 0.3, 0.1, 0.2)}),
        "d": Asked((False, False, False, False), {"mass": (0.4, 0.3, 0.2, 0.1)}),
    }
    row = summary("flex_attention", "mass", facts)
    assert row.most.value == 2 / 4
    assert row.least.value == 1 / 4
    assert row.random.value == 3 / 16
    assert row.most_over_random.value == 2 / 4 - 3 / 16
    assert row.random_over_least.value == 3 / 16 - 1 / 4
    assert row.most_over_random.n == 4
    assert "| `flex_attention` | `mass` | 50.0 [0.0, 100.0] | 18.8 [" in table([row])
