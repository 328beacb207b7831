"""The commands that write files, run in processes of their own, and what they leave compared.

A command is forked off this process, which has loaded everything already, so that hundreds of
them take minutes. What it does to the files under its folder can be interfered with; see
`operations`.
"""

import functools
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from pyarrow import feather
from transformers import AutoModelForCausalLM

from self_ensemble.cli.main import main
from tests.conftest import _config, _tokenizer
from tests.faults.campaign import Verdict

NUM_QUESTIONS = 7
STATES = ("new", "overwrite", "repair")
HANG_S = 120
# Columns and fields that tell of the run and not of the answers.
TIMES = ("seconds", "date")


# Goes when the process ends.
_PLACE = tempfile.TemporaryDirectory(prefix="faults-")


class Ended(NamedTuple):
    """How a command ended: its exit code (negative: the signal), and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def one_line(self) -> bool:
        """Whether it refused as it should: one line, after those on what was set aside; code 2."""
        *before, last = self.err.splitlines() or [""]
        told = all(line.startswith("Set aside ") for line in before)
        return self.code == 2 and last.startswith("Error: ") and told


@dataclass(frozen=True, slots=True, eq=False)
class Workplace:
    """A folder with a tiny model and a data set, and the commands to give.

    Attributes:
        folder: Where they lie.
        commands: Arguments by name, for a folder of results.
        num_questions: Of the data set.
    """

    folder: Path
    commands: dict[str, Callable[[Path], list[str]]]
    num_questions: int = NUM_QUESTIONS

    @classmethod
    @functools.cache
    def make(cls) -> "Workplace":
        """The one of this process; made once, since it takes seconds."""
        folder = Path(_PLACE.name)
        tokenizer = _tokenizer(adds_bos=False)
        torch.manual_seed(0)
        config = _config("llama", 2, 1, None, tokenizer)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.save_pretrained(folder / "tiny")
        tokenizer.save_pretrained(folder / "tiny")
        data = write_questions(folder / "bridges.jsonl", NUM_QUESTIONS)
        common = ["--dataset", str(data), "--num-shots", "0", "--batch-size", "3", "--json"]
        asking = [*common, "--model", str(folder / "tiny"), "--num-paraphrases", "2"]
        short = ["--max-new-tokens", "2"]
        methods = ["--method", "per_prompt,flex_attention"]
        place = cls(folder, {
            "generate": lambda out: [
                "generate", *asking, *short, *methods, "--output-dir", str(out)],
            "confidence": lambda out: [
                "confidence", *asking, *short, "--estimator", "logprob", "--output-dir", str(out)],
            "paraphrase": lambda out: [
                "paraphrase", *common, "--human", "--output", str(out / "w.jsonl")],
            "learn-weights": lambda out: [
                "learn-weights", *asking, "--folds", "2", "--output-dir", str(out)],
        })  # fmt: skip
        place.warm()
        return place

    def warm(self) -> None:
        """Give the commands in this process, so that its forks find everything loaded."""
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            for name, arguments in self.commands.items():
                assert main(arguments(self.folder / "warm" / name)) == 0

    def run(
        self,
        name: str,
        out: Path,
        *more: str,
        before: Callable[[], object] = lambda: None,
        meanwhile: Callable[[int], object] = lambda pid: None,
    ) -> Ended:
        """Run a command in a process of its own.

        Args:
            name: Of the command.
            out: Folder of its results.
            more: Arguments to add.
            before: Called in that process first.
            meanwhile: Called in this one, with the other's id.
        """
        arguments = [*self.commands[name](out), *more]
        return run_forked(lambda: main(arguments), self.folder, before, meanwhile)

    @functools.cache  # noqa: B019 - there is one, as long as the process
    def expected(self, name: str) -> dict[str, object]:
        """What an undisturbed run of a command leaves."""
        out = self.folder / f"whole-{name}"
        assert self.run(name, out).code == 0
        return left_in(out)

    def begin(self, name: str, out: Path, state: str) -> tuple[str, ...]:
        """Make a folder as a command finds it; returns the arguments to add.

        Args:
            name: Of the command.
            out: The folder of its results, which is not there yet.
            state: "new"; "overwrite", with finished results; or "repair", with damaged ones.
        """
        if state == "new":
            return ()
        self.expected(name)
        shutil.copytree(self.folder / f"whole-{name}", out)
        if state == "repair":
            for path in [*out.rglob("*.feather"), *out.rglob("*.json")]:
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 1
                path.write_bytes(content)
        return (f"--{state}",)

    def go_on(self, name: str, out: Path, *more: str, repair: bool = False) -> tuple[Verdict, str]:
        """Give the command again, with --repair where it asks for that; compare what it leaves."""
        to_ask = None
        if name == "generate" and not repair:
            to_ask = self.num_questions - len(answered_in(out))
        ended = self.run(name, out, *more)
        if repair and ended.one_line and "--repair" in ended.err:
            ended = self.run(name, out, *more, "--repair")
            to_ask = None
        if ended.code != 0:
            return Verdict.TRACEBACK, f"{name} cannot go on: {ended}"
        if to_ask is not None and json.loads(ended.out)["answered"] != to_ask:
            return Verdict.LOST, f"{to_ask} questions were to ask: {ended.out}"
        return compare(self.expected(name), left_in(out))


def write_questions(path: Path, number: int) -> Path:
    """A data set of so many questions in two wordings."""
    rows = [
        {"uuid": f"q{n}", "question": f"Who built bridge {n}?", "answers": ["Paris"],
         "paraphrases": [f"Bridge {n} was built by whom?"]}
        for n in range(number)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_forked(
    work: Callable[[], int],
    folder: Path,
    before: Callable[[], object] = lambda: None,
    meanwhile: Callable[[int], object] = lambda pid: None,
) -> Ended:
    """Run something in a fork of this process: a crash is its own."""
    files = [folder / f"{name}.{os.getpid()}" for name in ("out", "err")]
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            signal.alarm(HANG_S)
            for number, file in enumerate(files, start=1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            before()
            code = work()
        except BaseException:  # noqa: BLE001 - a child must not run on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    meanwhile(pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(code, *(file.read_text(errors="replace") for file in files))


def left_in(out: Path) -> dict[str, object]:
    """The content of every file that a command has left, apart from what was set aside."""
    left: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if (path.is_dir() and path.suffix != ".run") or ".damaged-" in path.name:
            continue
        if path.is_dir():
            if any(".damaged-" not in file.name for file in path.iterdir()):
                left[name] = "unfinished"
        elif path.suffix == ".feather":
            # pyarrow itself, so that what is compared is what anyone reads.
            left[name] = [without_times(row) for row in feather.read_table(path).to_pylist()]
        elif path.suffix == ".json":
            fields = without_times(json.loads(path.read_text()))
            left[name] = {key: value for key, value in fields.items() if key != "checksum"}
        else:
            left[name] = path.read_bytes()
    return left


def without_times(row: dict[str, object]) -> dict[str, object]:
    # As text, because nan is not itself; log-probabilities to the digits that do not depend on
    # the questions beside it in a batch.
    return {
        name: f"{value:.3f}" if isinstance(value, float) else repr(value)
        for name, value in row.items()
        if name not in TIMES
    }


def compare(expected: dict[str, object], found: dict[str, object]) -> tuple[Verdict, str]:
    """What became of the answers."""
    for name, content in expected.items():
        if name not in found:
            return Verdict.LOST, f"{name} is not there"
        if content == found[name]:
            continue
        if isinstance(content, list):
            ours, theirs = Counter(map(str, content)), Counter(map(str, found[name]))
            if theirs - ours and not theirs - ours - ours:
                return Verdict.TWICE, f"rows of {name} are there twice"
            if ours - theirs and not theirs - ours:
                return Verdict.LOST, f"rows of {name} are not there"
        return Verdict.CHANGED, f"{name} is another one"
    strange = sorted(found.keys() - expected.keys())
    return (Verdict.CHANGED, f"left over: {strange}") if strange else (Verdict.SURVIVED, "")


def answered_in(out: Path) -> set[str]:
    """The questions of which `generate` has all rows, as anyone reads its files."""
    done: dict[str, set[str]] = {"per_prompt": set(), "flex_attention-2": set()}
    for path in sorted(out.rglob("*.feather")):
        result = path.parent.stem if path.parent.suffix == ".run" else path.stem
        done[result].update(feather.read_table(path)["uuid"].to_pylist())
    return set.intersection(*done.values())
