"""Files of questions in which a value, a level or some bytes are not as they should be."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import feather, parquet

from tests.faults.campaign import Campaign, Fault
from tests.faults.forked import judged, run_forked

SQUAD = {"id": "s", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 3}]}
TRIVIA = {"QuestionId": "t", "Question": "Who?", "Answer": {"Value": "Ann", "Aliases": ["Anna"]}}
DOCUMENTS: list[Any] = [
    [{"id": 1, "question": "Who?", "paraphrases": ["Which one?"], "answers": ["Ann", "Anna"]},
     {"id": 2, "question": "When?", "paraphrases": [], "answers": ["1945"]}],
    [{"utterance": "Who?", "targetValue": '(list (description "Ann"))'}],
    [{"question": "Who?", "answer_patterns": ["Ann|Anna"]}],
    {"data": [{"title": "x", "paragraphs": [{"context": "x", "qas": [SQUAD]}]}]},
    {"Data": [TRIVIA]},
    {"question": ["Who?", "When?"], "answers": [["Ann"], ["1945"]]},
    {"question": {"0": "Who?"}, "answers": {"0": ["Ann"]}},
    {"q1": {"question": "Who?", "answers": ["Ann"]}},
    {"columns": ["question", "answers"], "index": [0], "data": [["Who?", ["Ann"]]]},
]  # fmt: skip
ODD = [
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**30, int("9" * 4000), "", " ", "\0",
    "\ud800", "\u2028", "nan", "[", "()", "[1, 2]", "['a' 'b']", "array(", "f'x'", "[b'x']",
    "[*a]", "{**a}", "set()", "[1e999]", "['\\x']", "['\\ud800']", "['\\N{DASH}']",
    "{'a': 1, 'a': 2}",
    "[" * 200, "[" * 100_000, "(" * 3_000, "(" * 500 + ")" * 500, "[" + "-" * 5_000 + "1]",
    "array(" * 100 + "[1]" + ")" * 100, "9" * 5_000, "x" * 3_000, "(a*)*b", [], {}, [[]], [{}],
    [None], {"text": None}, {"text": [{}]}, {"aliases": {"x": 1}}, {"aliases": [{"text": [1]}]},
]  # fmt: skip
NAMES = [
    "question", "Question", "answers", "answer", "answer.aliases", "answer_patterns", "id", "uuid",
    "paraphrases", "paragraphs", "qas", "data", "columns", "choices", "text", "", "0", "\ud800",
    "a\nb",
]  # fmt: skip
PIECES = [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"\n", b"\r", b"\t", b",", b"[", b"\\ud800",
          b"sep=;\n", b"NaN", b"\xe2\x80\xa8"]  # fmt: skip
OPTIONS = {
    "--columns": ["answers=answer.aliases", "question=question.text", "id=answers", "=", "a=b",
                  "answer_patterns=answers", "answers=answers.", "paraphrases=answers"],
    "--encoding": ["utf-16", "utf-16-le", "cp1252", "shift_jis", "utf-7", "idna", "punycode",
                   "rot13", "base64", "undefined", "unicode_escape", "", "x" * 999],
    "--split": ["train", ""],
    "--answers-separator": ["|", "none", "\n", " "],
    "--num-shots": ["1", "2"],
}  # fmt: skip
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def injections(chance: random.Random, folder: Path) -> Iterator[Fault]:
    """Show what was understood of a file; an untouched one of every kind must be understood."""
    for suffix, write in WRITERS.items():
        path = folder / f"whole{suffix}"
        path.write_bytes(write(DOCUMENTS[0]))
        ended = run_forked(_command(path), folder)
        assert ended.code == 0, ended.err
    while True:
        suffix = chance.choice(list(WRITERS))
        document = _with_odd_values(chance, chance.choice(DOCUMENTS))
        try:
            data = WRITERS[suffix](document)
        except (pa.ArrowException, UnicodeError, TypeError, OverflowError):
            continue  # No such file can be.
        if chance.random() < 0.5:
            data = _with_odd_bytes(chance, data)
        if chance.random() < 0.3:
            packing = chance.choice(list(PACKED))
            suffix, data = suffix + packing, PACKED[packing](data)
            if chance.random() < 0.3:
                data = _with_odd_bytes(chance, data)
        path = folder / f"odd{suffix}"
        path.write_bytes(data)
        more = [
            part
            for option, values in OPTIONS.items()
            if chance.random() < 0.15
            for part in (option, chance.choice(values))
        ]
        fault = judged(f"{path.name} {more}", run_forked(_command(path, *more), folder))
        yield fault
        path.unlink()


def _command(path: Path, *more: str) -> list[str]:
    # The model does not exist: none is loaded.
    return ["generate", "--dataset", str(path), "--model", "owner/none", "--num-shots", "0",
            "--show-questions", "3", *more]  # fmt: skip


def _with_odd_values(chance: random.Random, document: Any) -> Any:
    holder = {"": json.loads(json.dumps(document))}
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        inside, key = chance.choice(list(_places(holder)))
        value = inside[key]
        mend = chance.choice(
            ["odd", "listed", "named", "renamed", "removed", "written", "printed"]
        )
        match mend:
            case "odd":
                inside[key] = chance.choice(ODD)
            case "listed":
                inside[key] = [value]
            case "named":
                inside[key] = {chance.choice(NAMES): value}
            case "renamed" if isinstance(inside, dict) and inside is not holder:
                inside[chance.choice(NAMES)] = inside.pop(key)
            case "removed" if inside is not holder:
                inside.pop(key)
            case "written":
                inside[key] = json.dumps(value)
            case "printed":
                inside[key] = repr(value)
    return holder[""]


def _places(inside: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(inside if isinstance(inside, dict) else range(len(inside))):
        yield inside, key
        if isinstance(inside[key], dict | list):
            yield from _places(inside[key])


def _with_odd_bytes(chance: random.Random, data: bytes) -> bytes:
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(data) + 1)
        match chance.choice(["flip", "cut", "put", "end", "twice"]):
            case "flip":
                data = data[:at] + bytes(b ^ 1 << chance.randrange(8) for b in data[at : at + 1])
            case "cut":
                data = data[:at] + data[at + chance.randrange(1, 20) :]
            case "put":
                data = data[:at] + chance.choice(PIECES) + data[at:]
            case "end":
                data = data[:at]
            case "twice":
                data = data[:at] + data[at // 2 :]
    return data


def _rows(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, dict):
        document = next((one for one in document.values() if isinstance(one, list)), [document])
    rows = document if isinstance(document, list) else [document]
    return [row if isinstance(row, dict) else {"question": row} for row in rows] or [{}]


def _csv(delimiter: str) -> Callable[[Any], bytes]:
    def write(document: Any) -> bytes:
        rows, out = _rows(document), io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(names)
        writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
        return out.getvalue().encode(errors="surrogatepass")

    return write


def _cell(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _arrow(write: Callable[[pa.Table, Any], object]) -> Callable[[Any], bytes]:
    def written(document: Any) -> bytes:
        sink = pa.BufferOutputStream()
        write(pa.Table.from_pylist(_rows(document)), sink)
        return bytes(sink.getvalue().to_pybytes())

    return written


WRITERS: dict[str, Callable[[Any], bytes]] = {
    ".json": lambda document: json.dumps(document).encode(),
    ".jsonl": lambda document: "\n".join(map(json.dumps, _rows(document))).encode(),
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _arrow(parquet.write_table),
    ".feather": _arrow(feather.write_feather),
}
HOSTILE_FILES = Campaign("hostile files", injections, few=30, many=3_000)
