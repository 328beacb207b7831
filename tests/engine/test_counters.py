"""The work of a run, in numbers that do not depend on the machine."""

import pytest
from asking import METHODS, QUESTIONS, WEIGHTS, ensemble, requests

from self_ensemble.walking.sampling import Sampling

N = 3


def _nodes_by_step(answers):
    """How many different continuations are fed at each step, from stream and tokens of each."""
    steps = []
    for length in range(1, 1 + max(len(ids) for _, ids in answers)):
        # The last token of an answer is not fed again.
        steps.append(len({(s, tuple(ids[:length])) for s, ids in answers if len(ids) > length}))
    return [count for count in steps if count]


def _walkers(answers):
    """Stream and tokens of every walker of every question."""
    found = []
    for row in range(len(QUESTIONS)):
        for method in METHODS:
            answer = answers[method][row]
            if method == "flex_attention":
                found.append(((row, "fused"), answer.token_ids))
            elif method == "origin":
                found.append(((row, 0), answer.token_ids))
            elif method in ("vote", "per_prompt"):
                found += [((row, n), m.token_ids) for n, m in enumerate(answer.members)]
            else:
                found += [((row, n), answer.token_ids) for n in range(N)]
            if method == "contrast":
                found.append(((row, "prior"), answer.token_ids))
    return found


def test_the_prefix_is_encoded_once_per_run(loaded):
    asked = ensemble(loaded("llama"))
    for _ in range(3):
        for request in requests():
            asked.run([request])
    assert asked.counters.prefix_tokens == len(asked.frame.prefix) > 0


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0)])
def test_every_different_continuation_is_computed_once(loaded, sampling):
    asked = ensemble(loaded("llama"), sampling=sampling, stop=("a", "e", " "))
    answers = asked.run(requests())
    steps = _nodes_by_step(_walkers(answers))
    counters = asked.counters
    num_streams = len(QUESTIONS) * (1 + N + 1)
    assert counters.decode_tokens == sum(steps)
    assert counters.logit_rows == num_streams + sum(steps)
    # Prefix, prefill, and one pass for each step at which some answer goes on.
    assert counters.forwards == 2 + len(steps)
    assert counters.masks == counters.forwards


def test_answers_that_have_ended_are_not_decoded_further(loaded):
    asked = ensemble(loaded("llama"), "per_prompt", stop=("a", "e", "\ufffd"), max_new_tokens=30)
    answers = asked.run(requests())["per_prompt"]
    lengths = [len(member.token_ids) for answer in answers for member in answer.members]
    assert len(set(lengths)) > 2
    assert asked.counters.decode_tokens == sum(length - 1 for length in lengths)


def _distinct_beginnings(segments):
    return {segment[:end] for segment in segments for end in range(1, len(segment) + 1)}


@pytest.mark.usefixtures("exact_lengths")
def test_tokens_that_wordings_begin_with_alike_go_through_the_model_once(loaded):
    asked = ensemble(loaded("llama"), "flex_attention", max_new_tokens=1)
    asked.run(requests())
    parts = [asked.frame.parts(wordings) for wordings in QUESTIONS]
    expected = sum(len(_distinct_beginnings(one.segments)) + len(one.cue) for one in parts)
    assert expected < sum(sum(map(len, one.segments)) + len(one.cue) for one in parts)
    assert asked.counters.prompt_tokens == expected
    assert asked.counters.padding_tokens == 0
    assert asked.counters.decode_tokens == 0


@pytest.mark.parametrize(
    ("method", "num_streams"),
    [("flex_attention", 1), ("origin", 1), ("avg", N), ("contrast", N + 1)],
)
def test_a_method_by_itself_lays_out_its_own_streams_only(loaded, method, num_streams):
    asked = ensemble(loaded("llama"), method, max_new_tokens=1)
    asked.run(requests())
    assert asked.counters.logit_rows == len(QUESTIONS) * num_streams
    if method == "origin":
        parts = [asked.frame.parts(wordings) for wordings in QUESTIONS]
        only_first = sum(len(one.segments[0]) + len(one.cue) for one in parts)
        assert asked.counters.prompt_tokens == only_first


def test_layers_of_one_kind_share_a_mask(loaded):
    one_kind = ensemble(loaded("mistral", sliding_window=8))
    two_kinds = ensemble(loaded("gemma3", sliding_window=8))
    for asked, num_kinds in ((one_kind, 1), (two_kinds, 2)):
        asked.run(requests())
        # Of the rows in every pass; of the shared prefix, for the window, in every one behind it.
        forwards = asked.counters.forwards
        assert asked.counters.masks == num_kinds * forwards + forwards - 1


@pytest.mark.usefixtures("exact_lengths")
def test_the_model_itself_sees_the_counted_tokens_and_no_more_logits(loaded):
    model = loaded("llama")
    asked, seen, fed = ensemble(model), [], []
    head, embedding = model.model.get_output_embeddings(), model.model.get_input_embeddings()
    head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    embedding.register_forward_hook(lambda module, inputs, output: fed.append(inputs[0].shape))
    asked.run(requests(QUESTIONS, WEIGHTS))
    counters = asked.counters
    vocabulary = model.model.config.vocab_size
    assert {(shape[0], shape[2]) for shape in seen} == {(1, vocabulary)}
    assert sum(shape[1] for shape in seen) == counters.logit_rows
    counted = counters.prefix_tokens + counters.prompt_tokens + counters.decode_tokens
    assert sum(shape.numel() for shape in fed) == counted
    assert len(fed) == counters.forwards
