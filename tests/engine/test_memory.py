"""A pass that does not fit into a host's memory is refused before it is begun."""

from types import SimpleNamespace

import pytest
import torch
from asking import METHODS, ensemble, requests, tokens

from self_ensemble.captured import decode as captured
from self_ensemble.packing.layout import build_layout
from self_ensemble.passes import batch, memory
from self_ensemble.passes.cache import RowCache
from self_ensemble.passes.lengths import rounded_length
from self_ensemble.passes.memory import check_fits, free_bytes, pass_bytes, scores_bytes
from self_ensemble.passes.prefill import prefill


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "qwen3"])
def test_rows_grow_by_what_they_are_said_to_grow(loaded, family):
    asked = ensemble(loaded(family), "avg")
    parts = [asked.frame.parts(one.wordings) for one in requests()]
    layouts = [build_layout(part, fused=False, alone=range(3)) for part in parts]
    filled, _ = prefill(asked.engine, layouts, asked.prefix())
    cache = filled.cache
    before, num_slots = cache.num_bytes(), cache.keys[0].shape[1]
    assert before == RowCache(3, asked.prefix().layers, num_slots=num_slots).bytes_to_add()
    assert cache.bytes_to_add() == 0
    more = num_slots - int(filled.used_B[0]) + 1
    rows = torch.zeros(more, dtype=torch.long)
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "check_fits", said.append)
        filled.feed(rows + 5, rows, rows + 1, rows + 100, [0])
    grown = cache.num_bytes() - before
    config, num_tokens = asked.model.model.config, rounded_length(more)
    assert grown > 0
    assert said == [grown + pass_bytes(config, torch.float32, num_tokens, 1)]


def test_a_pass_takes_its_logits_at_least(loaded):
    config = loaded("llama").model.config
    more = pass_bytes(config, torch.float32, 7, 5) - pass_bytes(config, torch.float32, 7, 3)
    assert more >= 2 * 2 * config.vocab_size * 4


def test_scores_that_are_written_out_count(loaded):
    asked_for = []
    for attention in ("sdpa", "eager"):
        asked = ensemble(loaded("llama"), "avg", attention=attention)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "check_fits", asked_for.append)
            asked.prefix()
    config, length = asked.model.model.config, len(asked.frame.prefix)
    assert asked_for[1] - asked_for[0] == scores_bytes(config, length * length)
    assert scores_bytes(config, 1) >= 4 * config.num_attention_heads


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


UNLIMITED = str((1 << 63) - 4096)  # as version 1 says it


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"": None, "job": None}, None),
        ({"": None, "job": "1000"}, 1000 - 600 + 100),
        ({"": "900", "job": "1000"}, 900 - 600 + 100),
        ({"job": "1000"}, 1000 - 600 + 100),
        ({}, None),
    ],
)
def test_limits_of_a_container_and_of_what_it_lies_in_count(
    tmp_path, monkeypatch, limits, left, version
):
    name = f"VERSION_{version}"
    cgroups = getattr(memory, name)._replace(root=tmp_path)
    for level, limit in limits.items():
        folder = tmp_path / level
        folder.mkdir(exist_ok=True)
        unlimited = "max" if version == 2 else UNLIMITED
        (folder / cgroups.limit).write_text(f"{limit or unlimited}\n")
        (folder / cgroups.used).write_text("600\n")
        (folder / "memory.stat").write_text(f"anon 400\n{cgroups.droppable} 100\n")
    own = tmp_path / "cgroup"
    own.write_text("5:cpu,memory:/job\n4:pids:/\n" if version == 1 else "0::/job\n")
    monkeypatch.setattr(memory, name, cgroups)
    monkeypatch.setattr(memory, "OWN_CGROUPS", own)
    available = SimpleNamespace(available=5000)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: available)
    assert free_bytes() == (left or 5000)


def test_the_machine_itself_counts_where_a_container_may_have_more(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "none")
    assert 1 << 20 < free_bytes() < 1 << 50


def test_buffers_of_a_captured_step_count_when_they_are_set_up(loaded):
    said = []
    asked = ensemble(loaded("llama"), "flex_attention", decode="captured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captured, "check_fits", said.append)
        asked.run(requests())
        asked.run(requests())
    (step,) = asked.steps.steps.values()
    held = sum(buffer.nbytes for buffer in [*step.keys, *step.values])
    num_tokens = step.shape.num_rows * step.shape.num_streams
    taken = pass_bytes(asked.model.model.config, torch.float32, num_tokens, num_tokens)
    assert said == [held + taken]
