"""A pass that does not fit into a host's memory is refused before it is begun."""

import pytest
import torch
from asking import METHODS, ensemble, requests, tokens

from self_ensemble.decoding import batch, memory
from self_ensemble.decoding.memory import check_fits, free_bytes, pass_bytes, slot_bytes
from self_ensemble.packing.layout import build_layout


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "qwen3"])
def test_slots_take_what_the_cache_holds(loaded, family):
    asked = ensemble(loaded(family), "avg")
    parts = [asked.frame.parts(one.wordings) for one in requests()]
    layouts = [build_layout(part, fused=False, alone=range(3)) for part in parts]
    filled, _ = asked.engine.prefill(layouts, asked.prefix())
    num_slots = filled.cache.keys[0].shape[1]
    expected = num_slots * len(layouts) * slot_bytes(asked.model.model.config, 4)
    assert filled.cache.num_bytes() == expected
    assert filled.cache.slots_to_add(num_slots) == 0
    assert filled.cache.slots_to_add(num_slots + 1) == 64


def test_a_pass_takes_its_logits_at_least(loaded):
    config = loaded("llama").model.config
    more = pass_bytes(config, 4, 7, 5) - pass_bytes(config, 4, 7, 3)
    assert more >= 2 * 2 * config.vocab_size * 4


def test_a_run_that_does_not_fit_is_refused_and_goes_on_where_it_fits(loaded, monkeypatch):
    monkeypatch.setattr(memory, "ASKED_FROM", 0)
    expected = ensemble(loaded("llama")).run(requests())
    asked = ensemble(loaded("llama"))
    taken = []
    with monkeypatch.context() as patch:
        patch.setattr(batch, "check_fits", taken.append)
        for request in requests():
            asked.run([request])
    monkeypatch.setattr(memory, "free_bytes", lambda: max(taken))
    with pytest.raises(torch.OutOfMemoryError, match="GiB are free"):
        asked.run(requests())
    for place, request in enumerate(requests()):
        found = asked.run([request])
        for method in METHODS:
            assert tokens(found[method]) == tokens(expected[method])[place : place + 1]


def test_little_is_taken_without_asking(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)
    check_fits(memory.ASKED_FROM - 1)
    with pytest.raises(torch.OutOfMemoryError, match=r"about 0\.06 GiB, and 0\.00 GiB are free"):
        check_fits(memory.ASKED_FROM)


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"": "max", "job": "max"}, None),
        ({"": "max", "job": "1000"}, 1000 - 600 + 100),
        ({"": "900", "job": "1000"}, 900 - 600 + 100),
        ({"job": "1000"}, 1000 - 600 + 100),
        ({}, None),
    ],
)
def test_limits_of_a_container_and_of_what_it_lies_in_count(tmp_path, monkeypatch, limits, left):
    for level, limit in limits.items():
        folder = tmp_path / level
        folder.mkdir(exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("600\n")
        (folder / "memory.stat").write_text("anon 400\ninactive_file 100\n")
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/elsewhere\n0::/job\n")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUPS", own)
    if left is None:
        assert free_bytes() > 1 << 20
    else:
        assert free_bytes() == left


def test_without_cgroups_the_machine_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "none")
    assert free_bytes() > 1 << 20
