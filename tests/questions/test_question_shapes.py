"""Files in the shapes that data sets of this field are published in."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import datasets
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from self_ensemble.errors import UserError
from self_ensemble.questions import Question, load_questions
from self_ensemble.questions.reading import read_content
from self_ensemble.scoring.lemmas import simplemma_lemmatiser
from self_ensemble.scoring.scores import is_right

Writer = Callable[[str, Iterable[object]], Path]
Read = list[tuple[str, tuple[str, ...], tuple[str, ...]]]


def load(path: Path, **options: str) -> tuple[Question, ...]:
    return load_questions(str(path), num_shots=0, **options).questions


def read(path: Path, **options: str) -> Read:
    return [(q.uuid, q.wordings, q.answers) for q in load(path, **options)]


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Rivers",
            "paragraphs": [
                {
                    "context": "The Amu is long.",
                    "qas": [
                        {
                            "id": "s1",
                            "question": "Which is long?",
                            "answers": [
                                {"text": "The Amu", "answer_start": 0},
                                {"text": "Amu", "answer_start": 4},
                                {"text": "Amu", "answer_start": 4},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "id": "s2",
                            "question": "Which is short?",
                            "answers": [],
                            "plausible_answers": [{"text": "Amu", "answer_start": 4}],
                            "is_impossible": True,
                        },
                    ],
                }
            ],
        }
    ],
}
TRIVIA = {
    "Domain": "Web",
    "Data": [
        {
            "Answer": {
                "Aliases": ["Amu Darya", "Oxus"],
                "NormalizedAliases": ["amu darya", "oxus"],
                "NormalizedValue": "amu darya",
                "Type": "WikipediaEntity",
                "Value": "Amu Darya",
            },
            "Question": "Which river?",
            "QuestionId": "tc_1",
        }
    ],
}
TRIVIA_ROW = {
    "question": "Which river?",
    "question_id": "tc_1",
    "entity_pages": {"title": []},
    "answer": {
        "aliases": ["Amu Darya", "Oxus"],
        "normalized_aliases": ["amu darya", "oxus"],
        "value": "Amu Darya",
        "normalized_value": "amu darya",
    },
}
TRIVIA_READ = [("tc_1", ("Which river?",), ("Amu Darya", "Oxus", "amu darya", "oxus"))]


def test_squad_in_its_nesting(tmp_path: Path) -> None:
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(SQUAD))
    assert read(path) == [
        ("s1", ("Which is long?",), ("The Amu", "Amu")),
        ("s2", ("Which is short?",), ()),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv", "json"])
def test_squad_as_rows(tmp_path: Path, suffix: str) -> None:
    answers = [{"text": ["Amu"], "answer_start": [4]}, {"text": [], "answer_start": []}]
    frame = pd.DataFrame({"id": ["s1", "s2"], "question": ["a?", "b?"], "answers": answers})
    assert read(_write(tmp_path / f"squad.{suffix}", frame)) == [
        ("s1", ("a?",), ("Amu",)),
        ("s2", ("b?",), ()),
    ]


def _write(path: Path, frame: pd.DataFrame) -> Path:
    match path.suffix:
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".json":
            frame.to_json(path)
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            # As pandas shows what it read from Parquet: with arrays of numpy.
            frame = frame.map(
                lambda value: (
                    {k: np.array(v, dtype=object) for k, v in value.items()}
                    if isinstance(value, dict)
                    else value
                )
            )
            frame.to_csv(path, index=False)
    return path


def test_triviaqa_as_published_and_on_the_hub(tmp_path: Path, write_jsonl: Writer) -> None:
    path = tmp_path / "trivia.json"
    path.write_text(json.dumps(TRIVIA, indent=1))
    assert read(path) == TRIVIA_READ
    assert read(write_jsonl("trivia.jsonl", [TRIVIA_ROW])) == TRIVIA_READ
    pd.DataFrame([TRIVIA_ROW]).to_parquet(tmp_path / "trivia.parquet")
    assert read(tmp_path / "trivia.parquet") == TRIVIA_READ


@pytest.mark.parametrize("path", ["answer.aliases", "answer.normalized_aliases"])
def test_a_path_leads_into_an_object(write_jsonl: Writer, path: str) -> None:
    file = write_jsonl("trivia.jsonl", [TRIVIA_ROW])
    key = path.partition(".")[2]
    expected = tuple(TRIVIA_ROW["answer"][key])
    assert load(file, columns=f"answers={path}")[0].answers == expected
    with pytest.raises(UserError, match=r"'answer.gold' leads nowhere: no key 'gold', only alia"):
        load(file, columns="answers=answer.gold")


def test_popqa_has_a_list_in_a_text(tmp_path: Path) -> None:
    row = {"id": 4222, "subj": "G", "question": "What is G's job?",
           "possible_answers": '["politician", "political leader"]'}  # fmt: skip
    pd.DataFrame([row]).to_csv(tmp_path / "popqa.tsv", sep="\t", index=False)
    pd.DataFrame([row]).to_parquet(tmp_path / "popqa.parquet")
    for name in ("popqa.tsv", "popqa.parquet"):
        assert read(tmp_path / name) == [
            ("4222", ("What is G's job?",), ("politician", "political leader"))
        ]


@pytest.mark.parametrize(
    ("row", "question", "answers"),
    [
        ({"question": "q?", "answer": ["a", "b"]}, "q?", ("a", "b")),  # NQ-open
        ({"question": "q?", "answer": "a"}, "q?", ("a",)),
        ({"question": "q?", "answer": "a", "answer_aliases": ["b", "a"]}, "q?", ("a", "b")),
        ({"question": "q?", "answer": "a", "answer_pattern": "b+"}, "q?", ("a", "(?#pattern)b+")),
        (
            {"url": "u", "utterance": "q?", "targetValue": '(list (description "a b"))'},
            "q?",
            ("a b",),
        ),
        ({"url": "u", "question": "q?", "answers": ["a"]}, "q?", ("a",)),
        ({"question": "is it?", "answer": True, "passage": "p"}, "is it?", ("yes", "true")),
        ({"Question": "q?", "ANSWERS": "a"}, "q?", ("a",)),
        ({"question": "q?", "choices": ["a", "b"], "answer": "b"}, "q?", ("b",)),
    ],
)
def test_columns_are_known_by_the_names_that_data_sets_use(
    write_jsonl: Writer, row: dict[str, object], question: str, answers: tuple[str, ...]
) -> None:
    loaded = load(write_jsonl("m.jsonl", [row]))[0]
    assert (loaded.wordings, loaded.answers) == ((question,), answers)


@pytest.mark.parametrize(
    ("row", "uuid"),
    [
        ({"qid": "x"}, "x"),
        ({"question_id": 7}, "7"),
        ({"_id": "x"}, "x"),
        ({"ID": "x"}, "x"),
        ({"id": 7.0}, "7"),
        ({"uuid": "u", "id": "i", "qid": "q"}, "u"),
    ],
)
def test_ids_under_other_names(write_jsonl: Writer, row: dict[str, object], uuid: str) -> None:
    assert load(write_jsonl("m.jsonl", [{"question": "q", "answer": "a", **row}]))[0].uuid == uuid


def test_the_user_names_the_columns(write_jsonl: Writer) -> None:
    row = {"q": "one?", "gold": "a", "key": 3, "others": ["two?"], "question": "no", "answers": 0}
    path = write_jsonl("m.jsonl", [row])
    loaded = load(path, columns="question=q, answers=gold,id=key,paraphrases=others")[0]
    assert (loaded.uuid, loaded.wordings, loaded.answers) == ("3", ("one?", "two?"), ("a",))


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        (
            {"q": "x", "a": "y"},
            None,
            r":1: the row has neither .* columns are: q, a\..* --columns ",
        ),
        ({"question": "x", "a": "y"}, None, r"the row has no 'answers'.*--columns question=NAME,"),
        ({"question": "x"}, "answers=gold", r":1: there is no column 'gold'.* are: question\."),
        ({"question": "x", "Question": "y", "answers": "a"}, None, r"'question' and 'Question'"),
        ({"question": "x", "answer": "a", "possible_answers": "b"}, None, r"--columns answers=an"),
        ({"question": "x", "answers": "a"}, "answer=b", r"'answer'\. Did you mean 'answers'"),
        ({"question": "x", "answers": "a"}, "answers", r"Got --columns 'answers'\. Write --col"),
        ({"question": "x", "answers": "a"}, "id=a,uuid=b", r"names id twice"),
        ({"question": "x", "choices": ["a", "b"], "answer": 1}, None, r"'answer' is 1, the mark"),
        ({"question": "x", "options": {"A": "b"}, "answer": "A"}, None, r"is 'A', the mark of"),
    ],
)
def test_columns_that_are_not_clear_are_refused(
    write_jsonl: Writer, row: dict[str, object], columns: str | None, message: str
) -> None:
    path = write_jsonl("m.jsonl", [row])
    with pytest.raises(UserError, match=message):
        load_questions(str(path), num_shots=0, columns=columns)


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


def test_values_of_every_arrow_type_become_answers(tmp_path: Path) -> None:
    noon = datetime(2020, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    columns: list[tuple[pa.Array, tuple[str, ...]]] = [
        (pa.array([1945], pa.int16()), ("1945",)),
        (pa.array([0.1], pa.float32()), ("0.1",)),
        (pa.array([1945.0]), ("1945",)),
        (pa.array([Decimal("1.50")]), ("1.50",)),
        (pa.array([True]), ("yes", "true")),
        (pa.array([date(1971, 9, 18)]), ("1971-09-18",)),
        (
            pa.array([4_000_000], pa.int32()).cast(pa.date32()),
            (str(np.datetime64(4_000_000, "D")),),
        ),
        (pa.array([datetime(1971, 9, 18)], pa.timestamp("ns")), ("1971-09-18",)),
        (pa.array([noon], pa.timestamp("ns", tz="Europe/Berlin")), ("2020-01-01 12:00:00+0100",)),
        (pa.array([[date(1971, 9, 18)]]), ("1971-09-18",)),
        (pa.array(["a"], pa.large_string()), ("a",)),
        (pa.array(["a"]).dictionary_encode(), ("a",)),
        (pa.array([b"caf\xc3\xa9"]), ("caf\u00e9",)),
        (pa.array([["a", None, "b"]]), ("a", "b")),
        (pa.array([[{"text": "a"}, {"text": "b"}]]), ("a", "b")),
        (pa.array([None], pa.null()), ()),
        (pa.array([float("nan")]), ()),
    ]
    for number, (column, answers) in enumerate(columns):
        table = pa.table({"question": ["q"], "answers": column})
        for path, write in ((tmp_path / f"{number}.parquet", parquet.write_table),
                            (tmp_path / f"{number}.feather", feather.write_feather)):  # fmt: skip
            write(table, path)
            assert load(path)[0].answers == answers, column.type


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**40], pa.int64()).cast(pa.timestamp("s", tz="Nowhere/Land")),
        pa.array([2**62], pa.int64()).cast(pa.timestamp("s")),
        pa.array([b"\xff"]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    ],
    ids=lambda column: str(column.type),
)
def test_an_arrow_value_without_a_text_matters_only_where_it_is_used(
    tmp_path: Path, column: pa.Array
) -> None:
    path = tmp_path / "m.feather"
    feather.write_feather(pa.table({"question": ["q"], "answers": ["a"], "x": column}), path)
    assert load(path)[0].answers == ("a",)
    with pytest.raises(UserError, match=r"m\.feather row 1: 'x' is "):
        load(path, columns="answers=x")


def test_folders_saved_by_datasets(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    test = datasets.Dataset.from_dict({"question": ["a?", "b?"], "answers": [["x"], ["y"]]})
    test.save_to_disk(tmp_path / "one", num_shards=2)
    splits = datasets.DatasetDict({"train": test.select([1]), "test": test})
    splits.save_to_disk(tmp_path / "both")
    both = [(("a?",), ("x",)), (("b?",), ("y",))]
    loaded = load_questions(str(tmp_path / "one"), num_shots=0)
    assert [(q.wordings, q.answers) for q in loaded.questions] == both
    assert loaded.name == "one"
    loaded = load_questions(str(tmp_path / "both"), num_shots=0, split="test")
    assert [(q.wordings, q.answers) for q in loaded.questions] == both
    assert loaded.name == "both-test"
    with pytest.raises(UserError, match=r"has the splits train, test\. Say which: --split train"):
        load(tmp_path / "both")
    with pytest.raises(UserError, match=r"Unknown split 'tset'\. Did you mean 'test'"):
        load(tmp_path / "both", split="tset")
    shard = next((tmp_path / "one").glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"cut short"):
        load(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}')
    with pytest.raises(UserError, match=r"names '\.\./x\.arrow', which is no file of its folder"):
        load(tmp_path / "one")


def test_the_numbers_of_classes_are_read_by_their_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"question": ["a?", "b?", "c?"], "answer": [1, 0, -1]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "m.parquet")
    for path in (tmp_path / "saved", tmp_path / "m.parquet"):
        assert [q.answers for q in load(path)] == [("yes",), ("no",), ()]


def test_metadata_that_cannot_be_read_has_no_names_of_classes(tmp_path: Path) -> None:
    table = pa.table({"question": ["q"], "answers": ["a"]})
    for metadata in (b"[" * 100_000, b"{", b"[]", b'{"info": {"features": []}}', b"\xff"):
        feather.write_feather(
            table.replace_schema_metadata({b"huggingface": metadata}), tmp_path / "m.feather"
        )
        assert load(tmp_path / "m.feather")[0].answers == ("a",)


def test_folders_of_shards(tmp_path: Path) -> None:
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for split, part in (("train", 0), ("test", 0), ("test", 1)):
        frame = pd.DataFrame({"question": [f"{split} {part}?"], "answers": [["x"]]})
        frame.to_parquet(tmp_path / "hub" / "data" / f"{split}-0000{part}-of-00002.parquet")
    loaded = load(tmp_path / "hub", split="test")
    assert [q.wordings for q in loaded] == [("test 0?",), ("test 1?",)]
    (tmp_path / "two").mkdir()
    for name in ("cats.csv", "dogs.csv"):
        (tmp_path / "two" / name).write_text("question,answers\nq,a\n")
    with pytest.raises(UserError, match=r"holds cats\.csv, dogs\.csv\. Give one of the files"):
        load(tmp_path / "two")


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


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("bear", None, 5899),
        ("entityquestions", None, 16_412),
        ("graphquestions", None, 163),
        ("myriadlama", None, 1502),
        ("myriadlama_like", None, 18_937),
        ("trec9_variants", None, 42),
        ("webquestions", "test", 1527),
        ("webquestions", "train", 3778),
    ],
)
def test_every_folder_of_the_evaluation_data_loads(
    evaluation_data: Path, name: str, split: str | None, count: int
) -> None:
    loaded = load_questions(str(evaluation_data / name), num_shots=0, split=split)
    assert len(loaded.questions) == count
    assert all(question.wordings and question.answers for question in loaded.questions)


def test_patterns_are_searched_for_and_never_shown_as_an_answer(write_jsonl: Writer) -> None:
    rows = [
        {
            "id": "t1",
            "question": "Which bear?",
            "answer_patterns": ["Pooh.+bears?", "^\\s*bears?$"],
        },
        {"id": "t2", "question": "Which car?", "answer_patterns": "[Ff]ord [A-Z]"},
        {"id": "t3", "question": "Which cat?", "answers": ["Tom"], "answer_patterns": ["To+m"]},
        {"id": "t4", "question": "Which dog?", "answers": ["Rex"]},
    ]
    path = write_jsonl("trec.jsonl", rows)
    loaded = {question.uuid: question for question in load(path)}
    right = {"t1": "pooh, one of the bears", "t2": "a FORD T", "t3": "Tooom", "t4": "Rex"}
    wrong = {"t1": "two bears here", "t2": "ford", "t3": "Tm", "t4": "Max"}
    lemmatiser = simplemma_lemmatiser()
    for uuid, question in loaded.items():
        assert is_right(right[uuid], question.answers, lemmatiser), uuid
        assert not is_right(wrong[uuid], question.answers, lemmatiser), uuid
    assert [question.answer_texts for question in loaded.values()] == [(), (), ("Tom",), ("Rex",)]
    shots = load_questions(str(path), num_shots=2).shots
    assert {shot.answer for shot in shots} == {"Tom", "Rex"}
    by_name = load(path, columns="answer_patterns=answers,answers=id")
    assert is_right("a Tom cat", by_name[2].answers, lemmatiser)
    with pytest.raises(
        UserError, match=r"m\.jsonl:1: 'answer_patterns': the pattern '\(a' cannot"
    ):
        load(write_jsonl("m.jsonl", [{"question": "q", "answer_patterns": ["(a"]}]))


def test_a_chosen_column_that_a_row_lacks_is_not_made_up_from_another(write_jsonl: Writer) -> None:
    rows = [{"question": "a?", "gold": "x", "p": ["b?"]}, {"question": "c?", "gold": "y"}]
    options = {"columns": "answers=gold,paraphrases=p"}
    path = write_jsonl("m.jsonl", rows)
    assert [q.wordings for q in load(path, **options)] == [("a?", "b?"), ("c?",)]
    path = write_jsonl("m.jsonl", [*rows, {"question": "d?", "answers": "z"}])
    with pytest.raises(UserError, match=r"m\.jsonl:3: the row has no 'answers'"):
        load(path, **options)


def test_a_damaged_packed_file_leaves_no_memory_taken(tmp_path):
    path = tmp_path / "questions.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"question": "Who?", "answers": ["Paris"]}\n')[:-10])
    before = psutil.Process().memory_info().vms
    for _ in range(4):
        with pytest.raises(UserError, match="cut short"):
            read_content(path)
    assert psutil.Process().memory_info().vms < before + 2**32
