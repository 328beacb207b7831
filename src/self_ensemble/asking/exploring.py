"""Many continuations of prompts of one wording each: what confidences are read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from self_ensemble.asking.isolation import Continued, explore_apart
from self_ensemble.asking.layout import Streams
from self_ensemble.asking.methods import Method
from self_ensemble.asking.outcomes import OutcomeMaker
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Outcome, Request
from self_ensemble.walking.loop import Track, decode
from self_ensemble.walking.sampling import Sampling

ALONE = Method("per_prompt", "alone")


class Explored(NamedTuple):
    """Many continuations of one prompt.

    Attributes:
        greedy: The greedy one, if asked for.
        samples: The sampled ones.
        first_logits: Logits of the first token, `(V,)`, float32, on the CPU; not finite where the
            model's are not.
    """

    greedy: Outcome | None
    samples: tuple[Outcome, ...]
    first_logits: torch.Tensor


@dataclass(frozen=True, slots=True)
class Explorer:
    """Continues prompts.

    Attributes:
        prefiller: Encodes them.
        outcomes: Makes answers of what was decoded.
    """

    prefiller: Prefiller
    outcomes: OutcomeMaker

    def explore(
        self, requests: Sequence[Request], num_samples: int, sampling: Sampling, *, greedy: bool
    ) -> list[Explored]:
        """See `Ensemble.explore`."""
        assert all(len(request.wordings) == 1 for request in requests), "one wording each"
        if not requests:
            return []
        tracks = [Track("greedy", (0,), (Sampling(),))] if greedy else []
        if num_samples:
            tracks.append(Track("samples", (0,) * num_samples, (sampling,)))
        is_finite = self.prefiller.next_is_finite
        explored = explore_apart(self._continued, is_finite, tracks, requests)
        return [
            self._explored(request, continued)
            for request, continued in zip(requests, explored, strict=True)
        ]

    def _continued(self, tracks: Sequence[Track], requests: Sequence[Request]) -> list[Continued]:
        batch, frontier = self.prefiller.prefill(requests, (ALONE,), Streams(False, 1, False))
        first_logits = frontier.logits_MV.cpu()
        keys = [request.key for request in requests]
        weights = torch.ones(len(requests), 1)
        stops = [self.outcomes.stop_of(request) for request in requests]
        decoded = decode(batch, frontier, tracks, weights, keys, stops) if tracks else []
        return [
            (
                {t.name: rows[row] for t, rows in zip(tracks, decoded, strict=True)},
                first_logits[row],
            )
            for row in range(len(requests))
        ]

    def _explored(self, request: Request, continued: Continued) -> Explored:
        by_track, first_logits = continued
        greedy, samples = (
            tuple(self.outcomes.of_one(ALONE, request, one, 0) for one in by_track.get(name, ()))
            for name in ("greedy", "samples")
        )
        return Explored(greedy[0] if greedy else None, samples, first_logits)
