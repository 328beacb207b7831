"""This engine beside its rivals, after its answers were found to be right.

    python -m benchmarks                   # beside transformers' generate and the published loop
    python -m benchmarks.engines           # beside OpenVINO, CTranslate2, llama.cpp: `make bench`
    python -m benchmarks --grow prefix     # how time and memory grow with one thing
    python -m benchmarks.gpu               # everything that needs a GPU

The last line of the output is one JSON document with all numbers.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from benchmarks.job import BenchJob, print_document, run_bench
from benchmarks.line_up import RIVALS
from self_ensemble.errors import UserError

HELP = {
    "model": "alias, hub id, folder or .gguf file",
    "random_weights": "architecture with random weights instead, for example llama3.2_3b",
    "shape": "random tokens instead of the bundled questions: P,N,S,T, tokens of the prefix, "
    "wordings, tokens of each, new tokens",
    "num_paraphrases": "wordings of the bundled questions, N",
    "num_shots": "examples before them",
    "max_new_tokens": "tokens of every timed answer",
    "batch_size": "questions per batch",
    "questions": "questions per repetition; default: one batch",
    "rivals": f"{', '.join(RIVALS)} (all: all methods in one go), or a method",
    "repeats": "rounds",
    "published_questions": "questions of the published loop",
    "published_repeats": "rounds of the published loop",
    "check_questions": "questions whose answers are compared with the oracle first",
    "skip_stop_run": "leave out answers that end early",
    "grow": "growth with num_paraphrases, prefix, questions or batch, instead",
    "grow_values": "its values, for example 1,2,5",
    "plain_layers": "ours on plain linear layers, as transformers' generate is",
    "attention": "ours: auto, sdpa, flex or eager",
    "decode": "ours: tree, captured or compiled",
    "device": "auto, cpu, cuda, cuda:N or mps",
    "dtype": "auto, float32, bfloat16 or float16",
    "threads": "threads; default: PyTorch's",
    "plot": "also write a picture (PNG)",
    "write_results": "also append a dated table to this Markdown file",
}


def parse(arguments: list[str]) -> BenchJob:
    """Read the options, which have the names and the defaults of the job's fields."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    readers: dict[str, Callable[[str], object]] = {
        "rivals": _names,
        "grow_values": _numbers,
        "plot": Path,
        "write_results": Path,
    }
    for field in fields(BenchJob):
        option, about = f"--{field.name.replace('_', '-')}", HELP[field.name]
        if isinstance(field.default, bool):
            parser.add_argument(option, action="store_true", help=about)
        else:
            is_number = "int" in str(field.type)
            reader = readers.get(field.name, int if is_number else str)
            parser.add_argument(option, type=reader, default=field.default, help=about)
    return BenchJob(**vars(parser.parse_args(arguments)))


def main(arguments: list[str]) -> int:
    """Run and print; returns the exit code."""
    try:
        document = run_bench(parse(arguments), ["python", "-m", "benchmarks", *arguments])
    except UserError as error:
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        return 2
    print_document(document)
    return 0


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError(f"got {text!r}; give at least one name")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}; give whole numbers, such as 1,2,5")
    return tuple(int(part) for part in parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
