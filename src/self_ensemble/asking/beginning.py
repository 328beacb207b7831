"""Questions prefilled together, with all that is needed to decode them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from self_ensemble.asking.layout import Streams, original_only, relative_weights
from self_ensemble.asking.methods import Method
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Request
from self_ensemble.asking.tracks import make_tracks
from self_ensemble.passes.batch import Batch, Frontier
from self_ensemble.walking.loop import Decoding, Track
from self_ensemble.walking.stopping import StopRule


class Begun(NamedTuple):
    """A batch that is ready to be decoded; see `walking.loop.decode`."""

    batch: Batch
    frontier: Frontier
    tracks: list[Track]
    weights_BN: Tensor
    keys: list[str]
    stops: list[StopRule]
    num_top: list[int]

    def decoding(self) -> Decoding:
        """Its way on the tree."""
        return Decoding.of(*self)


@dataclass(frozen=True, slots=True)
class Beginner:
    """Prefills questions.

    Attributes:
        prefiller: Encodes them.
        stop_of: When the answers of a question end.
    """

    prefiller: Prefiller
    stop_of: Callable[[Request], StopRule]

    def begin(
        self, methods: Sequence[Method], requests: Sequence[Request], first_answer: int = 0
    ) -> Begun:
        """Prefill questions with as many wordings each, for methods that share a prefill.

        Args:
            methods: The methods.
            requests: The questions.
            first_answer: Number of the first wording that is continued alone.

        Raises:
            UserError: A question that cannot be asked.
        """
        if all(method.kind == "original" for method in methods):
            requests = [original_only(request) for request in requests]
        num_wordings = len(requests[0].wordings)
        streams = Streams.of(methods, num_wordings)
        batch, frontier = self.prefiller.prefill(requests, methods, streams)
        settings = [request.settings or self.prefiller.settings for request in requests]
        samplings = tuple(one.sampling for one in settings)
        weights = [relative_weights(r.weights or (1.0,) * num_wordings) for r in requests]
        return Begun(
            batch,
            frontier,
            make_tracks(methods, streams, samplings, first_answer),
            torch.tensor(weights),
            [request.key for request in requests],
            [self.stop_of(request) for request in requests],
            [one.num_top for one in settings],
        )
