"""Requests that join what is being answered, beside batches that are answered to their end.

    joining     what has come joins before the next step, as in `self-ensemble serve`
    batches     what has come while a batch was answered is the next one, with a prefill of its own

Requests of two lengths come at random times, the same for both. In a batch, too, an answer counts
as given at its own last token: what differs is how long a request waits. No HTTP. The last line of
the output is one JSON document: `python -m benchmarks.joining`.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.facts import commit, hardware, versions
from self_ensemble import Ensemble, load_model
from self_ensemble.asking.request import Answer, Request, Settings
from self_ensemble.prompts.build import conversation_frame
from self_ensemble.questions.demo import load_demo

SHORT, LONG = 8, 128  # tokens of an answer
ONE_LONG_IN = 4


@dataclass(frozen=True, slots=True)
class Served:
    """What one way of taking requests in has come to.

    Attributes:
        latencies: Of each request, from its coming to its last token, in seconds.
        answers: Token ids of each.
        seconds: From the first request to the last token.
    """

    latencies: list[float]
    answers: list[tuple[int, ...]]
    seconds: float


def arrivals(number: int, per_s: float, seed: int) -> list[float]:
    """When requests come, in seconds, at random (a Poisson process); the first at once."""
    drawn = random.Random(seed)
    found = [0.0]
    while len(found) < number:
        found.append(found[-1] + drawn.expovariate(per_s))
    return found


def requests(number: int, num_wordings: int, lengths: Sequence[int]) -> list[Request]:
    """Bundled questions, over and over, with answers of several lengths in turn."""
    questions = load_demo(num_shots=0, seed=0).questions
    return [
        Request(
            f"{n}",
            questions[n % len(questions)].wordings[:num_wordings],
            settings=Settings(max_new_tokens=lengths[n % len(lengths)], stop=()),
        )
        for n in range(number)
    ]


def served(
    ensemble: Ensemble,
    asked: Sequence[Request],
    coming: Sequence[float],
    max_live: int,
    *,
    is_joining: bool,
) -> Served:
    """Answer requests as they come, so many at once at most."""
    stream = ensemble.stream()
    ends = [0.0] * len(asked)
    answers: list[tuple[int, ...]] = [()] * len(asked)
    num_begun = num_ended = 0
    started = time.perf_counter()
    while num_ended < len(asked):
        now = time.perf_counter() - started
        num_live = num_begun - num_ended
        if is_joining or num_live == 0:
            free = num_begun + max_live - num_live
            num_come = sum(one <= now for one in coming)
            # Numbers of the stream are places of the requests.
            stream.join(asked[num_begun : min(num_come, free)])
            num_begun = max(num_begun, min(num_come, free))
        if num_begun == num_ended:
            time.sleep(coming[num_begun] - now)
            continue
        for step in stream.step():
            if step.outcome is not None:
                assert isinstance(step.outcome, Answer), step.outcome
                ends[step.number] = time.perf_counter() - started
                answers[step.number] = step.token_ids
                num_ended += 1
    latencies = [end - came for end, came in zip(ends, coming, strict=True)]
    return Served(latencies, answers, max(ends))


def numbers(asked: Sequence[Request], found: Served) -> dict[str, float]:
    """What is reported of one way."""
    tokens = sum(map(len, found.answers))
    told = {"seconds": round(found.seconds, 2), "tokens_per_s": round(tokens / found.seconds, 1)}
    for name, length in (("short", SHORT), ("long", LONG)):
        some = [
            latency
            for one, latency in zip(asked, found.latencies, strict=True)
            if one.settings is not None and one.settings.max_new_tokens == length
        ]
        told[f"{name}_p50_s"] = round(median(some), 3)
        told[f"{name}_p95_s"] = round(quantiles(some, n=20)[18], 3)
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2_135m_it")
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--per-s", type=float, default=1.0, help="Requests that come in a second.")
    parser.add_argument("--wordings", type=int, default=1)
    parser.add_argument("--method", default="flex_attention")
    parser.add_argument("--max-live", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(arguments)
    model = load_model(options.model)
    ensemble = Ensemble(model, options.method, frame=conversation_frame(model.tokenizer, []))
    # Every answer has the length that it may have.
    ensemble.stop.eos_token_ids = frozenset()
    lengths = [LONG, *[SHORT] * (ONE_LONG_IN - 1)]
    asked = requests(options.requests, options.wordings, lengths)
    ensemble.run(asked[:2])  # warm
    coming = arrivals(len(asked), options.per_s, seed=0)
    found: dict[str, list[Served]] = {"joining": [], "batches": []}
    for _ in range(options.rounds):
        for name, rounds in found.items():
            is_joining = name == "joining"
            rounds.append(served(ensemble, asked, coming, options.max_live, is_joining=is_joining))
    same = len({tuple(one.answers) for rounds in found.values() for one in rounds}) == 1
    told = {
        name: {
            key: median(numbers(asked, one)[key] for one in rounds)
            for key in numbers(asked, rounds[0])
        }
        for name, rounds in found.items()
    }
    columns = list(told["joining"])
    lines = [" " * 8 + "".join(f"{key:>14}" for key in columns)]
    lines += [
        f"{name:<8}" + "".join(f"{one[key]:>14}" for key in columns) for name, one in told.items()
    ]
    lines += [f"Answers are {'equal' if same else 'NOT EQUAL'} both ways."]
    work = {
        "requests": len(asked), "per_s": options.per_s, "wordings": options.wordings,
        "method": options.method, "max_live": options.max_live, "rounds": options.rounds,
        "short_tokens": SHORT, "long_tokens": LONG, "one_long_in": ONE_LONG_IN, "equal": same,
    }  # fmt: skip
    about = {"hardware": hardware(model.device), "versions": versions(), "commit": commit()}
    sys.stdout.write("\n".join([*lines, json.dumps({**told, **work, **about})]) + "\n")


if __name__ == "__main__":
    main()
