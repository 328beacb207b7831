"""Steps of fixed shape: the tree's answers, few shapes, and no waiting for tokens."""

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import user_rules
from asking import FAMILIES, METHODS, PREFIX, QUESTIONS, ensemble, requests, tokens
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.asking.layout import Streams, request_layouts
from self_ensemble.captured import decode as captured
from self_ensemble.captured.decode import _Answers
from self_ensemble.captured.step import Step, StepShape
from self_ensemble.errors import UserError
from self_ensemble.models.packed_linear import pack_linears
from self_ensemble.passes.lengths import FEWEST_SLOTS, slot_bucket
from self_ensemble.passes.prefill import encode_prefix
from self_ensemble.walking.sampling import Sampling

WINDOW = 24  # shorter than the prefix with a question


def same_answers(model, methods=METHODS, asked=None, **options):
    """Compare both ways to decode; returns the ensemble that captured."""
    asked = requests() if asked is None else asked
    tree = ensemble(model, methods, **options).run(asked)
    capturing = ensemble(model, methods, decode="captured", **options)
    found = capturing.run(asked)
    assert found.keys() == tree.keys()
    for method, answers in tree.items():
        assert tokens(found[method]) == tokens(answers)
        for one, two in zip(found[method], answers, strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
            assert one.stop_reason == two.stop_reason
            assert one.text == two.text
    return capturing


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_answers_as_on_the_tree(loaded, family):
    same_answers(loaded(family))


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 2), (7, 1)])
def test_query_heads_that_share_keys_read_their_own(loaded, heads):
    same_answers(loaded("llama", *heads), ["flex_attention", "avg"])


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3"])
def test_a_sliding_window_slides_over_prefix_prompt_and_answer(loaded, family):
    model = loaded(family, sliding_window=WINDOW)
    narrow = same_answers(model, ["flex_attention", "per_prompt"], max_new_tokens=WINDOW + 8)
    assert len(narrow.frame.prefix) > WINDOW
    wide = ensemble(loaded(family), ["per_prompt"], decode="captured").run(requests())
    assert tokens(wide["per_prompt"]) != tokens(narrow.run(requests())["per_prompt"])


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": ""},
        {"max_new_tokens": 1},
        {"max_new_tokens": 40},
        {"stop": ("a", "e", " ")},
        {"segment_weights": "none"},
        {"positions": "contiguous"},
        {"fusion_point": "last_segment"},
        {"attention": "eager"},
    ],
    ids=str,
)
def test_settings_change_both_ways_alike(loaded, options):
    same_answers(loaded("llama"), **options)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_it_goes_on_behind_a_prefill_by_flex(loaded):
    same_answers(loaded("llama"), ["flex_attention", "avg"], attention="flex")


def test_buffers_have_the_type_of_the_prefill(loaded):
    model = loaded("llama")
    model.model.to(torch.bfloat16)
    asked = ensemble(model, ["avg"], decode="captured")
    answers = asked.run(requests())["avg"]
    (step,) = asked.steps.steps.values()
    # On a CPU keys and values of 16-bit models are widened.
    assert {buffer.dtype for buffer in step.keys + step.values} == {torch.float32}
    first = ensemble(model, ["avg"], max_new_tokens=1).run(requests())["avg"]
    assert [answer.token_ids[:1] for answer in answers] == [one.token_ids for one in first]


# The compiler itself uses what its own library deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(
    ("family", "window", "method"),
    [("llama", None, "flex_attention"), ("gemma3", WINDOW, "contrast")],
)
def test_compiled_steps_answer_as_the_tree(loaded, family, window, method):
    model = loaded(family, sliding_window=window)
    tree = ensemble(model, [method]).run(requests())
    compiling = ensemble(model, [method], decode="compiled")
    for _ in range(2):
        assert tokens(compiling.run(requests())[method]) == tokens(tree[method])
    (step,) = compiling.steps.steps.values()
    assert step.compiled
    assert compiling.counters.captures == 1


def test_a_pass_that_does_not_compile_is_refused(loaded, monkeypatch):
    def mask(step, window):
        # A branch on data, which no one graph can hold.
        return F.pad(step._bias_BKS, (1, 0)) if step._positions.sum() > 0 else None

    monkeypatch.setattr(Step, "_mask", mask)
    with pytest.raises(UserError, match=r"cannot be compiled .* Use --decode captured"):
        ensemble(loaded("llama"), ["avg"], decode="compiled").run(requests())


def test_packed_layers_cannot_be_compiled(loaded):
    model = loaded("llama")
    pack_linears(model.model)
    with pytest.raises(UserError, match="--decode compiled cannot compile packed linear layers"):
        ensemble(model, decode="compiled")
    same_answers(model, ["avg"])


@pytest.mark.parametrize("num_questions", [1, 2, 3])
def test_batches_of_any_size_and_order_share_buffers(loaded, num_questions):
    model = loaded("llama")
    tree = ensemble(model, ["flex_attention", "avg"])
    capturing = ensemble(model, ["flex_attention", "avg"], decode="captured")
    for start in (0, 2, 1, 0):
        asked = (requests() * 2)[start : start + num_questions]
        expected, found = tree.run(asked), capturing.run(asked)
        assert {name: tokens(one) for name, one in found.items()} == {
            name: tokens(one) for name, one in expected.items()
        }
    assert capturing.counters.captures == len(capturing.steps.steps) == 2


def test_no_more_steps_are_captured_than_there_are_buckets(loaded):
    """200 questions of random lengths, in batches of random sizes."""
    rng = random.Random(0)
    words = [word for sentence in QUESTIONS[2] for word in sentence.split()]
    questions = [
        tuple(" ".join(rng.choices(words, k=rng.randint(1, 20))) for _ in range(3))
        for _ in range(200)
    ]
    asked = ensemble(loaded("llama"), ["flex_attention"], decode="captured", max_new_tokens=3)
    todo = requests(questions, None)
    lengths, buckets, num_batches = set(), set(), 0
    while todo:
        batch, todo = todo[: (size := rng.randint(1, 9))], todo[size:]
        asked.run(batch)
        longest = max(_prompt_length(asked, request) for request in batch)
        lengths.add(longest)
        buckets.add((1 << (len(batch) - 1).bit_length(), slot_bucket(longest + 2)))
        num_batches += 1
    assert len(lengths) > 20
    assert asked.counters.captures == len(buckets) < num_batches / 2
    assert {(rows, slots) for rows, _, slots in asked.steps.steps} == buckets


def _prompt_length(asked, request):
    streams = Streams.of(asked.methods, len(request.wordings))
    (layout,) = request_layouts(
        [request], asked.methods, streams, asked.frame, asked.settings, asked.model
    )
    return len(layout.token_ids)


@given(st.integers(1, 10_000))
def test_a_bucket_holds_what_is_asked_and_little_of_it_is_free(num_slots):
    size = slot_bucket(num_slots)
    assert size >= num_slots
    assert size == FEWEST_SLOTS or size - num_slots < size / 3
    assert slot_bucket(size) == size
    rows = StepShape.holding(num_slots, 3, 5).num_rows
    assert rows // 2 < num_slots <= rows


def test_the_prefix_is_held_once_for_all_rows(loaded):
    asked = same_answers(loaded("llama"), ["flex_attention"], prefix=6 * PREFIX)
    (step,) = asked.steps.steps.values()
    assert len(asked.frame.prefix) > step.shape.num_slots
    assert all(buffer.shape[2] == step.shape.num_slots for buffer in step.keys + step.values)
    for mine, theirs in zip(step.prefix, asked.prefix().layers, strict=True):
        assert all(one is two for one, two in zip(mine, theirs, strict=True))


def test_the_host_is_some_steps_behind(loaded, monkeypatch):
    model = loaded("llama")
    stop = tuple("abcdefghijklmnopqrstuvwxyz .?")
    ended = ensemble(model, ["avg"], stop=stop).run(requests())["avg"]
    longest = max(len(answer.token_ids) for answer in ended)
    forwards = []
    for lag in (0, 2, 4):
        monkeypatch.setattr(captured, "LAG", lag)
        asked = ensemble(model, ["avg"], stop=stop, decode="captured", max_new_tokens=20)
        assert tokens(asked.run(requests())["avg"]) == tokens(ended)
        forwards.append(asked.counters.forwards)
    # Prefix, prefill, and a pass for every token but the last, seen so many steps late.
    assert forwards == [2 + longest - 1 + lag for lag in (0, 2, 4)]


def test_work_is_counted(loaded):
    asked = ensemble(
        loaded("llama"), ["flex_attention", "avg"], decode="captured", max_new_tokens=5
    )
    asked.run(requests())
    counters = asked.counters
    # Three questions fill four rows; one stream, then three.
    assert counters.captures == 2
    assert counters.forwards == 2 + 2 * 4
    assert counters.decode_tokens == 4 * (3 * 1 + 3 * 3)
    before = ensemble(loaded("llama"), ["flex_attention", "avg"], max_new_tokens=1)
    before.run(requests())
    assert counters.padding_tokens - before.counters.padding_tokens == 4 * (1 + 3)


def test_another_prefix_has_steps_of_its_own(loaded):
    asked = ensemble(loaded("llama"), ["avg"], decode="captured")
    first = asked.run(requests())["avg"]
    other = (*asked.frame.prefix[1:], asked.frame.prefix[0])
    asked.prefiller._prefix = encode_prefix(asked.engine, other)
    asked.run(requests())
    assert asked.counters.captures == 2
    assert len(asked.steps.steps) == 1
    asked.prefiller._prefix = None
    assert tokens(asked.run(requests())["avg"]) == tokens(first)


def test_what_a_batch_left_behind_does_not_reach_the_next(loaded):
    """Even nan: it would go through a mask, because 0 x nan is nan."""
    asked = ensemble(loaded("llama"), ["avg"], decode="captured")
    first = asked.run(requests())["avg"]
    (step,) = asked.steps.steps.values()
    with torch.inference_mode():
        for buffer in step.keys + step.values:
            buffer.fill_(float("nan"))
    assert asked.run(requests())["avg"] == first


def test_steps_are_freed_where_memory_runs_out(loaded, monkeypatch):
    asked = ensemble(loaded("llama"), ["flex_attention", "avg"], decode="captured")

    def run(step, tokens_BK):
        assert asked.steps.steps
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Step, "run", run)
    with pytest.raises(torch.OutOfMemoryError):
        asked.run(requests())
    assert not asked.steps.steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": "capture"}, "Unknown way to decode 'capture'. Did you mean 'captured'"),
        (
            {"decode": "captured", "sampling": Sampling(temperature=0.5)},
            "--decode captured is greedy, and the temperature is 0.5. Use --decode tree",
        ),
    ],
)
def test_what_cannot_be_captured_is_refused(loaded, options, message):
    with pytest.raises(UserError, match=message):
        ensemble(loaded("llama"), **options)


def test_a_model_on_several_devices_is_refused(loaded):
    model = loaded("llama")
    model.model.lm_head.weight = torch.nn.Parameter(
        model.model.lm_head.weight.to("meta"), requires_grad=False
    )
    with pytest.raises(UserError, match="needs the model on one device; it is on 2"):
        ensemble(model, decode="captured")


def test_a_rule_that_returns_no_scores_is_refused(loaded):
    with pytest.raises(UserError, match="Rule 'user_rules:nothing' returned NoneType"):
        ensemble(loaded("llama"), [user_rules.nothing], decode="captured").run(requests())


@pytest.mark.gpu
@pytest.mark.parametrize("decode", ["captured", "compiled"])
def test_nothing_waits_for_a_gpu_between_tokens(loaded, monkeypatch, decode):
    model = replace(loaded("llama"), device=torch.device("cuda"))
    model.model.to("cuda")
    methods = ["flex_attention", "avg", "per_prompt"]
    tree, capturing = ensemble(model, methods), ensemble(model, methods, decode=decode)
    send, take_in, run = _Answers.send, _Answers.take_in, Step.run

    def guarded(function, mode):
        def call(*arguments):
            torch.cuda.set_sync_debug_mode(mode)
            try:
                return function(*arguments)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        return call

    for size in (3, 1, 2, 3):
        # From the second round on shapes are there, and are used by other batches.
        asked = requests()[:size]
        expected, found = tree.run(asked), capturing.run(asked)
        for name in methods:
            assert tokens(found[name]) == tokens(expected[name])
        monkeypatch.setattr(_Answers, "send", guarded(send, "error"))
    monkeypatch.setattr(Step, "run", guarded(run, "error"))
    monkeypatch.setattr(_Answers, "take_in", guarded(take_in, "default"))
    assert tokens(capturing.run(requests())["avg"]) == tokens(tree.run(requests())["avg"])
