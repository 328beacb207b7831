"""The decode steps of an engine, each set up once."""

from dataclasses import dataclass, field
from typing import Any

import torch

from self_ensemble.captured.step import Step, StepShape
from self_ensemble.models.load import LoadedModel
from self_ensemble.passes.cache import Layers


@dataclass(slots=True)
class StepPool:
    """The steps of an engine by their shape, all behind one prefix.

    Attributes:
        steps: Those that were set up and are kept.
        num_set_up: How many were set up so far.
    """

    steps: dict[StepShape, Step] = field(default_factory=dict)
    num_set_up: int = 0
    _graphs: Any = None

    def get(self, model: LoadedModel, shape: StepShape, prefix: Layers, compiled: bool) -> Step:
        """The step of a shape; set up where there is none. Another prefix clears the pool."""
        if any(step.prefix is not prefix for step in self.steps.values()):
            self.clear()
        if shape not in self.steps:
            if self._graphs is None and model.device.type == "cuda":
                self._graphs = torch.cuda.graph_pool_handle()
            self.steps[shape] = Step(model, shape, prefix, compiled, self._graphs)
            self.num_set_up += 1
        return self.steps[shape]

    def clear(self) -> None:
        """Free all buffers and graphs."""
        for step in self.steps.values():
            step.release()
        self.steps.clear()
        self._graphs = None
