"""The rounds: every rival in turn, again and again, so that all meet the machine's moods alike."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.ceilings import Ceilings, seconds
from benchmarks.memory import peak_bytes
from benchmarks.rival import Rival, Walks
from benchmarks.roofline import Needed
from benchmarks.work import Work, model_as_it_was


@dataclass(frozen=True, slots=True)
class Lap:
    """One repetition of one rival, in seconds.

    Attributes:
        prefix_s: Encoding the shared prefix.
        first_s: All batches up to their first token, without the prefix, in a run of its own; nan
            if not measured.
        answers_s: All batches up to their last token.
    """

    prefix_s: float
    first_s: float
    answers_s: float

    @property
    def total_s(self) -> float:
        """What a user waits for: the prefix once, then the answers."""
        return self.prefix_s + self.answers_s


@dataclass(slots=True)
class Measured:
    """A rival and what was measured of it.

    Attributes:
        rival: The rival.
        needed: The passes that its answers need; None where they were not looked at.
        peak_bytes: Peak memory of answering everything; nan where unknown.
        num_tokens: Tokens through the model in one repetition, the shared prefix included.
        laps: Its repetitions.
    """

    rival: Rival
    needed: Needed | None
    peak_bytes: float
    num_tokens: int
    laps: list[Lap] = field(default_factory=list)


def measure(
    work: Work,
    rivals: Sequence[Rival],
    ceilings: Ceilings,
    *,
    repeats: int,
    published_repeats: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> list[Measured]:
    """Warm every rival up, then measure them round-robin.

    Args:
        work: What the rivals answer.
        rivals: Who takes part.
        ceilings: Measured again in every round.
        repeats: Rounds.
        published_repeats: Rounds in which the published loop takes part; it takes far longer.
        report: Is told what is being done.
    """
    with model_as_it_was(work.loaded):
        measured = []
        for rival in rivals:
            report(f"warming up {rival.name}")
            measured.append(_warm_up(work, rival))
        for number in range(repeats):
            ceilings.measure()
            # Each round starts with another rival: nobody always runs on a core just cooled down.
            turn = number % max(len(measured), 1)
            for one in measured[turn:] + measured[:turn]:
                if one.rival.name != "published" or number < published_repeats:
                    report(f"round {number + 1} of {repeats}: {one.rival.name}")
                    one.laps.append(_lap(work, one.rival))
    return measured


def measure_once(work: Work, rival: Rival) -> Measured:
    """One full run, warmed up with one batch, for works too long to be repeated.

    Neither first tokens nor answers are looked at, so that nothing is kept but what the rival
    keeps itself.
    """
    with model_as_it_was(work.loaded):
        rival.prepare()
        next(rival.answer(work.max_new_tokens))
        laps: list[Lap] = []
        before = rival.num_tokens()

        def run() -> None:
            prefix_s = _prefix_seconds(work, rival)
            answers_s = seconds(work.loaded.device, lambda: _drain(rival, work.max_new_tokens))
            laps.append(Lap(prefix_s, math.nan, answers_s))

        peak = peak_bytes(work.loaded.device, run)
        return Measured(rival, None, peak, rival.num_tokens() - before, laps)


def _warm_up(work: Work, rival: Rival) -> Measured:
    """Run for first tokens, then in full for answers, memory and counters."""
    rival.prepare()
    _drain(rival, 1)
    walks: Walks = []

    def run_and_look() -> None:
        for answers in rival.answer(work.max_new_tokens):
            walks.extend(rival.walks(answers))

    before = rival.num_tokens()
    _prefix_seconds(work, rival)
    peak = peak_bytes(work.loaded.device, run_and_look)
    num_tokens = rival.num_tokens() - before
    if not work.ends_early:
        lengths = {len(walk.token_ids) for answers in walks for walk in answers}
        assert lengths == {work.max_new_tokens}, f"{rival.name} answered with {lengths} tokens"
    return Measured(rival, rival.needed(walks), peak, num_tokens)


def _lap(work: Work, rival: Rival) -> Lap:
    device = work.loaded.device
    rival.prepare()
    first_s = seconds(device, lambda: _drain(rival, 1))
    prefix_s = _prefix_seconds(work, rival)
    answers_s = seconds(device, lambda: _drain(rival, work.max_new_tokens))
    return Lap(prefix_s, first_s, answers_s)


def _prefix_seconds(work: Work, rival: Rival) -> float:
    encode = rival.encode_prefix
    return 0.0 if encode is None else seconds(work.loaded.device, encode)


def _drain(rival: Rival, num_tokens: int) -> None:
    # Dropped batch by batch: what a caller does with answers is not the rival's memory.
    for _ in rival.answer(num_tokens):
        pass
