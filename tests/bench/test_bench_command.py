"""The command: tables, files, one JSON document at the end, and what it refuses."""

import json
from math import isclose

import pytest

from benchmarks.__main__ import main
from benchmarks.line_up import RIVALS

TINY = ["--random-weights", "tiny", "--shape", "9,2,4,3", "--batch-size", "2", "--repeats", "2"]


def run(*arguments: str) -> None:
    assert main(list(arguments)) == 0


def document(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.usefixtures("plain_layers")
def test_the_last_line_is_a_json_document_with_every_rival(capsys):
    run(*TINY, "--questions", "3")
    found = document(capsys)
    assert list(found["fixed"]["rivals"]) == list(RIVALS)
    assert found["work"] | {"questions": 3, "batch_size": 2, "wordings": 2} == found["work"]
    assert found["check"]["num_tokens"] == 2 * (1 + 1 + 2 + 2 + 1) * 3
    assert found["ending_early"] is None
    assert found["growth"] is None
    assert found["versions"]["torch"]
    for name, row in found["fixed"]["rivals"].items():
        assert row["num_repeats"] == (1 if name == "published" else 2)
        assert row["num_questions"] == (1 if name == "published" else 3)
        low, median, high = (row["ms_per_question"][key] for key in ("p10", "median", "p90"))
        assert 0 < low <= median <= high
        share = row["floor_ms_per_question"] / median
        assert isclose(row["roofline_share"], share, rel_tol=1e-6)
    ours = found["fixed"]["rivals"]["flex_attention"]
    # The prefix once in three questions; two wordings, a cue and two fed-back tokens in each.
    assert isclose(ours["tokens_per_question"], 9 / 3 + 2 * 4 + 1 + 2)


def test_ratios_are_those_of_the_medians(capsys):
    run(*TINY, "--rivals", "generate_one,flex_attention")
    fixed = document(capsys)["fixed"]
    ms = {name: row["ms_per_question"]["median"] for name, row in fixed["rivals"].items()}
    assert fixed["ratios"] == {
        "flex_attention against generate_one": ms["generate_one"] / ms["flex_attention"]
    }


@pytest.mark.usefixtures("plain_layers")
def test_text_is_run_a_second_time_with_stop_strings(capsys, tmp_path, tiny_model, tiny_tokenizer):
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    few = ["--num-shots", "0", "--num-paraphrases", "2", "--max-new-tokens", "4"]
    small = ["--batch-size", "2", "--repeats", "1", "--check-questions", "1", "--rivals", "avg"]
    run("--model", str(tmp_path), *few, *small)
    found = document(capsys)
    assert list(found["ending_early"]["rivals"]) == ["avg"]
    assert found["ending_early"]["rivals"]["avg"]["step_ms"]["median"] is None
    run("--model", str(tmp_path), *few, *small, "--skip-stop-run")
    assert document(capsys)["ending_early"] is None


def test_results_are_appended_and_the_picture_is_written(capsys, tmp_path):
    results, picture = tmp_path / "RESULTS.md", tmp_path / "bench.png"
    results.write_text("# Results\n")
    few = [*TINY, "--rivals", "generate_one,flex_attention"]
    run(*few, "--write-results", str(results), "--plot", str(picture))
    run(*few, "--write-results", str(results))
    text = results.read_text()
    assert "    python -m benchmarks --random-weights tiny" in text
    assert text.startswith("# Results\n\n## 20")
    assert text.count("| flex_attention |") == 2
    assert text.count("- flex_attention against generate_one: ") == 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()


@pytest.mark.usefixtures("plain_layers")
@pytest.mark.parametrize(
    ("what", "values", "tokens", "num_batches"),
    [
        # Prefix once in two questions, wordings, cue, and two tokens that are fed back.
        ("num_paraphrases", (1, 3), [9 / 2 + 4 + 3, 9 / 2 + 12 + 3], [1, 1]),
        ("prefix", (5, 50), [5 / 2 + 8 + 3, 50 / 2 + 8 + 3], [1, 1]),
        ("batch", (1, 4), [9 / 1 + 8 + 3, 9 / 4 + 8 + 3], [1, 1]),
        ("questions", (2, 6), [9 / 2 + 8 + 3, 9 / 6 + 8 + 3], [1, 3]),
    ],
)
def test_one_thing_grows_and_the_rest_stays(capsys, what, values, tokens, num_batches):
    joined = ",".join(map(str, values))
    run(*TINY, "--rivals", "flex_attention", "--grow", what, "--grow-values", joined)
    growth = document(capsys)["growth"]
    assert [point["value"] for point in growth["points"]] == list(values)
    assert [point["num_batches"] for point in growth["points"]] == num_batches
    found = [point["tokens_per_question"] for point in growth["points"]]
    assert all(isclose(one, two) for one, two in zip(found, tokens, strict=True))
    assert (growth["peak_bytes_per_question"] is None) == (what != "questions")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rivals", "flex_atention"], "Did you mean 'flex_attention'"),
        (["--rivals", "openvino"], "Use: python -m benchmarks.engines --only openvino"),
        (["--repeats", "0"], "Got --repeats 0. Give 1 or more"),
        (["--shape", "1,2"], "Give four whole numbers"),
        (["--shape", "9,2,4,3", "--num-shots", "2"], "--num-shots is for the bundled questions"),
        (["--random-weights", "tiny", "--model", "x"], "Give one of them"),
        (["--random-weights", "llama9"], "Unknown architecture for random weights 'llama9'"),
        (["--grow", "speed"], "Unknown growth 'speed'"),
        (["--grow-values", "1,2"], "--grow-values needs --grow"),
        (["--grow", "batch", "--grow-values", "0"], "Give whole numbers from 1"),
        (["--grow", "batch", "--plot", "x.png"], "Leave out --plot"),
        ([*TINY, "--dtype", "float16", "--plain-layers"], "--plain-layers changes nothing"),
        ([*TINY, "--decode", "compiled"], "cannot compile packed layers. Add --plain-layers"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_measured(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--rivals", ","], ["--grow-values", "1,x"], ["--grwo"]])
def test_what_cannot_be_read_is_refused(arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_steps_of_fixed_shape_are_measured_after_the_same_check(capsys):
    run(*TINY, "--rivals", "flex_attention,all", "--decode", "captured")
    found = document(capsys)
    assert found["model"]["decode_of_ours"] == "captured"
    assert found["check"]["num_tokens"] == 2 * (1 + 1 + 2 + 2 + 1) * 3
    # Two questions of 8 tokens and a cue, in two rows, and two tokens that are fed back.
    tokens = found["fixed"]["rivals"]["flex_attention"]["tokens_per_question"]
    assert tokens >= 9 / 2 + 2 * 4 + 1 + 2


@pytest.mark.parametrize(("more", "layers"), [([], "packed"), (["--plain-layers"], "plain")])
def test_the_document_says_which_layers_ours_ran_on(capsys, more, layers):
    run(*TINY, "--rivals", "flex_attention", *more)
    assert document(capsys)["model"]["linear_layers_of_ours"] == layers
