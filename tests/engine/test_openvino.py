"""The OpenVINO engine answers as the reference engine does, whatever is asked."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from asking import METHODS, PREFIX, QUESTIONS, WEIGHTS, ensemble, ready, requests, tokens
from families import tiny_family
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_layouts import packed_batches

from self_ensemble.errors import UserError
from self_ensemble.passes import batch, memory
from self_ensemble.passes.batch import advance
from self_ensemble.passes.engine import Engine
from self_ensemble.passes.prefill import encode_prefix, prefill
from self_ensemble.walking.sampling import Sampling

pytest.importorskip("openvino", reason='needs pip install "self-ensemble[openvino]"')

from self_ensemble.models import openvino_load
from self_ensemble.models.openvino_load import make_graph

FAMILIES = [
    ("llama", {}), ("llama", {"num_heads": 6, "num_kv_heads": 2}), ("qwen2", {}),
    ("qwen3", {"sliding_window": 24}), ("mistral", {"sliding_window": 24}),
]  # fmt: skip
MIXED = (*QUESTIONS, ("Two bridges?", "Are there two of them?"), ("One?",))
CLOSE = {"rtol": 0, "atol": 1e-3}


@pytest.fixture(scope="module")
def both(tiny_model, tiny_tokenizer):
    """Factory: a tiny model, and the same one with a graph."""
    made = {}

    def make(family="llama", **options):
        key = (family, *options.items())
        if key not in made:
            if family == "smollm3":
                model = tiny_family(family, tiny_tokenizer)
            else:
                model = tiny_model(family, **options)
            loaded = ready(model, tiny_tokenizer)
            graph = make_graph(model, torch.float32, "tiny")
            made[key] = loaded, replace(loaded, graph=graph)
        return made[key]

    return make


def _mixed():
    return requests(MIXED, [*WEIGHTS, (0.4, 0.6), (1.0,)])


@pytest.mark.parametrize(("family", "options"), [*FAMILIES, ("smollm3", {})])
def test_every_method_answers_token_by_token_as_the_reference(both, family, options):
    plain, graph = (ensemble(loaded) for loaded in both(family, **options))
    expected, found = (one.run(_mixed()) for one in (plain, graph))
    for method in METHODS:
        for right, answer in zip(expected[method], found[method], strict=True):
            assert answer.token_ids == right.token_ids, method
            assert tokens(answer.members) == tokens(right.members)
            torch.testing.assert_close(
                torch.tensor(answer.logprobs), torch.tensor(right.logprobs), **CLOSE
            )
    for name in ("prefix_tokens", "prompt_tokens", "decode_tokens", "forwards", "logit_rows"):
        assert getattr(graph.counters, name) == getattr(plain.counters, name), name


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": ""},
        {"positions": "contiguous", "method": "flex_attention"},
        {"fusion_point": "last_segment", "segment_weights": "none"},
        {"sampling": Sampling(temperature=1.5, top_p=0.95, seed=3)},
    ],
    ids=["no prefix", "contiguous", "last segment", "sampled"],
)
def test_every_setting_answers_as_the_reference(both, options):
    plain, graph = (ensemble(loaded, **options) for loaded in both())
    expected, found = (one.run(_mixed()) for one in (plain, graph))
    for method, answers in expected.items():
        assert tokens(found[method]) == tokens(answers)


@settings(max_examples=25)
@given(packed_batches(), st.data())
def test_any_layout_and_any_way_through_it_has_the_references_logits(both, drawn, data):
    variant, questions = drawn
    family, options = data.draw(st.sampled_from(FAMILIES))
    layouts = [variant.layout(parts) for parts in questions]
    engines = [Engine(loaded, "sdpa") for loaded in both(family, **options)]
    each = [prefill(one, layouts, encode_prefix(one, questions[0].prefix)) for one in engines]
    for _ in range(3):
        (_, right), (_, found) = each
        torch.testing.assert_close(found.logits_MV, right.logits_MV, **CLOSE)
        # Some nodes end, others fork.
        walkers = data.draw(
            st.lists(
                st.tuples(st.integers(0, len(right.rows_M) - 1), st.integers(5, 200)),
                min_size=1, max_size=6,
            )
        )  # fmt: skip
        nodes, ids = (torch.tensor(one) for one in zip(*walkers, strict=True))
        with torch.inference_mode():
            each = [(batch, advance(batch, front, nodes, ids)[0]) for batch, front in each]


def test_rows_that_outgrow_their_room_keep_what_they_have_read(both):
    asked = ensemble(both()[0], "origin")
    layouts = [asked_layout(asked, wording) for wording in ("Who built the bridge?", "When?")]
    engines = [Engine(loaded, "sdpa") for loaded in both()]
    each = [prefill(one, layouts, encode_prefix(one, asked.frame.prefix)) for one in engines]
    rooms = set()
    for step in range(40):
        (_, right), (_, found) = each
        torch.testing.assert_close(found.logits_MV, right.logits_MV, **CLOSE)
        rooms.add(each[1][0].cache._request.rows.num_slots)
        # One question goes on in three ways and the other in one; that ends before the last.
        nodes = (right.rows_M == 0).nonzero()[:, 0].repeat(3 if step == 0 else 1)
        ids = torch.arange(len(nodes)) + 7 + step
        if step < 30:
            nodes = torch.cat([nodes, (right.rows_M == 1).nonzero()[:, 0]])
            ids = torch.cat([ids, torch.tensor([90 + step])])
        with torch.inference_mode():
            each = [(batch, advance(batch, front, nodes, ids)[0]) for batch, front in each]
    assert len(rooms) > 2, rooms


def test_what_a_batch_forgets_leaves_nothing_in_hidden_slots(both):
    asked = ensemble(both()[1], "origin")
    layouts = [asked_layout(asked, "Who built the bridge?")]
    engine = Engine(both()[1], "sdpa")
    batch, front = prefill(engine, layouts, encode_prefix(engine, asked.frame.prefix))
    read = batch.cache._request.rows
    with torch.inference_mode():
        advance(batch, front, torch.zeros(3, dtype=torch.long), torch.tensor([7, 8, 9]))
        # A value that masks do not undo: nothing times nan is nan.
        read.of_question(0)[:, :, -3:] = torch.nan
        batch.used_B -= 3
        found = advance(batch, front, torch.tensor([0]), torch.tensor([7]))[0]
        again = advance(batch, found, torch.tensor([0]), torch.tensor([8]))[0]
    assert again.logits_MV.isfinite().all()


def test_passes_read_the_rows_that_go_on_and_no_others(both):
    asked = ensemble(both()[1], "origin")
    engine = Engine(both()[1], "sdpa")
    layouts = [
        asked_layout(asked, wording) for wording in ("Who?", "When?", "Where?", "What?", "Why?")
    ]
    batch, front = prefill(engine, layouts, encode_prefix(engine, asked.frame.prefix))
    request = batch.cache._request
    read = []
    with torch.inference_mode():
        for rows in ([0, 1, 2, 3, 4], [0, 1, 2, 4], [2, 4], [4]):
            nodes = torch.tensor([front.rows_M.tolist().index(row) for row in rows])
            front = advance(batch, front, nodes, torch.full((len(rows),), 7))[0]
            read.append(request._given["kept.0"].shape[0])
    # Where four of five go on they stay where they are.
    assert read == [5, 5, 2, 1]


def test_a_second_batch_need_not_find_the_memory_that_the_first_one_hands_on(both, monkeypatch):
    from self_ensemble.models import openvino_rows

    loaded = replace(both()[1], graph=replace(both()[1].graph, spare=openvino_rows.Spare()))
    asked, needed = ensemble(loaded, "avg"), []
    asked.prefix()
    asked.run(_mixed())  # scores are counted once
    monkeypatch.setattr(openvino_rows, "FEWEST", 1)
    monkeypatch.setattr(batch, "check_fits", needed.append)
    asked.run(_mixed())
    first = max(needed)
    assert loaded.graph.spare.new_bytes(1) == 4, "much larger pieces only"
    needed.clear()
    asked.run(_mixed())
    assert max(needed) < first


def test_questions_that_join_a_stream_are_answered_as_by_themselves(both):
    plain, graph = (ensemble(loaded) for loaded in both())
    expected = plain.run(_mixed())
    stream = graph.stream(_mixed()[:2])
    told = [*stream.step(), *stream.step()]
    stream.join(_mixed()[2:])
    told += [step for steps in stream for step in steps]
    outcomes = {(step.number, step.method): step.outcome for step in told if step.outcome}
    for method, answers in expected.items():
        found = [outcomes[number, method] for number in range(len(MIXED))]
        assert tokens(found) == tokens(answers)


def test_two_batches_at_once_do_not_read_each_other(both):
    engine = Engine(both()[1], "sdpa")
    asked = ensemble(both()[1], "origin")
    prefix = asked.prefix()
    one, other = (
        prefill(engine, [asked_layout(asked, wording)], prefix) for wording in ("Who?", "When?")
    )
    token = torch.tensor([7])
    first = advance(*one, torch.tensor([0]), token)[0].logits_MV.clone()
    advance(*other, torch.tensor([0]), token)
    again = prefill(engine, [asked_layout(asked, "Who?")], prefix)
    torch.testing.assert_close(
        advance(*again, torch.tensor([0]), token)[0].logits_MV, first, rtol=0, atol=0
    )


def asked_layout(asked, wording):
    from self_ensemble.packing.layout import build_layout

    return build_layout(asked.frame.parts((wording,)))


@pytest.mark.parametrize("method", ["flex_attention", "avg"])
def test_attribution_that_leaves_wordings_out_is_the_references(both, method):
    kinds = ["leave_one_out", "shapley"]
    plain, graph = (ensemble(loaded, method) for loaded in both())
    right, found = (one.attribute(requests()[0], kinds) for one in (plain, graph))
    for kind in kinds:
        torch.testing.assert_close(
            torch.tensor(found[kind].values), torch.tensor(right[kind].values), **CLOSE
        )


def test_a_batch_is_left_as_it_was_by_what_is_attributed(both):
    # Tails are forgotten, so that what comes behind stands where it would have stood.
    graph = ensemble(both()[1], "flex_attention", prefix=PREFIX)
    request = requests()[0]
    kinds = ["shapley", "leave_one_out", "shapley"]
    first, _, again = (graph.attribute(request, [kind])[kind] for kind in kinds)
    assert first.values == again.values


def test_likelihoods_and_traces_are_the_references(both):
    asked = [(request, (17, 30, 8)) for request in requests()]
    plain, graph = (ensemble(loaded, ("flex_attention", "max")) for loaded in both())
    for method in ("flex_attention", "max", "per_prompt"):
        right, found = (one.log_likelihoods(asked, method) for one in (plain, graph))
        for a, b in zip(right, found, strict=True):
            torch.testing.assert_close(torch.tensor(b.logprobs), torch.tensor(a.logprobs), **CLOSE)
    right, found = (one.trace(requests()[1]) for one in (plain, graph))
    assert [step.answer for step in found.steps] == [step.answer for step in right.steps]


def _rounded(model):
    """A copy whose linear layers have weights of 8 bits, each output with a scale of its own."""
    copy = deepcopy(model)
    for layer in copy.modules():
        if isinstance(layer, torch.nn.Linear):
            scale = layer.weight.abs().amax(dim=1, keepdim=True) / 127
            layer.weight.data = (layer.weight / scale).round() * scale
    return copy


def test_weights_in_8_bits_are_those_of_a_model_rounded_by_hand(
    tiny_model, tiny_tokenizer, monkeypatch
):
    model = tiny_model("qwen2")
    monkeypatch.setattr(openvino_load, "_group", lambda model: 0)  # what goes in stays as it is
    by_graph = ready(model, tiny_tokenizer)
    by_graph = replace(by_graph, graph=make_graph(model, torch.int8, "tiny"), dtype=torch.int8)
    by_hand = ready(_rounded(model), tiny_tokenizer)
    expected, found = (ensemble(one, "avg").run(_mixed())["avg"] for one in (by_hand, by_graph))
    assert tokens(found) == tokens(expected)
    for right, answer in zip(expected, found, strict=True):
        torch.testing.assert_close(
            torch.tensor(answer.logprobs), torch.tensor(right.logprobs), **CLOSE
        )


def test_inputs_are_rounded_in_groups_that_divide_them_all(tiny_model, tiny_tokenizer):
    model = tiny_model("llama")
    assert openvino_load._group(model) == 32  # of 64 and 96
    loaded = ready(model, tiny_tokenizer)
    rounded = replace(loaded, graph=make_graph(model, torch.int8, "tiny"), dtype=torch.int8)
    right, found = (ensemble(one, "flex_attention").run(_mixed()) for one in (loaded, rounded))
    for a, b in zip(right["flex_attention"], found["flex_attention"], strict=True):
        # The first token, behind the same prompt; those behind it may be others.
        assert b.logprobs[0] == pytest.approx(a.logprobs[0], abs=0.5)
        assert b.logprobs[0] != a.logprobs[0]


def test_a_pass_whose_scores_do_not_fit_is_refused_before_it_is_begun(
    tiny_model, tiny_tokenizer, monkeypatch
):
    model = tiny_model("llama")
    loaded = ready(model, tiny_tokenizer)
    loaded = replace(loaded, graph=make_graph(model, torch.float32, "tiny"))
    asked, needed = ensemble(loaded, "avg"), []
    asked.prefix()
    monkeypatch.setattr(batch, "check_fits", needed.append)
    asked.run(_mixed())
    first = needed[:]
    needed.clear()
    asked.run(_mixed())
    # OpenVINO keeps the memory of the first time, three wordings of 4 heads in 3 layers.
    pairs = loaded.graph.most_pairs
    assert max(first) - max(needed) > pairs * 4 * 3 * 3
    monkeypatch.undo()
    monkeypatch.setattr(memory, "ASKED_FROM", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)
    with pytest.raises(torch.OutOfMemoryError):
        asked.run(_mixed())


def test_attention_mass_is_refused_with_what_there_is_instead(both):
    graph = ensemble(both()[1], "flex_attention")
    with pytest.raises(UserError, match=r"queries and keys, which --engine openvino keeps to"):
        graph.attribute(requests()[0], ["mass"])
    with pytest.raises(UserError, match="leave_one_out or shapley, or use --engine torch"):
        graph.trace(requests()[0], attribution=["mass"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": "captured"}, "--decode captured makes steps of PyTorch's"),
        ({"attention": "flex"}, "has attention of its own, and --attention is flex"),
        ({"attention": "eager"}, "has attention of its own, and --attention is eager"),
    ],
)
def test_what_a_graph_cannot_do_is_refused(both, options, message):
    with pytest.raises(UserError, match=message):
        ensemble(both()[1], **options)
