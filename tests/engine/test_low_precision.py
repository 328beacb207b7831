"""16-bit models on a CPU: keys, values and attention are float32, all else is the model's type."""

import pytest
import torch
from asking import QUESTIONS, ensemble

from self_ensemble.packing.layout import build_layout
from self_ensemble.passes.prefill import prefill


def prefilled(asked):
    layouts = [build_layout(asked.frame.parts(one), alone=range(3)) for one in QUESTIONS]
    return prefill(asked.engine, layouts, asked.prefix())


# The compiler itself uses what its own library deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["sdpa", "eager", "flex"])
def test_the_cache_is_float32_and_logits_are_near_those_of_float32(loaded, backend, dtype):
    exact = loaded("llama")
    _, expected = prefilled(ensemble(exact, attention=backend))
    rough = loaded("llama")
    rough.model.to(dtype)
    batch, found = prefilled(ensemble(rough, attention=backend))
    assert {buffer.dtype for buffer in batch.cache.keys + batch.cache.values} == {torch.float32}
    assert rough.model.lm_head.weight.dtype == dtype
    # Rounding of a few dozen products; attention in the wrong layout would be off by the whole.
    scale = expected.logits_MV.abs().max()
    assert (found.logits_MV - expected.logits_MV).abs().max() < 20 * torch.finfo(dtype).eps * scale
