"""Odd names, paths and numbers in every option."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.cli.commands import question_rows, write_rows
from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.forked import judged, run_forked
from tests.faults.hostile_models import _write_models

TEXTS = [
    "", " ", ".", "..", "/", "//", "~", "~nobody", "-", "--", "-1", "0", "1", "x" * 300,
    "x" * 5000, "x/" * 3000, "a\nb", "a\x1b[31mb", "\x07", "\u202e", "é", "日本", "\ud83d",
    "\udcff", "a\0b", "%s", "{}", "{0}", "$HOME", "`id`", "*", "a,b", ",", ":", "a:b", "::", "...",
    "...jsonl", ".jsonl", "a.jsonl/", "/dev/zero", "/dev/null", "/dev/full", "/dev/stdin",
    "/proc/self/mem", "/proc/self/x", "/proc/1/root", "nan", "inf", "-inf", "1e-320", "1e999",
    "9" * 20, "9" * 5000, "٣", "²", "0x10", "1_0", "True", "null", "a.jsonl", "a.feather", "a.png",
    "a.gguf", "a.json", "owner/na me", "os:abort", "this:x", "..:x", "a.b.c:d", "x.y:" + "z" * 300,
]  # fmt: skip
OPTIONS = {
    "generate": [
        "--dataset", "--model", "--method", "--num-paraphrases", "--indices", "--segment-weights",
        "--weights", "--contrast-strength", "--positions", "--fusion-point", "--data",
        "--paraphrases", "--max-samples", "--offset", "--num-shots", "--num-manual", "--num-auto",
        "--chat-template", "--max-new-tokens", "--stop", "--temperature", "--top-p", "--seed",
        "--attention", "--decode", "--device", "--dtype", "--aliases", "--batch-size",
        "--output-dir", "--columns", "--encoding", "--split", "--answers-separator",
        "--show-questions", "--attribution",
    ],
    "analyze": [
        "--dataset", "--model", "--output-dir", "--baseline", "--lemmatiser", "--confidence",
        "--num-bins", "--plot", "--csv", "--markdown",
    ],
    "mask": ["--lengths", "--prefix", "--cue", "--generated", "--text", "--index", "--indices"],
    "paraphrase": ["--output", "--num", "--tries", "--check", "--nli-threshold", "--temperature"],
    "confidence": ["--estimator", "--num-samples", "--temperature", "--top-p"],
    "learn-weights": ["--by", "--folds", "--output", "--seed"],
}  # fmt: skip


def injections(generator: random.Random, folder: Path) -> Iterator[Fault]:
    tiny = folder / "tiny"
    _write_models(tiny, folder / "tiny.gguf")
    questions = write_rows(folder / "bridges.jsonl", question_rows())
    while True:
        work = folder / "outer" / "work"
        work.mkdir(parents=True)
        shutil.copy(questions, work / "...jsonl")
        command = generator.choice(["generate", "generate", *OPTIONS])
        option, text = generator.choice(OPTIONS[command]), generator.choice(TEXTS)
        given = {option: text}
        if command not in ("analyze", "mask"):
            given = {"--dataset": str(questions), "--model": str(tiny), "--num-shots": "2",
                     "--num-paraphrases": "2"} | given  # fmt: skip
        if command in ("generate", "confidence"):
            given = {"--max-new-tokens": "2"} | given
        if command == "paraphrase":
            given = {"--output": "o.jsonl"} | given
        arguments = [command, *(part for pair in given.items() for part in pair)]
        what = f"{command} {option} {text[:40]!a}"
        fault = judged(what, run_forked(arguments, work))
        beside = [path.name for path in (folder / "outer").iterdir() if path.name != "work"]
        if beside and fault.verdict == Verdict.SURVIVED:
            fault = Fault(what, Verdict.CHANGED, f"written outside the folder: {beside}")
        yield fault
        shutil.rmtree(folder / "outer")


HOSTILE_NAMES = Campaign("hostile names", injections, few=8, many=300)
