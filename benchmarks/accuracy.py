"""Fused by mask beside standard attention: how often each is right, on the same questions.

    python -m benchmarks.accuracy --datasets demo,myriadlama --max-samples 200

`origin` asks the original wording alone, `flex_attention` fuses all wordings by the mask, and
`causal_concat` puts all of them into one causal prompt and calls transformers' `generate`. Answers
end as in a real run. Differences are paired by question; the last line is one JSON document.
"""

import argparse
import datetime
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.document import machine_line, plain
from benchmarks.facts import commit, hardware, versions
from benchmarks.plain import CAUSAL_CONCAT
from benchmarks.work import model_as_it_was
from self_ensemble.asking.request import Answer, Request, Settings
from self_ensemble.bench.library import generated, with_own_attention
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.jobs.inputs import prompt_frame
from self_ensemble.models.load import LoadedModel, load_model
from self_ensemble.models.packed_linear import can_pack, pack_linears, unpack_linears
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.prompts.together import together, whole
from self_ensemble.questions.chosen import DataOptions
from self_ensemble.questions.schema import QuestionSet
from self_ensemble.running.choice import WordingChoice, make_request
from self_ensemble.scoring.lemmas import lemmatiser_named
from self_ensemble.scoring.normalise import first_line
from self_ensemble.scoring.scores import is_right
from self_ensemble.scoring.statistics import Estimate, mean_interval, paired_difference
from self_ensemble.walking.stopping import StopRule

OURS = "flex_attention"
NAMES = ("origin", OURS, CAUSAL_CONCAT)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to answer a data set.

    Attributes:
        dataset: Its name.
        name: One of `NAMES`.
        accuracy: Lemma-level partial match.
        difference: Accuracy minus that of `flex_attention`, paired by question; None for itself.
        num_same: Questions with the text that `flex_attention` answers.
        tokens: Mean tokens of a question's prompt, the prefix included.
        ms_per_question: Wall-clock time of all answers by questions.
    """

    dataset: str
    name: str
    accuracy: Estimate
    difference: Estimate | None
    num_same: int
    tokens: float
    ms_per_question: float


@dataclass(frozen=True, slots=True)
class _Asking:
    """The questions of a data set, and how they are asked."""

    model: LoadedModel
    question_set: QuestionSet
    frame: PromptFrame
    requests: list[Request]
    batch_size: int

    @property
    def settings(self) -> Settings:
        return Settings(self.question_set.max_new_tokens, self.question_set.stop)

    def ours(self, name: str) -> list[str]:
        if can_pack(self.model.device, self.model.dtype):
            pack_linears(self.model.model)
        ensemble = Ensemble(self.model, name, frame=self.frame, settings=self.settings)
        texts = []
        for batch in self.batches():
            for answer in ensemble.run(batch)[name]:
                if not isinstance(answer, Answer):
                    raise UserError(f"No numbers without answers: {answer.error}", "SE-1101")
                texts.append(answer.text)
        return texts

    def causal(self) -> list[str]:
        unpack_linears(self.model.model)
        rule = StopRule.of(self.model, self.settings.stop, self.settings.max_new_tokens)
        texts = []
        with with_own_attention(self.model):
            for batch in self.batches():
                prompts = [whole(together(self.frame, one.wordings)) for one in batch]
                for token_ids in generated(self.model, prompts, rule):
                    texts.append(first_line(rule.text(token_ids)))
        return texts

    def batches(self) -> Iterator[list[Request]]:
        for start in range(0, len(self.requests), self.batch_size):
            yield self.requests[start : start + self.batch_size]

    def tokens(self, name: str) -> float:
        """Mean tokens of a question's prompt."""
        lengths = []
        for request in self.requests:
            parts = self.frame.parts(request.wordings)
            if name == CAUSAL_CONCAT:
                lengths.append(len(whole(together(self.frame, request.wordings))))
            elif name == "origin":
                lengths.append(len(parts.alone(0)))
            else:
                segments = sum(map(len, parts.segments))
                lengths.append(len(parts.prefix) + segments + len(parts.cue))
        return sum(lengths) / len(lengths)


def measure_accuracy(
    model: LoadedModel, question_set: QuestionSet, *, num_wordings: int, batch_size: int
) -> list[Row]:
    """Answer every question in every way, and compare.

    Raises:
        UserError: A question has too few wordings, or an answer is not finite.
    """
    choice = WordingChoice(num_wordings)
    requests = [make_request(question, choice, None, None) for question in question_set.questions]
    asking = _Asking(
        model, question_set, prompt_frame("off", model, question_set), requests, batch_size
    )
    answers = {question.uuid: question.answers for question in question_set.questions}
    lemmatiser = lemmatiser_named("simplemma")
    texts: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    with model_as_it_was(model):
        for name in NAMES:
            start = time.perf_counter()
            texts[name] = asking.causal() if name == CAUSAL_CONCAT else asking.ours(name)
            seconds[name] = time.perf_counter() - start
    right = {
        name: {
            request.key: float(is_right(text, answers[request.key], lemmatiser))
            for request, text in zip(requests, texts[name], strict=True)
        }
        for name in NAMES
    }
    return [
        Row(
            dataset=question_set.name,
            name=name,
            accuracy=mean_interval(list(right[name].values())),
            difference=None if name == OURS else paired_difference(right[name], right[OURS]),
            num_same=sum(a == b for a, b in zip(texts[name], texts[OURS], strict=True)),
            tokens=asking.tokens(name),
            ms_per_question=1e3 * seconds[name] / len(requests),
        )
        for name in NAMES
    ]


def rows_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""

    def percent(estimate: Estimate | None, *, signed: bool = False) -> str:
        if estimate is None:
            return "-"
        form = "{:+.1f}" if signed else "{:.1f}"
        value, low, high = (form.format(100 * number) for number in estimate[:3])
        return f"{value} [{low}, {high}]"

    lines = [
        f"| data set | rival | questions | accuracy % | minus {OURS} | same answer | tokens | "
        "ms/question |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {row.dataset} | {row.name} | {row.accuracy.n} | {percent(row.accuracy)} | "
            f"{percent(row.difference, signed=True)} | {row.num_same} | {row.tokens:.0f} | "
            f"{row.ms_per_question:.0f} |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", default="smollm2_135m_it")
    parser.add_argument("--datasets", default="demo", help="comma-separated")
    parser.add_argument("--data", type=Path, help="folder of the data sets' folders")
    parser.add_argument("--max-samples", type=int, help="questions of each data set")
    parser.add_argument("--num-paraphrases", type=int, default=5)
    parser.add_argument("--num-shots", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    try:
        model = load_model(given.model)
        rows = []
        for name in given.datasets.split(","):
            data = None if given.data is None or name == "demo" else given.data / name
            options = DataOptions(
                name, data=data, max_samples=given.max_samples, num_shots=given.num_shots
            )
            rows += measure_accuracy(
                model, options.load(),
                num_wordings=given.num_paraphrases, batch_size=given.batch_size,
            )  # fmt: skip
    except UserError as error:
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        return 2
    document: dict[str, object] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.accuracy", *arguments]),
        "commit": commit(),
        "hardware": hardware(model.device),
        "versions": versions(),
        "model": model.name,
        "rows": [asdict(row) for row in rows],
    }
    sys.stdout.write(f"{machine_line(document)}\n\n{rows_markdown(rows)}\n\n")
    sys.stdout.write(json.dumps(plain(document), allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
