"""Teacher forcing of packed streams against each wording's ordinary sequence, one at a time."""

import pytest
import torch
from tests.engine.asking import PREFIX

from self_ensemble.asking.layout import Streams, request_layouts
from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.oracle.reference import next_logits_alone
from self_ensemble.passes.prefill import prefill
from self_ensemble.walking.forced import forced_steps

QUESTIONS = (
    ("Who wrote the play?", "Which one of them wrote the play about the prince?", "Writer?"),
    ("The river is wide?", "River: wide?", "Is the river of the old town slow and wide?"),
    ("What is the capital of France?", "Capital?", "France's capital is what?"),
)
# Of different lengths, one of a single token; the second begins like the third.
ANSWERS = ((60, 61, 62, 63), (70,), (70, 71))


@pytest.mark.parametrize("at_once", [1, 8, 100])
@pytest.mark.parametrize(("family", "window"), [("llama", None), ("gpt2", None), ("mistral", 8)])
def test_forced_logits_are_those_of_each_wordings_own_sequence(
    loaded, family, window, at_once
) -> None:
    asked = Ensemble(
        loaded(family, sliding_window=window), "avg",
        prefix=PREFIX, settings=Settings(max_new_tokens=4),
    )  # fmt: skip
    untouched = loaded(family, sliding_window=window)
    streams = Streams(fused=False, num_alone=3, prior=False)
    requests = [Request(str(n), wordings) for n, wordings in enumerate(QUESTIONS)]
    layouts = request_layouts(
        requests, asked.methods, streams, asked.frame, asked.settings, asked.model
    )
    batch, frontier = prefill(asked.engine, layouts, asked.prefix())
    seen = []
    for position, step in enumerate(forced_steps(batch, frontier, ANSWERS, at_once=at_once)):
        for row, token, logits_NV in zip(
            step.rows_R.tolist(), step.tokens_R.tolist(), step.logits_RNV, strict=True
        ):
            seen.append((row, position, token))
            parts = asked.frame.parts(QUESTIONS[row])
            for n in range(3):
                sequence = [*parts.alone(n), *ANSWERS[row][:position]]
                expected = next_logits_alone(untouched, sequence)
                # float32 sums in another order
                torch.testing.assert_close(logits_NV[n], expected, atol=1e-3, rtol=1e-4)
    expected_seen = [
        (row, n, t) for row, answer in enumerate(ANSWERS) for n, t in enumerate(answer)
    ]
    assert sorted(seen) == sorted(expected_seen)


def test_the_last_token_of_an_answer_is_not_fed(ensemble) -> None:
    streams = Streams(fused=False, num_alone=3, prior=False)
    requests = [Request("q", QUESTIONS[0])]
    layouts = request_layouts(
        requests, ensemble.methods, streams, ensemble.frame, ensemble.settings, ensemble.model
    )
    batch, frontier = prefill(ensemble.engine, layouts, ensemble.prefix())
    assert len(list(forced_steps(batch, frontier, [(60, 61, 62)]))) == 3
    assert ensemble.counters.decode_tokens == 2 * 3


@pytest.mark.parametrize(("at_once", "num_passes"), [(8, 6), (12, 4), (18, 3), (99, 1)])
def test_positions_share_a_pass_as_far_as_their_logits_fit(ensemble, at_once, num_passes) -> None:
    streams = Streams(fused=False, num_alone=3, prior=False)
    requests = [Request("q", QUESTIONS[0])]
    layouts = request_layouts(
        requests, ensemble.methods, streams, ensemble.frame, ensemble.settings, ensemble.model
    )
    # Two that part and a shorter one: 3, 3, 2, 2, 2 and 1 have a token behind it, in 3 streams.
    given = [(60, 61, 62, 63, 64, 65, 66), (60, 61, 72, 73, 74, 75), (60, 61, 62)]
    found = {}
    for size in (1, at_once):
        batch, frontier = prefill(ensemble.engine, layouts, ensemble.prefix())
        before = ensemble.counters.forwards
        with torch.inference_mode():
            found[size] = list(forced_steps(batch, frontier, given, [0, 0, 0], at_once=size))
        num = ensemble.counters.forwards - before
    assert num == num_passes
    for one, slow in zip(found[at_once], found[1], strict=True):
        assert (one.rows_R.tolist(), one.tokens_R.tolist()) == (
            slow.rows_R.tolist(), slow.tokens_R.tolist(),
        )  # fmt: skip
        # The same sums; a pass of another length may be rounded otherwise.
        torch.testing.assert_close(one.logits_RNV, slow.logits_RNV, atol=1e-5, rtol=1e-5)
