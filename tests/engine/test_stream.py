"""Answers as they grow: the tokens of `run`, whatever joins, leaves or fails meanwhile."""

import threading
from dataclasses import replace

import pytest
import torch
from asking import (
    METHODS,
    PREFIX,
    QUESTIONS,
    WEIGHTS,
    ensemble,
    greedy_tied_slowly,
    plain_generate,
    requests,
    tokens,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from self_ensemble.asking.methods import resolve_method
from self_ensemble.asking.request import Request, Settings, Unanswered
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.passes.current_pass import GivenUp, one_at_a_time, while_wanted
from self_ensemble.prompts.build import plain_frame
from self_ensemble.prompts.frame import whole_frame
from self_ensemble.questions.schema import Framing
from self_ensemble.walking.sampling import Sampling
from self_ensemble.walking.stopping import StopRule

SAMPLED = Sampling(temperature=1.5, top_p=0.95, seed=3)
MIXED = (*QUESTIONS, ("Two bridges?", "Are there two of them?"), ("One?",))


def _mixed():
    return requests(MIXED, [*WEIGHTS, (0.4, 0.6), (1.0,)])


def _by_number(stream):
    """Outcomes by question and method, and all that was told on the way."""
    told = [step for steps in stream for step in steps]
    ended = [step for step in told if step.outcome is not None]
    outcomes = {(step.number, step.method): step.outcome for step in ended}
    assert len(outcomes) == len(ended), "an answer ends once"
    return outcomes, told


@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED], ids=["greedy", "sampled"])
def test_a_stream_gives_what_run_gives_by_every_method(loaded, sampling):
    asked = ensemble(loaded(), sampling=sampling)
    expected = asked.run(_mixed())
    outcomes, told = _by_number(asked.stream(_mixed()))
    for method in METHODS:
        for number in range(len(MIXED)):
            found, wanted = outcomes[number, method], expected[method][number]
            assert tokens([found]) == tokens([wanted])
            assert tokens(found.members) == tokens(wanted.members)
            assert (found.text, found.stop_reason) == (wanted.text, wanted.stop_reason)
            assert found.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)
    for step in told:
        whole = outcomes[step.number, step.method]
        if step.wording is not None:
            whole = whole.members[step.wording]
        assert whole.token_ids[: len(step.token_ids)] == step.token_ids
        assert whole.generation.startswith(step.text)


def test_every_token_is_told_once_and_at_once(loaded):
    asked = ensemble(loaded(), ["flex_attention", "vote"])
    stream = asked.stream(requests())
    lengths = {}
    for count, steps in enumerate(stream, start=1):
        for step in steps:
            key = (step.number, step.method, step.wording)
            if step.method == "flex_attention":
                assert len(step.token_ids) == count == lengths.get(key, 0) + 1
            lengths[key] = len(step.token_ids)
    assert not stream.is_live


@pytest.mark.parametrize(
    ("family", "window"), [("llama", None), ("mistral", 8), ("gemma2", 8), ("gpt2", None)]
)
def test_questions_that_join_later_do_not_change_an_answer(loaded, family, window):
    asked = ensemble(loaded(family, sliding_window=window), ["flex_attention", "avg", "vote"])
    alone = [asked.run([request]) for request in _mixed()]
    stream = asked.stream(_mixed()[:1])
    outcomes = {}
    for number, request in enumerate(_mixed()[1:], start=1):
        outcomes |= {(s.number, s.method): s.outcome for s in stream.step() if s.outcome}
        method = [resolve_method("avg")] if number == 2 else None
        assert stream.join([request], method) == range(number, number + 1)
    before = asked.counters.forwards
    outcomes |= _by_number(stream)[0]
    # Together they take as many passes as the longest of them.
    assert asked.counters.forwards - before <= 8
    assert (2, "vote") not in outcomes
    for (number, method), found in outcomes.items():
        assert tokens([found]) == tokens(alone[number][method])
    assert len(outcomes) == 3 * 5 - 2


def test_a_question_that_is_given_up_stops_within_a_step(loaded):
    asked = ensemble(loaded(), "avg", max_new_tokens=50)
    asked.stop.eos_token_ids = frozenset()
    stream = asked.stream(requests()[:2])
    stream.step()
    stream.cancel(0)
    stream.step()
    before = asked.counters.decode_tokens
    told = [step for _ in range(5) for step in stream.step()]
    assert {step.number for step in told} == {1}
    assert asked.counters.decode_tokens - before <= 5 * 3
    stream.cancel(1)
    stream.step()
    assert not stream.is_live
    assert stream.step() == []


@pytest.mark.parametrize("number", range(3))
def test_a_question_given_up_between_its_token_and_its_pass_moves_nobody(loaded, number):
    """Its walkers are in the pass that was asked for already: one that joined with it, one not."""
    asked = ensemble(loaded(), ["flex_attention", "avg", "vote"])
    expected = {method: tokens(found) for method, found in asked.run(requests()).items()}
    stream = asked.stream(requests()[:2])
    assert all(step.outcome is None for step in stream.step())
    stream.join(requests()[2:])
    stream.cancel(number)
    outcomes, _ = _by_number(stream)
    assert {key: tokens([found]) for key, found in outcomes.items()} == {
        (other, method): found[other : other + 1]
        for method, found in expected.items()
        for other in {0, 1, 2} - {number}
    }


def test_a_stream_that_is_closed_or_left_is_over(loaded):
    asked = ensemble(loaded(), "avg")
    left = asked.stream(requests())
    for _ in left:
        break
    closed = asked.stream(requests())
    closed.close()
    forwards = asked.counters.forwards
    assert (closed.step(), closed.is_live) == ([], False)
    assert asked.counters.forwards == forwards


def test_a_question_with_settings_of_its_own_is_answered_as_by_an_ensemble_that_has_them(loaded):
    model = loaded()
    own = [
        Settings(max_new_tokens=3, stop=()),
        Settings(max_new_tokens=12, stop=(), sampling=SAMPLED, segment_weights="none", num_top=3),
        Settings(max_new_tokens=12, stop=("a", "e"), sampling=Sampling(0.7, 1.0, 9)),
        None,
    ]
    asked = ensemble(model, ["flex_attention", "max", "vote"])
    together = [replace(requests()[n % 3], settings=one) for n, one in enumerate(own)]
    streamed, _ = _by_number(asked.stream(together))
    batch = asked.run(together)
    for number, (request, one) in enumerate(zip(together, own, strict=True)):
        options = {} if one is None else {f: getattr(one, f) for f in Settings.__slots__}
        by_itself = ensemble(model, asked.methods, **options)
        wanted = by_itself.run([replace(request, settings=None)])
        for method in ("flex_attention", "max", "vote"):
            (expected,) = wanted[method]
            for found in (batch[method][number], streamed[number, method]):
                assert tokens([found]) == tokens([expected])
                assert (found.text, found.stop_reason) == (expected.text, expected.stop_reason)
                assert [len(top) for top in found.tops] == [len(top) for top in expected.tops]


def test_the_likeliest_tokens_are_those_of_the_methods_distribution(loaded):
    asked = ensemble(loaded(), ["max", "per_prompt"], num_top=4)
    for found in asked.run(requests()).values():
        for answer in (one for outcome in found for one in (outcome.members or (outcome,))):
            assert len(answer.tops) == len(answer.token_ids) == len(answer.logprobs)
            places = zip(answer.tops, answer.token_ids, answer.logprobs, strict=True)
            for top, token, logprob in places:
                assert top[0] == (token, pytest.approx(logprob, abs=1e-5))
                assert [one for _, one in top] == sorted((one for _, one in top), reverse=True)
                assert len({one for one, _ in top}) == 4


def test_steps_of_fixed_shape_keep_no_likeliest_tokens(loaded):
    with pytest.raises(UserError, match="keeps no likeliest tokens"):
        ensemble(loaded(), "avg", decode="captured", num_top=2)


@pytest.mark.parametrize("prefix", ["", "Q: Is the old bridge made of stone?"])
def test_a_question_in_a_prompt_of_its_own_is_generated_behind_it(loaded, tiny_model, prefix):
    model = loaded()
    asked = ensemble(model, "origin", prefix=prefix)
    texts = ["Q: Is the old bridge slow?\nA:", "The river", "7", "Q: Is the old bridge made of s"]
    own = [Request(text, (text,), frame=whole_frame(model.tokenizer)) for text in texts]
    found = asked.run([*own, *requests()])["origin"]
    for text, answer in zip(texts, found, strict=False):
        wanted = plain_generate(tiny_model("llama"), model.tokenizer(text)["input_ids"], 8)
        assert list(answer.token_ids) == wanted
    for answer, request in zip(found[len(texts) :], requests(), strict=True):
        assert tokens([answer]) == tokens(asked.run([request])["origin"])


@pytest.mark.parametrize("kinds", [(0,), (1,), (2,), (0, 1, 2, 3)])
def test_prompts_of_all_kinds_share_a_batch(loaded, kinds):
    model = loaded()
    prefixes = [PREFIX, f"{PREFIX}Q: Slow?\nA: No.\n\n", "Answer in one word.\n\n", ""]
    frames = [plain_frame(model.tokenizer, prefixes[n], (), Framing()) for n in kinds]
    asked = ensemble(model, ["flex_attention", "avg"])
    together = [replace(one, frame=frame) for frame in frames for one in requests()]
    found, streamed = asked.run(together), _by_number(asked.stream(together))[0]
    for number, request in enumerate(together):
        alone = Ensemble(model, asked.methods, frame=request.frame, settings=asked.settings)
        wanted = alone.run([replace(request, frame=None)])
        for method in ("flex_attention", "avg"):
            assert tokens([found[method][number]]) == tokens(wanted[method])
            assert tokens([streamed[number, method]]) == tokens(wanted[method])


def test_whole_prompts_are_read_together_by_their_common_end(loaded):
    model = loaded()
    frame = whole_frame(model.tokenizer)
    asked = ensemble(model, ["flex_attention", "avg", "per_prompt"], prefix="")
    whole = tuple(f"Q: {wording}\nA:" for wording in QUESTIONS[0])
    parts = frame.parts(whole)
    assert model.tokenizer.decode(list(parts.cue)).endswith("\nA:")
    for n, text in enumerate(whole):
        assert list(parts.alone(n)) == model.tokenizer(text)["input_ids"]
    framed = asked.run([Request("q", QUESTIONS[0])])
    found = asked.run([Request("q", whole, frame=frame)])
    for method in ("avg", "per_prompt"):
        assert tokens(found[method]) == tokens(framed[method])
    copies = asked.run([Request("q", whole[:1] * 3, frame=frame)])
    assert tokens(copies["flex_attention"]) == tokens([found["per_prompt"][0].members[0]])


def test_whole_prompts_without_a_common_end_or_a_question_are_refused(loaded):
    model = loaded()
    asked = ensemble(model, ["flex_attention", "contrast"], prefix="")
    frame = whole_frame(model.tokenizer)
    fused, contrast = asked.methods
    with pytest.raises(UserError, match="have no end in common"):
        asked.check(Request("q", ("Is it?", "It is"), frame=frame), [fused])
    with pytest.raises(UserError, match="these wordings are whole prompts"):
        asked.check(Request("q", ("Is it?", "It is?"), frame=frame), [contrast])


def test_whole_prompts_without_a_common_end_are_fused_at_the_logits(loaded, tiny_model):
    model = loaded()
    texts = ("The river is", "What is the river", "One")
    asked = ensemble(model, ["avg", "vote", "per_prompt", "origin"], prefix="")
    found = asked.run([Request("q", texts, frame=whole_frame(model.tokenizer))])
    for text, member in zip(texts, found["per_prompt"][0].members, strict=True):
        wanted = plain_generate(tiny_model("llama"), model.tokenizer(text)["input_ids"], 8)
        assert list(member.token_ids) == wanted
    first = [member.token_ids[0] for member in found["per_prompt"][0].members]
    assert len(set(first)) > 1, "they differ, so avg has something to fuse"
    parts = whole_frame(model.tokenizer).parts(texts)
    wanted = greedy_tied_slowly(model, parts, "avg", (1, 1, 1), 8)
    assert list(found["avg"][0].token_ids) == wanted


def test_a_rule_that_fails_fails_its_own_questions_alone(loaded):
    def picky(logits, weights):
        if logits.shape[-2] == 2:
            raise ValueError("two")
        return logits.mean(dim=-2)

    asked = ensemble(loaded(), "avg")
    stream = asked.stream(_mixed())
    stream.join(_mixed(), [resolve_method(picky)])
    outcomes, _ = _by_number(stream)
    failed = [key for key, found in outcomes.items() if isinstance(found, Unanswered)]
    assert [number for number, _ in failed] == [8]
    assert "ValueError: two" in outcomes[failed[0]].error
    expected = asked.run(_mixed())["avg"]
    assert [tokens([outcomes[n, "avg"]]) for n in range(5)] == [tokens([e]) for e in expected]


def test_what_is_not_finite_is_an_error_of_its_question_alone(loaded):
    model = loaded()
    asked = ensemble(model, ["flex_attention", "vote"])
    expected = asked.run(requests())
    bad = Request("bad", ("Bad \u00e9?", "Worse?"))
    token = model.tokenizer("\u00e9")["input_ids"][0]
    with torch.no_grad():
        model.model.get_input_embeddings().weight[token] = torch.nan
    outcomes, _ = _by_number(asked.stream([*requests(), bad]))
    for method in ("flex_attention", "vote"):
        assert outcomes[3, method].error == asked.run([bad])[method][0].error
        for number in range(3):
            assert tokens([outcomes[number, method]]) == tokens([expected[method][number]])


def test_a_question_that_cannot_be_asked_keeps_those_beside_it_out(loaded):
    asked = ensemble(loaded(), "avg")
    stream = asked.stream(requests())
    with pytest.raises(UserError, match="Wording 0 is empty"):
        stream.join([Request("fine", ("Is it?", "It?")), Request("bad", (" ",))])
    assert stream.join([Request("later", ("One?",))]) == range(3, 4)
    outcomes, _ = _by_number(stream)
    assert sorted(number for number, _ in outcomes) == [0, 1, 2, 3]


def test_several_threads_can_ask_one_model(loaded):
    model = loaded()
    expected = ensemble(model, "avg").run(requests())["avg"]
    eager = ensemble(model, "avg", attention="eager")
    found = {}

    def ask(name, asked):
        found[name] = [tokens(asked.run(requests())["avg"]) for _ in range(5)]

    threads = [
        threading.Thread(target=ask, args=("sdpa", ensemble(model, "avg"))),
        threading.Thread(target=ask, args=("eager", eager)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(("sdpa", "eager"), [tokens(expected)] * 5)


def test_a_pass_waits_for_its_turn(loaded):
    model = loaded()
    asked = ensemble(model, "avg")
    thread = threading.Thread(target=lambda: asked.run(requests()))
    with one_at_a_time(model.model):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert asked.counters.forwards == 0
    thread.join(20)
    assert asked.counters.forwards > 0


def test_nothing_is_computed_that_nobody_waits_for(loaded):
    asked = ensemble(loaded(), "avg")
    wanted = iter([True, True, False])
    with pytest.raises(GivenUp), while_wanted(lambda: next(wanted)):
        asked.run(requests())
    assert asked.counters.forwards == 2
    assert asked.run(requests())["avg"]


@pytest.mark.parametrize(
    ("text", "stop", "settled"),
    [
        ("no ST", ("STOP",), "no "), ("no STO", ("STOP", "OPS"), "no "),
        ("no STOP", ("STOP",), "no "),
        ("STx", ("STOP",), "STx"), ("aa", ("aab",), ""), ("baa", ("aab",), "b"), ("ab", (), "ab"),
    ],
)  # fmt: skip
def test_what_may_become_a_stop_string_is_kept_back(tiny_tokenizer, text, stop, settled):
    rule = StopRule(tiny_tokenizer, frozenset(), stop, max_new_tokens=100)
    assert rule.settled(tiny_tokenizer(text)["input_ids"]) == settled


@settings(max_examples=200)
@given(
    text=st.text(st.sampled_from("abcSTOP é中🎉\n"), max_size=30),
    stop=st.lists(st.sampled_from(["STOP", "OPS", "é中", "🎉🎉", "\n", "ab"]), max_size=3),
)
def test_a_growing_text_never_takes_anything_back(tiny_tokenizer, text, stop):
    ids = tiny_tokenizer(text)["input_ids"]
    rule = StopRule(tiny_tokenizer, frozenset(), tuple(stop), max_new_tokens=100)
    end = next((n for n in range(1, len(ids) + 1) if rule.reason(ids[:n])), len(ids))
    whole, before = rule.text(ids[:end]), ""
    for n in range(1, end):
        settled = rule.settled(ids[:n])
        assert whole.startswith(settled)
        assert settled.startswith(before)
        assert "\ufffd" not in settled
        before = settled
