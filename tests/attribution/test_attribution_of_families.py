"""Attribution works for every causal family of transformers that answers at all."""

import numpy as np
import pytest
from tests.engine.asking import QUESTIONS, ensemble, ready
from tests.engine.families import WORKS, tiny_family

from self_ensemble.asking.request import Request
from self_ensemble.oracle.reference import attention_of_tail

# Their eager attention returns the weights from before the sinks take their share.
SINKS_AFTERWARDS = ("granite_swa", "granitemoe_swa")


pytestmark = pytest.mark.usefixtures("quiet_transformers")


@pytest.mark.parametrize("family", sorted(WORKS))
def test_mass_is_the_models_own_and_all_wordings_together_are_the_run(
    family, tiny_tokenizer, prefix_apart
) -> None:
    loaded = ready(tiny_family(family, tiny_tokenizer), tiny_tokenizer)
    asked = ensemble(loaded, "flex_attention", max_new_tokens=3)
    request = Request("q", QUESTIONS[0])
    (answer,) = asked.run([request])["flex_attention"]
    found = asked.attribute(request, ["mass", "leave_one_out"], answer=answer)
    np.testing.assert_allclose(found["leave_one_out"].full, answer.logprobs, atol=2e-3)
    parts, given = asked.frame.parts(request.wordings), answer.token_ids[:-1]
    weights, owners = attention_of_tail(loaded, parts, given, [1 / 3] * 3)
    mean = weights.mean(dim=1).numpy()
    expected = np.stack(
        [mean[:, [owner == ("segment", n) for owner in owners]].sum(axis=1) for n in range(3)],
        axis=1,
    )
    layers = np.array([layer.wordings[-1] for layer in found["mass"].per_layer])
    if family in SINKS_AFTERWARDS:
        assert (layers <= expected + 1e-6).all()
    else:
        np.testing.assert_allclose(layers, expected, atol=1e-3)
