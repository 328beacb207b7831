"""This engine beside OpenVINO GenAI, CTranslate2, llama.cpp and transformers' `generate`.

    python -m benchmarks.engines                          # what `make bench` runs
    python -m benchmarks.engines --only ours,openvino --turns 2 --questions 4
    python -m benchmarks.engines --beside-load            # what each loses beside a busy core
    python -m benchmarks.engines --from bench.json --plot bench.png   # tables and picture again

Each engine and precision runs in a process of its own, first all of them on all cores, then all
pinned to one core with one thread; in each part they are asked in turns. The last line of the
output is one JSON document with all numbers.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.engines.asking import check_size, turn
from benchmarks.engines.document import Document, Made, make_document
from benchmarks.engines.files import gguf_file
from benchmarks.engines.lines import LINES, REFERENCE, choose
from benchmarks.engines.picture import plot
from benchmarks.engines.race import race, race_beside_load
from benchmarks.engines.tables import (
    PARTS,
    as_terminal,
    equal_lines,
    growth_table,
    machine,
    ratio_lines,
    results_markdown,
    table,
    write_readme,
)
from benchmarks.job import append_entry, print_document
from self_ensemble.errors import UserError
from self_ensemble.models.load import load_without_weights
from self_ensemble.report.files import write_file

NEW_TOKENS = 20


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engines", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--model", default="smollm2_135m_it", help="a .gguf file, or an alias of one")
    names = ", ".join(dict.fromkeys([*(line.engine for line in LINES.values()), *LINES]))
    add("--only", type=_names, default=(), metavar="NAMES", help=f"some of {names}")
    add("--questions", type=int, default=8, help="bundled questions, one batch (default 8)")
    add("--turns", type=int, default=5, help="turns of each part (default 5)")
    add("--slow-turns", type=int, default=1,
        help="turns of what is over twice the fastest and of all methods (default 1)")  # fmt: skip
    add("--beside-load", action="store_true",
        help="instead: wall time alone and beside a busy loop on one core")  # fmt: skip
    add("--from", dest="source", type=Path, help="a JSON document instead of measuring")
    add("--plot", type=Path, help="also write a picture (PNG)")
    add("--write-results", type=Path, help="also append a dated entry to this Markdown file")
    add("--write-readme", type=Path, help="also put the tables between the marks of this file")
    add("--write-json", type=Path, help="also write the document to this file")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run and print; returns the exit code."""
    options = parse(arguments)
    try:
        _check(options)
        command = ["python", "-m", "benchmarks.engines", *arguments]
        document = _read(options.source) if options.source else _measure(options, command)
        _show(document)
        _write(options, document)
    except UserError as error:
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        return 2
    print_document(document)
    return 0


def _check(options: argparse.Namespace) -> None:
    turns = 2 * options.turns if options.beside_load else options.turns
    check_size(options.questions, turns)
    choose(options.only, beside_load=options.beside_load)
    if options.slow_turns < 1:
        raise UserError(f"Got --slow-turns {options.slow_turns}. Give 1 or more.", "SE-1101")
    if options.beside_load and (options.plot or options.write_readme):
        raise UserError(
            "--plot and --write-readme show the engines alone. Leave out --beside-load.", "SE-1101"
        )


def _measure(options: argparse.Namespace, command: list[str]) -> Document:
    gguf_file(options.model)
    lines = choose(options.only, beside_load=options.beside_load)
    tokenizer = load_without_weights(options.model).tokenizer
    sizes = {
        "num_questions": options.questions,
        "new_tokens": NEW_TOKENS,
        "turns": options.turns,
        "report": lambda line: sys.stderr.write(f"{line} ...\n"),
    }
    if options.beside_load:
        raced = race_beside_load(lines, options.model, tokenizer, **sizes)
    else:
        raced = race(lines, options.model, tokenizer, slow_turns=options.slow_turns, **sizes)
    first = turn(tokenizer, 0, num_questions=options.questions, new_tokens=NEW_TOKENS)
    made = Made(command, options.model, options.questions, first["five"], options.turns)
    return make_document(raced, made)


def _show(document: Document) -> None:
    out = sys.stdout.write
    out(f"{machine(document)}\n\n")
    if "growth" in document:
        out(f"{as_terminal(growth_table(document))}\n\n")
    else:
        for part, about in PARTS.items():
            if document["parts"].get(part):
                out(f"{about}\n{as_terminal(table(document, part))}\n")
                out("".join(f"  {line}\n" for line in ratio_lines(document, part)) + "\n")
        out(f"same answers: as {REFERENCE}, of one wording / five\n{equal_lines(document)}\n")
    for name, why in document["skipped"].items():
        out(f"skipped: {name}: {why}\n")


def _write(options: argparse.Namespace, document: Document) -> None:
    if options.plot is not None:
        plot(options.plot, document)
    if options.write_results is not None:
        append_entry(options.write_results, results_markdown(document))
    if options.write_readme is not None:
        write_readme(options.write_readme, document)
    if options.write_json is not None:
        write_file(options.write_json, json.dumps(document, indent=1) + "\n")


def _read(path: Path) -> Document:
    try:
        # The last line of what was printed, or the file of --write-json.
        text = path.read_text("utf-8").strip()
        found: Any = json.loads(text if text.startswith("{") else text.splitlines()[-1])
        if not isinstance(found, dict) or "parts" not in found or "lines" not in found:
            raise ValueError("it is no document of this benchmark")
    except (OSError, ValueError, IndexError) as error:
        raise UserError(
            f"Cannot read {path}: {error}. Give a file of --write-json.", "SE-1101"
        ) from error
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
