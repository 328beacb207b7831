"""Attention mass against the weights of the model's own eager attention, recomputed in full."""

import math

import pytest
import torch
from tests.engine.asking import FAMILIES, QUESTIONS, ensemble, ready
from tests.engine.families import tiny_family

from self_ensemble.asking.request import Request
from self_ensemble.attribution.kinds import Mass
from self_ensemble.oracle.reference import attention_of_tail

WINDOWS = [(family, None) for family in FAMILIES] + [
    ("mistral", 8), ("gemma2", 8), ("qwen3", 8), ("gemma3", 8)
]  # fmt: skip
WEIGHTS = (0.2, 0.5, 0.3)
# float32 sums in another order
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def _mass(asked, wordings=QUESTIONS[0], **options) -> Mass:
    request = Request("q", wordings, segment_weights=options.pop("weights", None))
    return asked.attribute(request, ["mass"], **options)["mass"]


def _rows(shares) -> torch.Tensor:
    """Prefix, wordings, cue and earlier answer of each token, `(T, N + 3)`."""
    columns = zip(shares.prefix, shares.wordings, shares.cue, shares.earlier, strict=True)
    return torch.tensor([[p, *each, cue, earlier] for p, each, cue, earlier in columns])


def _expected(untouched, asked, weights, token_ids) -> torch.Tensor:
    """The same of each layer from its definition, `(L, T, N + 3)`."""
    parts = asked.frame.parts(QUESTIONS[0])
    rows = []
    for length in range(len(token_ids)):
        found, owners = attention_of_tail(untouched, parts, token_ids[:length], weights)
        tail = len(owners) - len(parts.cue) - length
        places = {("prefix", 0): 0, **{("segment", n): n + 1 for n in range(3)}}
        row = torch.zeros(len(found), 6)
        for place, owner in enumerate(owners):
            kind = places[owner] if place < tail else 4 if place < tail + len(parts.cue) else 5
            row[:, kind] += found[:, :, place].mean(dim=1)
        rows.append(row)
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("apart", [True, False], ids=["prefix_apart", "prefix_in_rows"])
@pytest.mark.parametrize(("family", "window"), WINDOWS)
def test_it_is_the_mass_of_the_models_own_eager_attention(
    loaded, request, family, window, apart
) -> None:
    if apart:
        request.getfixturevalue("prefix_apart")
    asked = ensemble(
        loaded(family, sliding_window=window), "flex_attention", segment_weights="given"
    )
    mass = _mass(asked, weights=WEIGHTS)
    untouched = loaded(family, sliding_window=window)
    expected = _expected(untouched, asked, WEIGHTS, mass.token_ids)
    found = torch.stack([_rows(layer) for layer in mass.per_layer])
    torch.testing.assert_close(found, expected, **TOLERANCE)
    mean = torch.tensor([[*row] for row in mass.values])
    torch.testing.assert_close(mean, expected.mean(dim=0)[:, 1:4], **TOLERANCE)
    torch.testing.assert_close(torch.tensor(mass.total), mean.mean(dim=0))
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(found.shape[:2]))


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize("backend", ["flex", "eager"])
def test_every_backend_has_the_same_mass(loaded, family, backend) -> None:
    window = 8 if family == "mistral" else None
    masses = [
        _mass(ensemble(loaded(family, sliding_window=window), attention=one))
        for one in (backend, "sdpa")
    ]
    assert masses[0].token_ids == masses[1].token_ids
    found, expected = (torch.stack([_rows(layer) for layer in mass.per_layer]) for mass in masses)
    torch.testing.assert_close(found, expected, **TOLERANCE)


def test_what_attention_sinks_take_is_nobodys(tiny_tokenizer, prefix_apart) -> None:
    model = tiny_family("gpt_oss", tiny_tokenizer)
    asked = ensemble(ready(model, tiny_tokenizer))
    mass = _mass(asked)
    untouched = ready(tiny_family("gpt_oss", tiny_tokenizer), tiny_tokenizer)
    expected = _expected(untouched, asked, [1 / 3] * 3, mass.token_ids)
    found = torch.stack([_rows(layer) for layer in mass.per_layer])
    torch.testing.assert_close(found, expected, **TOLERANCE)
    assert found.sum(dim=-1).min() < 0.995


def test_few_scores_at_once_give_the_same_mass(loaded, monkeypatch) -> None:
    asked = ensemble(loaded(), "flex_attention")
    expected = _mass(asked)
    monkeypatch.setattr("self_ensemble.passes.mass.SCORES_AT_ONCE", 1)
    torch.testing.assert_close(_rows(_mass(asked).per_layer[2]), _rows(expected.per_layer[2]))


def test_where_the_cue_is_part_of_the_wordings_the_last_alone_predicts_the_first_token(
    loaded,
) -> None:
    mass = _mass(ensemble(loaded(), fusion_point="last_segment"))
    assert mass.values[0][:2] == (0.0, 0.0)
    assert mass.values[0][2] > 0.01
    assert min(mass.values[1]) > 0.0
    assert set(mass.cue) == {0.0}


def test_a_wording_without_weight_gets_no_mass(loaded) -> None:
    asked = ensemble(loaded(), segment_weights="given")
    assert _mass(asked, weights=(0.5, 0.0, 0.5)).total[1] == 0.0


def test_equal_copies_get_equal_mass(loaded) -> None:
    total = _mass(ensemble(loaded()), (QUESTIONS[0][0],) * 4).total
    assert max(total) - min(total) < 1e-7
    assert min(total) > 0.01


VARIANTS = [
    {"positions": "contiguous"}, {"fusion_point": "last_segment"},
    {"positions": "contiguous", "fusion_point": "last_segment"}, {"readable": ((1, 0), (2, 1))},
    {"readable": ((2, 0),), "fusion_point": "last_segment"},
]  # fmt: skip


@torch.inference_mode()
def _by_hand(model, parts, given, positions="aligned", fusion_point="cue", readable=()):
    """Mass of each wording for the token behind `given`, from its definition, `(L, 3)`."""
    placed, behind, cue = [(n, "prefix") for n in range(len(parts.prefix))], len(parts.prefix), []
    ids = list(parts.prefix)
    for n, segment in enumerate(parts.segments):
        own = segment + (parts.cue if fusion_point == "last_segment" else ())
        start = len(parts.prefix) if positions == "aligned" else behind
        placed += [(start + m, n) for m in range(len(own))]
        behind = max(behind, start + len(own)) if positions == "aligned" else start + len(own)
        ids += own
    if fusion_point == "cue":
        cue = list(parts.cue)
    placed += [(behind + m, "fused") for m in range(len(cue) + len(given))]
    ids += [*cue, *given]
    mask = torch.full((1, 1, len(ids), len(ids)), torch.finfo(torch.float32).min)
    for q, (_, reader) in enumerate(placed):
        for k, (_, read) in enumerate(placed[: q + 1]):
            if read in ("prefix", reader) or (reader, read) in readable:
                mask[0, 0, q, k] = 0.0
            elif reader == "fused":
                mask[0, 0, q, k] = -math.log(3)
    model.set_attn_implementation("eager")
    output = model(
        input_ids=torch.tensor([ids]), attention_mask=mask, use_cache=False,
        position_ids=torch.tensor([[place for place, _ in placed]]), output_attentions=True,
    )  # fmt: skip
    weights = torch.stack([layer[0, :, -1].mean(dim=0) for layer in output.attentions])
    of = [[place for place, (_, owner) in enumerate(placed) if owner == n] for n in range(3)]
    return torch.stack([weights[:, places].sum(dim=1) for places in of], dim=1)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_layout_has_the_mass_of_its_definition(loaded, variant) -> None:
    settings = {name: value for name, value in variant.items() if name != "readable"}
    asked = ensemble(loaded(), "flex_attention", **settings)
    request = Request("q", QUESTIONS[0], readable=variant.get("readable", ()))
    mass = asked.attribute(request, ["mass"])["mass"]
    parts, model = asked.frame.parts(QUESTIONS[0]), loaded().model
    for place in range(len(mass.tokens)):
        found = torch.tensor([layer.wordings[place] for layer in mass.per_layer])
        expected = _by_hand(model, parts, mass.token_ids[:place], **variant)
        torch.testing.assert_close(found, expected, **TOLERANCE)


def test_a_last_wording_without_weight_predicts_nothing(loaded) -> None:
    asked = ensemble(
        loaded(), "flex_attention", fusion_point="last_segment", segment_weights="given"
    )
    request = Request("q", QUESTIONS[0], segment_weights=(1.0, 1.0, 0.0))
    found = asked.attribute(request, ["mass"])["mass"]
    assert {row[2] for row in found.values} == {0.0}
    # The last that has a weight reads itself alone.
    assert found.values[0][0] == 0.0 < found.values[0][1]
