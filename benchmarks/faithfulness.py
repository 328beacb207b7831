"""Is attribution faithful: does the answer change when the wording with most of it is dropped?

    python -m benchmarks.faithfulness --dataset myriadlama --data FOLDER
    python -m benchmarks.faithfulness --dataset demo

Every question is answered with all wordings, and again without each of them, by runs of their own.
For each kind of attribution the answer is looked at without the wording that has the most of it,
and without the one that has the least; a random one is the mean over all of them, so nothing is
drawn. Differences are paired by question. The last line of the output is one JSON document.
"""

import argparse
import datetime
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.facts import commit, hardware, versions
from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Answer, Outcome, Request, Settings
from self_ensemble.attribution.kinds import kinds_of
from self_ensemble.ensemble import Ensemble
from self_ensemble.jobs.inputs import prompt_frame
from self_ensemble.models.load import load_model
from self_ensemble.questions.chosen import DataOptions
from self_ensemble.scoring.normalise import normalise
from self_ensemble.scoring.statistics import Estimate, mean_interval, paired_difference

METHODS = ("flex_attention", "avg")
BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """One question with one method.

    Attributes:
        changes: Whether the answer is another without each wording, `(N,)`.
        totals: What each kind attributes to each wording, `(N,)`.
    """

    changes: tuple[bool, ...]
    totals: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """How often an answer changes, by one kind of attribution.

    Attributes:
        most: Without the wording that has the most.
        random: Without a random one.
        least: Without the one that has the least.
        most_over_random: Difference, paired by question.
        random_over_least: The same.
    """

    method: str
    kind: str
    most: Estimate
    random: Estimate
    least: Estimate
    most_over_random: Estimate
    random_over_least: Estimate


def summary(method: str, kind: str, found: Mapping[str, Asked]) -> Row:
    """What the questions say of one kind of attribution."""
    most: dict[str, float] = {}
    least: dict[str, float] = {}
    random: dict[str, float] = {}
    for uuid, one in found.items():
        totals = one.totals[kind]
        most[uuid] = float(one.changes[totals.index(max(totals))])
        least[uuid] = float(one.changes[totals.index(min(totals))])
        random[uuid] = sum(one.changes) / len(one.changes)
    return Row(
        method=method,
        kind=kind,
        most=mean_interval(list(most.values())),
        random=mean_interval(list(random.values())),
        least=mean_interval(list(least.values())),
        most_over_random=paired_difference(most, random),
        random_over_least=paired_difference(random, least),
    )


def measure(ensemble: Ensemble, requests: Sequence[Request]) -> dict[str, dict[str, Asked]]:
    """Ask everything; what was found by method and uuid, where there is an answer."""
    found: dict[str, dict[str, Asked]] = {method.name: {} for method in ensemble.methods}
    for start in range(0, len(requests), BATCH_SIZE):
        batch = requests[start : start + BATCH_SIZE]
        full = ensemble.run(batch)
        without = [
            ensemble.run([_without(request, index) for request in batch])
            for index in range(len(batch[0].wordings))
        ]
        for method in ensemble.methods:
            for place, request in enumerate(batch):
                answer = full[method.name][place]
                others = [run[method.name][place] for run in without]
                if isinstance(answer, Answer):
                    found[method.name][request.key] = _asked(
                        ensemble, method, request, answer, others
                    )
        sys.stderr.write(f"{start + len(batch)} of {len(requests)} questions\n")
    return found


def _asked(
    ensemble: Ensemble,
    method: Method,
    request: Request,
    answer: Answer,
    others: Sequence[Outcome],
) -> Asked:
    found = ensemble.attribute(request, kinds_of(method), method, answer)
    changes = tuple(
        not isinstance(other, Answer) or normalise(other.text) != normalise(answer.text)
        for other in others
    )
    return Asked(changes, {kind: one.total for kind, one in found.items()})


def _without(request: Request, index: int) -> Request:
    return Request(request.key, request.wordings[:index] + request.wordings[index + 1 :])


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown, in percent."""
    lines = [
        "| method | kind | most | random | least | most - random | random - least |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        rates = [_percent(one, "") for one in (row.most, row.random, row.least)]
        differences = [_percent(one, "+") for one in (row.most_over_random, row.random_over_least)]
        cells = [f"`{row.method}`", f"`{row.kind}`", *rates, *differences]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(estimate: Estimate, sign: str) -> str:
    value, low, high = (f"{100 * one:{sign}.1f}" for one in estimate[:3])
    return f"{value} [{low}, {high}]"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faithfulness", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data set")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", default="smollm2_135m_it")
    parser.add_argument("--max-samples", type=int, default=200)
    parser.add_argument("--num-paraphrases", type=int, default=5)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure, and print."""
    options = parse(arguments)
    questions = DataOptions(
        options.dataset, data=options.data, max_samples=options.max_samples
    ).load()
    model = load_model(options.model)
    settings = Settings(max_new_tokens=questions.max_new_tokens, stop=questions.stop)
    frame = prompt_frame("off", model, questions)
    ensemble = Ensemble(model, METHODS, frame=frame, settings=settings)
    requests = [
        Request(question.uuid, question.wordings[: options.num_paraphrases])
        for question in questions.questions
        if len(question.wordings) >= options.num_paraphrases
    ]
    found = measure(ensemble, requests)
    rows = [
        summary(method.name, kind, found[method.name])
        for method in ensemble.methods
        for kind in kinds_of(method)
    ]
    sys.stdout.write(table(rows) + "\n")
    document = {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.faithfulness", *arguments]),
        "commit": commit(),
        "hardware": hardware(model.device),
        "versions": versions(),
        "model": model.name,
        "questions": len(requests),
        "rows": [asdict(row) for row in rows],
    }
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
