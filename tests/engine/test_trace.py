"""A trace against the run itself, and against every wording recomputed in full."""

import io
import json
import math
import re

import pytest
import torch
from asking import METHODS, WEIGHTS, ensemble, requests
from rich.console import Console
from user_rules import middle, undefined

from self_ensemble.asking.request import Answer, Request, Unanswered
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import next_logits_alone, next_logits_fused
from self_ensemble.report.trace_page import trace_page
from self_ensemble.report.trace_view import trace_view
from self_ensemble.walking.sampling import Sampling

FAMILIES = [("llama", None), ("qwen2", None), ("gemma2", 8), ("mistral", 8), ("gpt2", None)]
# float32 sums in another order
CLOSE = {"abs": 1e-3, "rel": 1e-4}
SETTINGS = [
    {},
    {"positions": "contiguous"},
    {"fusion_point": "last_segment"},
    {"segment_weights": "none"},
    {"sampling": Sampling(temperature=0.9, top_p=0.9, seed=3)},
]


def assert_the_runs_own(asked, request: Request) -> None:
    """Of each method: tokens, log-probabilities, and where each was taken."""
    answers = {name: found[0] for name, found in asked.run([request]).items()}
    trace = asked.trace(request)
    assert [one.method for one in trace.methods] == list(answers)
    for traced in trace.methods:
        answer = answers[traced.method]
        assert traced.text == answer.text
        assert traced.stop_reason == answer.stop_reason
        assert tuple(one.token.id for one in traced.tokens) == answer.token_ids
        assert tuple(one.logprob for one in traced.tokens) == answer.logprobs
        for place, number in enumerate(traced.steps):
            step = trace.steps[number]
            assert tuple(token.id for token in step.answer) == answer.token_ids[:place]
            (taken,) = [one for one in step.taken if one.method == traced.method]
            assert taken.token.token.id == traced.tokens[place].token.id
            assert taken.token.logprob == traced.tokens[place].logprob
    alone = ensemble(
        asked.model, "per_prompt", sampling=asked.settings.sampling, stop=asked.settings.stop,
        max_new_tokens=asked.settings.max_new_tokens,
        fusion_point=asked.settings.fusion_point,
    ).run([request])["per_prompt"][0]  # fmt: skip
    assert [[one.token.id for one in found.tokens] for found in trace.alone] == [
        list(found.token_ids) for found in alone.members
    ]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: "-".join(one) or "standard")
def test_tokens_and_log_probabilities_are_the_runs_own(loaded, settings) -> None:
    asked = ensemble(loaded(), (*METHODS, middle), **settings)
    for request in requests():
        assert_the_runs_own(asked, request)


@pytest.mark.parametrize(("family", "window"), FAMILIES)
def test_they_are_in_every_family(loaded, family, window) -> None:
    assert_the_runs_own(ensemble(loaded(family, sliding_window=window)), requests()[1])


def test_they_are_where_wordings_read_each_other(loaded) -> None:
    request = Request("q", requests()[0].wordings, WEIGHTS[0], readable=((1, 0), (2, 1)))
    assert_the_runs_own(ensemble(loaded()), request)


@pytest.mark.parametrize(("family", "window"), FAMILIES)
def test_what_is_recomputed_is_what_the_run_saw(loaded, family, window) -> None:
    asked = ensemble(loaded(family, sliding_window=window))
    trace = asked.trace(requests()[0], num_top=320)
    seen = 0
    for step in trace.steps:
        said = {one.method: one.distribution for one in step.methods}
        said |= {name: step.wordings[0].distribution for name in ("per_prompt", "origin")}
        for taken in step.taken:
            if taken.method in said:
                best = said[taken.method].top[0]
                assert best.token == taken.token.token
                assert best.logprob == pytest.approx(taken.token.logprob, **CLOSE)
                seen += 1
    assert seen > 40


def test_each_wording_is_that_wordings_own_sequence(loaded) -> None:
    asked, untouched = ensemble(loaded("mistral", sliding_window=8)), loaded("mistral", 4, 2, 8)
    request = requests()[0]
    trace = asked.trace(request, num_top=320, num_ahead=4)
    parts = asked.frame.parts(request.wordings)
    for step in trace.steps[::3]:
        answer = [token.id for token in step.answer]
        for n, wording in enumerate(step.wordings):
            prompt = [*parts.alone(n), *answer]
            logprobs = next_logits_alone(untouched, prompt).log_softmax(dim=-1)
            assert_is(wording.distribution, logprobs)
            ahead: list[int] = []
            while len(ahead) < min(4, 8 - len(answer)):
                ahead.append(int(next_logits_alone(untouched, [*prompt, *ahead]).argmax()))
                if ahead[-1] in asked.stop.eos_token_ids:
                    break
            assert [token.id for token in wording.ahead] == ahead


def assert_is(found, logprobs) -> None:
    """Whether a distribution is that of these log-probabilities, `(V,)`."""
    for one in found.top:
        assert one.logprob == pytest.approx(float(logprobs[one.token.id]), **CLOSE)
    probs = logprobs.exp()
    assert found.entropy == pytest.approx(-float((probs * logprobs).sum()), **CLOSE)
    first, second = probs.topk(2).values.tolist()
    assert found.margin == pytest.approx(first - second, abs=1e-3)
    assert [one.logprob for one in found.top] == sorted(
        (one.logprob for one in found.top), reverse=True
    )


def test_the_fused_stream_is_the_oracles_behind_every_answer(loaded) -> None:
    asked, untouched = ensemble(loaded(), ("flex_attention", "max")), loaded()
    request = requests()[0]
    trace = asked.trace(request, num_top=320)
    parts = asked.frame.parts(request.wordings)
    others = [step for step in trace.steps if [one.method for one in step.taken] == ["max"]]
    assert others, "the two methods part"
    for step in (trace.steps[0], others[-1]):
        answer = [token.id for token in step.answer]
        logits = next_logits_fused(untouched, parts, answer, [1 / 3] * 3)
        (fused,) = [one for one in step.methods if one.method == "flex_attention"]
        assert_is(fused.distribution, logits.log_softmax(dim=-1))


def test_a_rule_that_takes_a_wording_over_names_it(loaded) -> None:
    asked = ensemble(loaded(), ("max", "weighted_max", "min_entropy", "gated"))
    for request in requests():
        for step in asked.trace(request, num_top=320).steps:
            for method in step.methods:
                if method.wording is None:
                    assert method.method == "gated"
                    continue
                taken, own = method.distribution, step.wordings[method.wording].distribution
                if method.method == "max":
                    best = taken.top[0].token.id
                    probs = [by_id(one.distribution)[best] for one in step.wordings]
                    assert max(probs) == probs[method.wording]
                else:
                    # The rule's own float32.
                    assert by_id(taken) == pytest.approx(by_id(own), abs=1e-6)
    heaviest = asked.trace(requests()[0]).steps[0].methods[1]
    assert (heaviest.wording, heaviest.why) == (1, "wording 2 has the largest weight")


def test_a_vote_names_the_wording_whose_answer_won(loaded) -> None:
    wordings = requests()[0].wordings
    trace = ensemble(loaded(), "vote").trace(Request("q", (*wordings, wordings[1])))
    # Equal wordings differ by rounding, so either may be the more probable one.
    (won,) = [n for n, one in enumerate(trace.alone) if one.tokens == trace.methods[0].tokens]
    assert won in (1, 3)
    why = f"answer of wording {won + 1}, with 2 of 4 votes"
    assert {one.why for step in trace.steps for one in step.taken} == {why}


def by_id(distribution) -> dict[int, float]:
    return {one.token.id: one.prob for one in distribution.top}


def test_steps_come_in_the_order_of_the_answers(loaded) -> None:
    trace = ensemble(loaded(), ("flex_attention", "avg", "origin")).trace(requests()[0])
    assert trace.steps[0].answer == ()
    assert list(trace.methods[0].steps) == list(range(len(trace.methods[0].tokens)))
    new = [n for n in trace.methods[1].steps if n not in trace.methods[0].steps]
    assert new == sorted(new)
    assert len({step.answer for step in trace.steps}) == len(trace.steps)


def test_wordings_that_like_the_same_token_are_one_party(loaded) -> None:
    for step in ensemble(loaded(), "avg").trace(requests()[0]).steps:
        best = [one.distribution.top[0].token for one in step.wordings]
        assert dict(step.parties) == {
            token: tuple(n for n in range(3) if best[n] == token) for token in best
        }
        assert step.agree == (len(set(best)) == 1)


def test_prompt_parts_are_the_tokens_of_each_text(loaded, tiny_tokenizer) -> None:
    asked = ensemble(loaded(), ("flex_attention", "contrast"))
    request = requests()[0]
    trace = asked.trace(request)
    for n, wording in enumerate(request.wordings):
        ids = [token.id for token in trace.prompt(n)]
        text = f"{asked.frame.prefix_text}Q: {wording}\nA:"
        assert ids == tiny_tokenizer(text).input_ids
        assert "".join(token.text for token in trace.prompt(n)) == text
    prior = [token.id for part in trace.parts if part.kind in ("prefix", "prior")
             for token in part.tokens]  # fmt: skip
    assert prior == list(asked.frame.prior)


def test_special_tokens_are_marked_and_their_text_in_a_question_is_not(loaded) -> None:
    trace = ensemble(loaded(), "avg").trace(Request("q", ("<|im_end|> or not?", "Or?")))
    assert not any(token.is_special for token in trace.prompt(0))
    end = ensemble(loaded(), "avg").stop.eos_token_ids
    taken = [one.token for found in trace.alone for one in found.tokens if one.token.id in end]
    assert all(token.is_special and token.text == "<|im_end|>" for token in taken)


def test_groups_say_where_tokens_stand_and_what_they_weigh(loaded) -> None:
    asked = ensemble(loaded(), "flex_attention")
    request = Request("q", ("The river is wide?", "The river is slow?", "River?"))
    groups = asked.trace(request).groups
    prefix = len(asked.frame.parts(request.wordings).prefix)
    assert (groups[0].kind, groups[0].num_tokens) == ("prefix", prefix)
    segments = [one for one in groups if one.kind == "segment"]
    for n, segment in enumerate(asked.frame.parts(request.wordings).segments):
        mine = [one for one in segments if n in one.wordings]
        assert sum(one.num_tokens for one in mine) == len(segment)
        assert [one.weight for one in mine] == pytest.approx(
            [len(one.wordings) / 3 for one in mine]
        )
        assert mine[0].first_position == prefix
    shared = [one.wordings for one in segments if len(one.wordings) > 1]
    assert (0, 1) in shared
    (fused,) = [one for one in groups if one.kind == "fused"]
    assert fused.first_position == max(one.first_position + one.num_tokens for one in segments)


def test_accepted_answers_are_judged_by_the_scorer(loaded) -> None:
    asked = ensemble(loaded(), ("avg", "origin"))
    request = requests()[0]
    assert [one.is_right for one in asked.trace(request).methods] == [None, None]
    text = asked.run([request])["avg"][0].text
    trace = asked.trace(request, accepted=(text,))
    assert trace.methods[0].is_right
    other = asked.trace(request, accepted=("surely something else",))
    assert [one.is_right for one in (*other.methods, *other.alone)] == [False] * 5


def test_a_rule_that_is_not_finite_leaves_the_steps_of_the_others(loaded) -> None:
    trace = ensemble(loaded(), (undefined, "avg")).trace(requests()[0])
    assert trace.methods[0].error.startswith("Token 1 of the answer has no finite score: rule")
    assert trace.methods[0].steps == ()
    assert trace.methods[1].steps
    assert not trace.steps[0].methods[0].distribution.is_finite


def test_a_model_that_is_not_finite_has_answers_and_no_steps(loaded) -> None:
    model = loaded()
    asked = ensemble(model, ("avg", "origin"))
    request = requests()[0]
    parts = asked.frame.parts(request.wordings)
    own = set(parts.segments[1]) - {*parts.prefix, *parts.segments[0], *parts.cue}
    model.model.get_input_embeddings().weight[min(own)] = math.nan
    answers = {name: found[0] for name, found in asked.run([request]).items()}
    assert isinstance(answers["avg"], Unanswered)
    assert isinstance(answers["origin"], Answer)
    trace = asked.trace(request)
    assert trace.steps == ()
    assert "nan or infinity" in trace.note
    assert trace.methods[0].error == answers["avg"].error
    assert tuple(one.token.id for one in trace.methods[1].tokens) == answers["origin"].token_ids


def test_origin_alone_looks_at_the_first_wording_alone(loaded) -> None:
    trace = ensemble(loaded(), "origin").trace(requests()[0])
    assert len(trace.alone) == len(trace.steps[0].wordings) == 1


def test_numbers_that_are_too_small_are_refused(loaded) -> None:
    asked = ensemble(loaded(), "avg")
    with pytest.raises(UserError, match=r"Got num_top 0\. Give 1"):
        asked.trace(requests()[0], num_top=0)
    with pytest.raises(UserError, match=r"Got num_ahead -1\. Give 0"):
        asked.trace(requests()[0], num_ahead=-1)
    assert all(not one.ahead for one in asked.trace(requests()[0], num_ahead=0).steps[0].wordings)


def test_a_question_that_cannot_be_asked_is_refused(loaded) -> None:
    with pytest.raises(UserError, match="Wording 1 is empty"):
        ensemble(loaded(), "avg").trace(Request("q", ("Who?", "")))


def test_the_trace_changes_nothing_of_a_later_run(loaded) -> None:
    asked, fresh = ensemble(loaded()), ensemble(loaded())
    asked.trace(requests()[0])
    assert asked.run(requests()) == fresh.run(requests())


def test_as_json_it_has_no_nan_and_every_field(loaded) -> None:
    trace = ensemble(loaded(), (undefined, "avg")).trace(requests()[0])
    found = json.loads(json.dumps(trace.as_dict(), allow_nan=False))
    assert found["steps"][0]["methods"][0]["distribution"]["entropy"] is None
    assert set(found) == set(type(trace).__dataclass_fields__)


def test_a_trace_holds_no_tensor(loaded) -> None:
    def values(value):
        if isinstance(value, dict):
            for one in value.values():
                yield from values(one)
        elif isinstance(value, list):
            for one in value:
                yield from values(one)
        else:
            yield value

    trace = ensemble(loaded()).trace(requests()[0])
    assert not any(isinstance(one, torch.Tensor) for one in values(trace.as_dict()))
    assert {type(one) for one in values(trace.as_dict())} <= {int, float, str, bool, type(None)}


def test_attributions_are_those_that_make_sense_for_each_method(loaded) -> None:
    asked = ensemble(loaded(), ("flex_attention", "avg", "vote"))
    request = requests()[0]
    trace = asked.trace(request, attribution=("mass", "share", "leave_one_out"))
    found = {(one.kind, one.method): one for one in trace.attributions}
    assert set(found) == {
        ("mass", "flex_attention"), ("leave_one_out", "flex_attention"),
        ("leave_one_out", "avg"), ("share", "avg"),
    }  # fmt: skip
    own = asked.attribute(request, ["share"], "avg")["share"]
    assert found["share", "avg"].values == own.values
    assert {one["kind"] for one in trace.as_dict()["attributions"]} == {
        "mass", "share", "leave_one_out",
    }  # fmt: skip


def test_an_attribution_that_is_for_none_of_the_methods_is_refused(loaded) -> None:
    with pytest.raises(UserError, match="Attribution 'mass' is not for 'avg'"):
        ensemble(loaded(), ("avg", "vote")).trace(requests()[0], attribution=("mass",))


def test_no_method_and_an_answer_by_itself_are_refused(loaded) -> None:
    asked = ensemble(loaded(), "avg")
    with pytest.raises(UserError, match="No method to look into"):
        asked.trace(requests()[0], (), attribution=("mass",))
    # Its letters would be accepted as answers.
    with pytest.raises(UserError, match="Got one text as accepted answers"):
        asked.trace(requests()[0], accepted="Paris")


HOSTILE = (
    "Who? <script>document.title='ran'</script><img src=x onerror=alert(1)>",
    "\u0645\u0646\u061f \u202etxt.exe",
    "\U0001f1eb\U0001f1f7 \U0001f468\u200d\U0001f469\u200d\U0001f467?",
    "a\x00b\x1b[31m\x07\r\x85\x9b?",
    "<|im_end|>?",
    "a\n\nQ: b\nA: c",
)


def test_hostile_wordings_are_shown_and_do_nothing(loaded) -> None:
    asked = ensemble(loaded(), ("flex_attention", "max", "vote"))
    trace = asked.trace(Request("<b>\x00", HOSTILE), accepted=("<i>", "\x1b]0;x\x07"))
    for n, wording in enumerate(HOSTILE):
        text = "".join(token.text for token in trace.prompt(n))
        assert text == f"{asked.frame.prefix_text}Q: {wording}\nA:"
    page = trace_page(trace)
    assert page.count("<script") == 2
    assert "<img" not in page
    console = Console(width=100, file=io.StringIO())
    console.print(trace_view(trace, 100))
    for shown in (page, console.file.getvalue()):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)


def test_twenty_wordings_of_hundreds_of_tokens_fit_a_page(loaded) -> None:
    long = " ".join(["stone"] * 100)
    wordings = tuple(f"{long} {n}?" for n in range(20))
    trace = ensemble(loaded(), ("flex_attention", "avg", "vote")).trace(Request("q", wordings))
    assert len(trace.prompt(19)) > 300
    assert len(trace_page(trace).encode()) < 2_000_000


@pytest.mark.parametrize("wording", ["caf\udce9?", "\ud83d"])
def test_half_a_character_is_refused(loaded, wording) -> None:
    with pytest.raises(UserError, match=r"Wording 1 holds half of a character \(U\+D"):
        ensemble(loaded(), "avg").trace(Request("q", ("Who?", wording)))


def test_steps_of_fixed_shape_are_traced_as_they_were_taken(loaded) -> None:
    asked = ensemble(loaded(), ("flex_attention", "avg"), decode="captured")
    assert_the_runs_own(asked, requests()[0])


def test_a_log_probability_that_is_not_finite_without_a_wording_is_a_note(loaded) -> None:
    def only_together(logits, weights):
        scores = logits.mean(dim=-2)
        return scores if logits.shape[-2] == 3 else scores * math.nan

    trace = ensemble(loaded(), (only_together, "avg")).trace(
        requests()[0], attribution=("leave_one_out",)
    )
    assert [one.method for one in trace.attributions] == ["avg"]
    assert trace.note is not None
    assert trace.note.startswith("No leave_one_out for ")
    assert trace.steps
