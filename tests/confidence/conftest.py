"""A tiny model that can be asked whether an answer is true."""

from collections.abc import Callable

import pytest
import torch
from tests.engine.asking import ready

from self_ensemble.models.load import LoadedModel


@pytest.fixture(scope="session")
def loaded(tiny_judge) -> Callable[..., LoadedModel]:
    """Factory with the arguments of `tiny_judge`."""

    def make(**options: object) -> LoadedModel:
        torch.set_num_threads(1)
        return ready(*tiny_judge(**options))

    return make
