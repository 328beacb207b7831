"""Text files in every layout, encoding and packing."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pyarrow as pa
import pytest
from loading import Writer, load

from self_ensemble.errors import UserError
from self_ensemble.questions import load_questions
from self_ensemble.questions.reading import read_content

ROW = {"question": "caf\u00e9?", "answers": ["a"]}
TEXT = 'question,answers\r\n"caf\u00e9, which?",a\r\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", json.dumps([ROW])),
        ("m.json", json.dumps({"data": [ROW]}, indent=2)),
        ("m.json", json.dumps({"question": [ROW["question"]], "answers": [["a"]]})),
        ("m.json", json.dumps({"question": {"0": ROW["question"]}, "answers": {"0": ["a"]}})),
        ("m.json", json.dumps({"x": ROW})),
        ("m.json", json.dumps({"columns": list(ROW), "index": [0], "data": [list(ROW.values())]})),
        ("m.json", json.dumps(ROW)),
        ("m.json", json.dumps(ROW) + "\n"),
        ("m.jsonl", json.dumps(ROW, indent=2)),
        ("m.jsonl", json.dumps([ROW], indent=2)),
        ("m.jsonl", json.dumps([ROW])),
        ("m.ndjson", json.dumps(ROW)),
        ("m.csv", "question,answers\ncaf\u00e9?,a\n"),
        ("m.csv", "question;answers\ncaf\u00e9?;a\n"),
        ("m.csv", "sep=|\r\nquestion|answers\r\ncaf\u00e9?|a\r\n"),
        ("m.csv", "question\tanswers\ncaf\u00e9?\ta\n"),
        ("m.csv", "question,answers,,\ncaf\u00e9?,a,,\n"),
        ("m.tsv", "question\tanswers\ncaf\u00e9?\ta\n"),
    ],
)
def test_every_layout_of_a_text_file_gives_the_row(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    loaded = load(tmp_path / name)
    assert [(q.wordings, q.answers) for q in loaded] == [(("caf\u00e9?",), ("a",))]


@pytest.mark.parametrize("indent", [None, 2])
def test_objects_one_after_another_under_json(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "m.json"
    path.write_text("\n".join(json.dumps({**ROW, "id": n}, indent=indent) for n in range(3)))
    assert [q.uuid for q in load(path)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "question;answers,x\na;b,c\n", r"separated by commas or semicolons.* sep=,"),
        ("m.tsv", 'question\tanswers\n"a\tb\nc"\td\n', r"m\.tsv:2: a cell begins with a quote"),
        ("m.json", '{"question": ["a", "b"], "answers": ["x"]}', r"question 2, answers 1\)"),
        ("m.json", '{"data": [{"paragraphs": [{"context": "c"}]}]}', r"paragraph 1 has no list"),
        ("m.jsonl", '{"question": "a", "question": "b"}\n{}', r":1: .*'question' stands twice"),
        ("m.jsonl", '{"question": "a",\n', r"m\.jsonl:\d: malformed JSON"),
    ],
)
def test_what_is_no_layout_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load(tmp_path / name)


def test_booleans_of_a_csv_column_are_yes_and_no(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("question,answer\na?,True\nb?,False\n")
    assert [q.answers for q in load(path)] == [("yes", "true"), ("no", "false")]
    path.write_text("question,answer\na?,True\nb?,Gold\n")
    assert [q.answers for q in load(path)] == [("True",), ("Gold",)]


def test_whole_numbers_that_pandas_made_floats_of_are_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    pd.DataFrame({"question": ["a?", "b?"], "answer": [1945, None]}).to_csv(path, index=False)
    assert "1945.0" in path.read_text()
    assert [q.answers for q in load(path)] == [("1945",), ()]
    path.write_text("question,answer\na?,1945.0\nb?,2.0\n")
    assert [q.answers for q in load(path)] == [("1945.0",), ("2.0",)]
    path.write_text("question,answer\na?,1945.0\nb?,2.5\nc?,\n")
    assert [q.answers for q in load(path)] == [("1945.0",), ("2.5",), ()]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252", "utf-8", "utf-8-sig"])
def test_other_encodings_are_read_when_they_are_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(TEXT.encode(encoding))
    assert load(path, encoding=encoding)[0].wordings == ("caf\u00e9, which?",)


@pytest.mark.parametrize(
    ("encoding", "given", "message"),
    [
        (
            "utf-16",
            None,
            r"m\.csv:1: not valid UTF-8 \(byte 0xff at offset 0\).*--encoding utf-16",
        ),
        ("utf-32", None, r"--encoding utf-32"),
        ("cp1252", None, r"m\.csv:2: .*byte 0xe9 at offset 22\).*--encoding cp1252"),
        ("utf-16-le", None, r"m\.csv:2: not valid UTF-8 .*--encoding utf-16-le"),
        ("utf-8", "utf-8x", r"Got --encoding utf-8x, which is no encoding"),
        ("utf-8", "rot13", r"Got --encoding rot13, which is no encoding"),
        ("utf-8", "utf\0", r"Got --encoding utf\0, which is no encoding"),
        ("utf-8", "ascii", r"m\.csv:2: not valid ascii"),
    ],
)
def test_another_encoding_is_named_in_the_message(
    tmp_path: Path, encoding: str, given: str | None, message: str
) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(TEXT.encode(encoding))
    with pytest.raises(UserError, match=message):
        load_questions(str(path), num_shots=0, encoding=given)


def _zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", _zst)],
)
def test_packed_files_are_unpacked_and_damaged_ones_refused(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"mine.jsonl{suffix}"
    packed = pack(b"".join(json.dumps({**ROW, "id": n}).encode() + b"\n" for n in range(50)))
    path.write_bytes(packed)
    loaded = load_questions(str(path), num_shots=0)
    assert (loaded.name, len(loaded.questions)) == ("mine", 50)
    for damaged in (packed[:-5], packed[:9], b"no such packing"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"mine\.jsonl\.\w+ .*Pack it anew"):
            load(path)


def test_a_damaged_packed_file_leaves_no_memory_taken(tmp_path):
    path = tmp_path / "questions.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"question": "Who?", "answers": ["Paris"]}\n')[:-10])
    before = psutil.Process().memory_info().vms
    for _ in range(4):
        with pytest.raises(UserError, match="cut short"):
            read_content(path)
    assert psutil.Process().memory_info().vms < before + 2**32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, r"--split chooses a part of a folder"),
        ({"answers_separator": ""}, r"Got an empty --answers-separator"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    write_jsonl: Writer, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(write_jsonl("m.jsonl", [ROW]), **options)
    with pytest.raises(UserError, match=r"which demo is not|Got an empty"):
        load_questions("demo", **options)
