"""Two workers of one thread beside one process of two, on a machine with two cores.

    python -m benchmarks.two_workers

Both have loaded the model and are warm, and take turns; nothing is written. The last line of the
output is one JSON document.
"""

import argparse
import datetime
import json
import os
import shlex
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

import torch

from benchmarks.facts import commit, hardware, versions
from benchmarks.scale import ray_here
from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.jobs.inputs import LateModel, ModelOptions, prompt_frame
from self_ensemble.jobs.places import Here
from self_ensemble.jobs.progress import SILENT, Progress
from self_ensemble.jobs.recipe import Place, Task
from self_ensemble.jobs.workers.options import Workers
from self_ensemble.jobs.workers.place import on_workers
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import Question, QuestionSet
from self_ensemble.running.answers import AnswerMaker
from self_ensemble.running.choice import WordingChoice
from self_ensemble.running.making import Order

METHODS = ("flex_attention", "avg")
WORKERS = 2
BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """What `generate --dataset demo` makes its answers with."""

    model: LateModel
    question_set: QuestionSet

    def maker(self, progress: Progress) -> AnswerMaker:
        """Load the model."""
        loaded = self.model.load(progress)
        asked = self.question_set
        ensemble = Ensemble(
            loaded,
            METHODS,
            settings=Settings(max_new_tokens=asked.max_new_tokens, stop=asked.stop),
            frame=prompt_frame("auto", loaded, asked),
        )
        return AnswerMaker(ensemble, WordingChoice(), asked)

    @property
    def loads(self) -> str:
        """The model."""
        return self.model.name

    def rules(self) -> Mapping[str, object]:
        """None of the user's."""
        return {}


def questions_per_s(place: Place, questions: tuple[Question, ...]) -> float:
    """How fast a place answers; its rows are thrown away."""
    work = place.work(Task(Order(METHODS), lambda rows: None, BATCH_SIZE))
    outcome = work(questions, on_batch=lambda done: None, on_shrink=lambda size, smaller: None)
    return len(questions) / outcome.seconds


def main(arguments: list[str]) -> int:
    """Measure both in turn, and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_workers", description=__doc__)
    parser.add_argument("--model", default="smollm2_135m_it")
    parser.add_argument("--questions", type=int, default=64, help="of each turn")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args(arguments)
    # A worker has the threads that it has processors.
    torch.set_num_threads(WORKERS)
    question_set = load_questions("demo", max_samples=asked.questions)
    questions = question_set.questions
    model = LateModel.of(ModelOptions(asked.model))
    recipe = Asked(model, replace(question_set, questions=()))
    found: dict[str, list[float]] = {"one process": [], "two workers": []}
    with (
        ray_here(),
        on_workers(recipe, Workers(WORKERS, cpus_per_worker=1), len(questions), SILENT) as workers,
    ):
        places: dict[str, Place] = {
            "one process": Here(recipe.maker(SILENT)),
            "two workers": workers,
        }
        for place in places.values():
            questions_per_s(place, questions)
        while workers.pool.num_loaded < WORKERS:
            questions_per_s(workers, questions[:BATCH_SIZE])
        for _ in range(asked.repeats):
            for name, place in places.items():
                found[name].append(questions_per_s(place, questions))
                sys.stderr.write(f"{name}: {found[name][-1]:.2f} questions/s\n")
    one, two = found.values()
    ratios = [many / alone for alone, many in zip(one, two, strict=True)]
    for name, rates in {**found, "ratio": ratios}.items():
        sys.stdout.write(
            f"{name:12s} {statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})\n"
        )
    document = {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.two_workers", *arguments]),
        "commit": commit(),
        "hardware": hardware(torch.device("cpu")),
        "load_average": os.getloadavg(),
        "versions": {**versions(), "ray": version("ray")},
        "questions": len(questions),
        "questions_per_s": found,
        "ratios": ratios,
    }
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
