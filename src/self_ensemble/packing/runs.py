"""Runs of tokens that wordings have in common, so that none is encoded twice.

    Q : what is the capital of France ?       run 0  Q :                      wordings 0, 1, 2
    Q : what is France 's capital ?           run 1  what is                  wordings 0, 1
    Q : name the capital of France .          run 2  the capital of France ?  wording 0
                                              run 3  France 's capital ?      wording 1
                                              run 4  name the ... France .    wording 2

With aligned positions a token's keys and values depend on the tokens before it alone, so wordings
that begin alike share them, and each run becomes a group of the packed sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens that stand at the same place in one or several wordings.

    Attributes:
        token_ids: The tokens, one or more.
        start: Place of the first of them in its wordings.
        wordings: Indices of the wordings that go through them, ascending.
    """

    token_ids: tuple[int, ...]
    start: int
    wordings: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + len(self.token_ids)


def separate_runs(spans: Sequence[tuple[int, ...]]) -> list[Run]:
    """One run per wording, whatever they have in common."""
    return [Run(span, 0, (index,)) for index, span in enumerate(spans)]


def shared_runs(spans: Sequence[tuple[int, ...]]) -> list[Run]:
    """The edges of the prefix tree of the wordings, parents before children.

    A wording reads the runs that it goes through, in order; equal wordings have all of them in
    common.
    """
    runs: list[Run] = []

    def grow(members: tuple[int, ...], start: int) -> None:
        end = start
        while all(len(spans[m]) > end for m in members) and (
            len({spans[m][end] for m in members}) == 1
        ):
            end += 1
        if end > start:
            runs.append(Run(spans[members[0]][start:end], start, members))
        branches: dict[int, list[int]] = {}
        for m in members:
            if len(spans[m]) > end:
                branches.setdefault(spans[m][end], []).append(m)
        for branch in branches.values():
            grow(tuple(branch), end)

    grow(tuple(range(len(spans))), 0)
    return runs
