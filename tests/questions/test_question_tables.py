"""Reading rows of every file kind, and refusing what is no table."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from self_ensemble.errors import UserError
from self_ensemble.questions.tables import read_table

ROWS = [
    {"uuid": "007", "question": "who, me?", "answers": ["a", "b c"]},
    {"uuid": "008", "question": 'a "quoted"\nline', "answers": ["é"]},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".json":
            frame.to_json(path, orient="records")
        case ".csv":
            frame.assign(answers=frame["answers"].map(json.dumps)).to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
        case ".feather":
            frame.to_feather(path)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".feather", ".CSV"])
def test_every_file_kind_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    written = write(tmp_path / f"table{suffix.lower()}", ROWS)
    path = written.rename(tmp_path / f"table{suffix}")
    table = read_table(path)
    cells_are_texts = suffix.lower() == ".csv"
    expected = [
        {**row, "answers": json.dumps(row["answers"]) if cells_are_texts else row["answers"]}
        for row in ROWS
    ]
    assert [dict(row.values) for row in table.rows] == expected
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("t.jsonl", b'{"a": 1}\n\n{"a": 2}\n', ["t.jsonl:1", "t.jsonl:3"]),
        ("t.csv", b'a,b\n"x\ny",1\n\nz,2\n', ["t.csv:2", "t.csv:5"]),
        ("t.json", b'[{"a": 1},\n{"a": 2}]', ["t.json row 1", "t.json row 2"]),
    ],
)
def test_a_row_knows_its_place(
    tmp_path: Path, name: str, content: bytes, places: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert [row.where for row in read_table(path).rows] == [str(tmp_path / p) for p in places]


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"q": "x"}\n{"q": "y"}\n',
        b'{"q": "x"}\r\n{"q": "y"}\r\n',
        b'\xef\xbb\xbf{"q": "x"}\r\n\r\n{"q": "y"}',
    ],
    ids=["byte-order mark", "CRLF", "both, no end of line"],
)
def test_byte_order_mark_and_crlf_are_accepted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    assert [row.values["q"] for row in read_table(path).rows] == ["x", "y"]


def test_byte_order_mark_and_crlf_are_accepted_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfq,answers\r\nx,y\r\n")
    assert [dict(row.values) for row in read_table(path).rows] == [{"q": "x", "answers": "y"}]


def test_a_line_separator_inside_a_text_does_not_split_the_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes('{"q": "a\u2028b\u0085c"}\nnot json\n'.encode())
    with pytest.raises(UserError, match=r"t\.jsonl:2: malformed JSON"):
        read_table(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_line_of_one_megabyte_is_read_whole(tmp_path: Path, suffix: str) -> None:
    text = "x" * 2**20
    path = write(tmp_path / f"long{suffix}", [{"question": text, "answers": ["y"]}])
    assert read_table(path).rows[0].values["question"] == text


def test_empty_csv_cells_are_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('uuid,question,answers,weights\n,"[X] is a [Y]",x,"[0.5, 0.5]"\n')
    assert dict(read_table(path).rows[0].values) == {
        "uuid": None,
        "question": "[X] is a [Y]",
        "answers": "x",
        "weights": "[0.5, 0.5]",
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b"", r"t\.jsonl is empty"),
        ("t.jsonl", b"\xef\xbb\xbf\n \r\n", r"t\.jsonl is empty"),
        ("t.csv", b"question,answers\n", r"t\.csv is empty"),
        ("t.json", b"[]", r"t\.json is empty"),
        ("t.parquet", b"", r"t\.parquet is empty"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', r"t\.jsonl:2: malformed JSON"),
        ("t.jsonl", b"[" * 100_000, r"t\.jsonl:1: malformed JSON"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', r"t\.jsonl:2: the row is a JSON list, not an object"),
        ("t.jsonl", b'{"a": 1}\nnull\n', r"t\.jsonl:2: the row is a JSON null"),
        ("t.jsonl", b'{"a": 1}\n{"a": "\0"}\n', r"t\.jsonl:2: holds a NUL byte"),
        ("t.csv", b"a\nb\nc\0\n", r"t\.csv:3: holds a NUL byte"),
        ("t.jsonl", b'{"a": 1}\n\n{"a": "\xff"}\n', r"t\.jsonl:3: not valid UTF-8"),
        ("t.jsonl", '{"a": 1}'.encode("utf-16"), r"t\.jsonl:1: not valid UTF-8"),
        ("t.json", b'[{"a": 1},\n{"a" 2}]', r"t\.json:2: malformed JSON"),
        ("t.json", b'{"a": 1}\n{"a": 2\n', r"t\.json:3: malformed JSON"),
        ("t.json", b"7", r"t\.json holds one JSON number, not a list"),
        ("t.json", b"[7]", r"t\.json row 1: the row is a JSON number"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", r"t\.csv:3: the row has 3 cells, the header has 2"),
        ("t.csv", b'a,b\n1,2\n"1,2\n', r"t\.csv:3: malformed CSV"),
        ("t.csv", b"a,a\n1,2\n", r"t\.csv has two columns named 'a'"),
        ("t.parquet", b"no parquet", r"t\.parquet .*is not a readable Parquet file"),
        ("t.feather", b"no feather", r"t\.feather.* is not a readable Feather or"),
        ("t.txt", b"text", r"unknown file type '\.txt'.* \.jsonl, \.json, \.csv"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl does not exist"):
        read_table(tmp_path / "absent.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UserError, match=r"folder\.jsonl is a folder\. Give a file"):
        read_table(tmp_path / "folder.jsonl")
