"""What the commands that ask a model have in common: data, model, prompt, progress."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from self_ensemble.batches import BatchProgress
from self_ensemble.models.devices import device_table, layer_devices
from self_ensemble.models.load import LoadedModel, load_model
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import QuestionSet

# Weights whose digest takes more than a moment.
LARGE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Which questions, under the options' long names."""

    dataset: str
    data: Path | None = None
    paraphrases: Path | None = None
    max_samples: int | None = None
    offset: int = 0
    num_shots: int = 5
    num_manual: int | None = None
    num_auto: int = 0
    seed: int = 0
    columns: str | None = None
    encoding: str | None = None
    split: str | None = None
    answers_separator: str | None = None

    def load(self) -> QuestionSet:
        """Load the questions."""
        return load_questions(
            self.dataset,
            data_dir=self.data,
            max_samples=self.max_samples,
            offset=self.offset,
            num_shots=self.num_shots,
            seed=self.seed,
            num_manual=self.num_manual,
            num_auto=self.num_auto,
            paraphrases=self.paraphrases,
            columns=self.columns,
            encoding=self.encoding,
            split=self.split,
            answers_separator=self.answers_separator
            and self.answers_separator.replace("\\n", "\n").replace("\\t", "\t"),
        )


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model and where it runs, under the options' long names."""

    model: str = "smollm2_135m_it"
    attention: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    aliases: Path | None = None

    def load(self, console: Console) -> LoadedModel:
        """Load the model; several devices are shown as a table."""
        with console.status(f"Loading {self.model} ...") as status:

            def on_bytes(done: int, total: int) -> None:
                if total >= LARGE_BYTES:
                    status.update(
                        f"Reading the weights of {self.model} for their digest, once: "
                        f"{done / 1e9:.1f} of {total / 1e9:.1f} GB ..."
                    )
                    if done == total:
                        status.update(f"Loading {self.model} ...")

            model = load_model(
                self.model,
                device=self.device,
                dtype=self.dtype,
                attention=self.attention,
                trust_remote_code=self.trust_remote_code,
                aliases=self.aliases,
                on_bytes=on_bytes,
            )
        devices = layer_devices(model.model)
        if len(devices) > 1:
            console.print(device_table(devices))
        return model


def message_console(*, as_json: bool) -> Console:
    """Where progress and messages go: standard error, or nowhere beside JSON."""
    return Console(stderr=True, quiet=as_json, highlight=False, soft_wrap=True)


def page_console() -> Console:
    """Where tables go. A file or a pipe has no width; rich would assume 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def prompt_frame(chat_template: str, model: LoadedModel, question_set: QuestionSet) -> PromptFrame:
    """The prompt of a data set, plain or in the model's chat template."""
    if chat_template == "on" or (chat_template == "auto" and model.has_chat_template):
        return chat_frame(model.tokenizer, question_set.instruction, question_set.shots)
    return plain_frame(
        model.tokenizer, question_set.instruction, question_set.shots, question_set.framing
    )


def default_batch_size(model: LoadedModel) -> int:
    """Questions per batch where the user names none: 16 on a CPU, 64 on an accelerator."""
    return 16 if model.device.type == "cpu" else 64


@contextmanager
def progress_bar(
    console: Console, doing: str, total: int, done: int
) -> Iterator[Callable[[BatchProgress], None]]:
    """A bar on a terminal, nothing elsewhere; gives the function that each batch reports to."""
    bar = Progress(
        TextColumn(doing), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(doing, total=total, completed=done, rate="")
        started, finished = time.perf_counter(), 0

        def on_batch(batch: BatchProgress) -> None:
            nonlocal finished
            finished += batch.num_questions
            rate = finished / (time.perf_counter() - started)
            bar.update(task, advance=batch.num_questions, rate=f"{rate:.1f} questions/s")

        yield on_batch


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
