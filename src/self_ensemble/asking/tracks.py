"""What is decoded for some methods from one prefill, and which method gets what of it.

Each tied method walks by itself; wordings that are continued alone are walked once, for all
methods that want them.
"""

from collections.abc import Sequence

from self_ensemble.asking.layout import Streams
from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Request, Settings
from self_ensemble.walking.loop import Decoded, Track
from self_ensemble.walking.sampling import Sampling

ALONE = "per_prompt"


def passes(
    methods: tuple[Method, ...], requests: Sequence[Request], settings: Settings
) -> list[tuple[Method, ...]]:
    """Methods that share a prefill.

    Wordings continued alone must not notice the others, so a layout in which wordings read each
    other or count positions through serves the fused stream only.
    """
    own = [request.settings or settings for request in requests]
    mixed = any(one.positions == "contiguous" for one in own) or any(r.readable for r in requests)
    if not mixed:
        return [methods]
    fused = tuple(method for method in methods if method.kind == "fused")
    others = tuple(method for method in methods if method.kind != "fused")
    return [some for some in (fused, others) if some]


def make_tracks(
    methods: Sequence[Method],
    streams: Streams,
    samplings: tuple[Sampling, ...],
    first_answer: int,
) -> list[Track]:
    """The tracks of some methods; answers of wordings alone are numbered from the last."""
    tracks = [
        Track(method.name, streams.of_rule(method), samplings, method.rule)
        for method in methods
        if method.kind == "tied"
    ]
    tracks += [Track(m.name, (0,), samplings) for m in methods if m.kind == "fused"]
    if any(method.goes_alone for method in methods):
        tracks.append(Track(ALONE, streams.alone, samplings, first_answer=first_answer))
    return tracks


def by_method(
    methods: Sequence[Method], tracks: Sequence[Track], decoded: list[list[list[Decoded]]]
) -> dict[str, list[list[Decoded]]]:
    """Of each method, of each question: its one answer, or those of all wordings."""
    by_track = {track.name: rows for track, rows in zip(tracks, decoded, strict=True)}
    return {
        method.name: [
            found[:1] if method.kind == "original" else list(found)
            for found in by_track[ALONE if method.goes_alone else method.name]
        ]
        for method in methods
    }
