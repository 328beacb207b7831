"""`self-ensemble mask --compare`: both ways of reading, and both answers."""

import re

import pytest

from self_ensemble.asking.request import Request, Settings
from self_ensemble.cli.masks import compare
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import load_model
from tests.cli.commands import write_rows
from tests.cli.test_mask import WORDINGS, run

TEXTS = tuple(WORDINGS[1::2])


def told(output: str) -> dict[str, list[str]]:
    """The numbers and the answer of each line, by its name."""
    lines = re.findall(r"^(packed|concatenated) +(\S+) +(\S+) +(\S+)  (.*)$", output, re.MULTILINE)
    return {name: list(values) for name, *values in lines}


def test_tokens_pairs_and_positions_are_those_of_the_two_masks(tiny_folder):
    found = told(run("--model", tiny_folder, *WORDINGS, "--compare", "--generated", 0))
    tokens = int(found["packed"][0])
    assert int(found["concatenated"][0]) == tokens
    assert int(found["concatenated"][1]) == tokens * (tokens + 1) // 2
    assert int(found["packed"][1]) < tokens * (tokens + 1) // 2
    assert int(found["concatenated"][2]) == tokens - 1 > int(found["packed"][2])


def test_both_answers_are_the_engines_under_the_two_masks(tiny_folder):
    found = told(run("--model", tiny_folder, *WORDINGS, "--compare", "--chat-template", "off"))
    model = load_model(str(tiny_folder))
    causal = Settings(positions="contiguous", segment_weights="none")
    for name, settings, readable in (
        ("packed", Settings(), ()), ("concatenated", causal, ((1, 0),)),
    ):  # fmt: skip
        ensemble = Ensemble(model, "flex_attention", settings=settings)
        (answer,) = ensemble.run([Request("x", TEXTS, readable=readable)])["flex_attention"]
        assert found[name][3] == repr(answer.text)
    assert found["packed"][3] != found["concatenated"][3]


def test_weights_of_ones_own_reach_the_packed_answer(tiny_folder):
    one = told(run("--model", tiny_folder, *WORDINGS[:2], "--compare"))
    first = told(run("--model", tiny_folder, *WORDINGS, "--compare", "--segment-weights", "1,0"))
    assert first["packed"][3] == one["packed"][3]


def test_one_wording_is_read_alike_in_both_ways(tiny_folder):
    found = told(run("--model", tiny_folder, *WORDINGS[:2], "--compare"))
    assert found["packed"] == found["concatenated"]


def test_accepted_answers_judge_both(tiny_folder, tmp_path, monkeypatch):
    rows = [{"uuid": "a", "paraphrases": list(TEXTS), "answers": ["Paris"]}]
    path = write_rows(tmp_path / "one.jsonl", rows)
    monkeypatch.setattr(compare, "_packed_answer", lambda *_: "It is Paris.")
    page = tmp_path / "a.html"
    output = run(
        "--dataset", path, "--num-shots", 0, "--num-paraphrases", 2, "--model", tiny_folder,
        "--compare", "--html", page,
    )  # fmt: skip
    found = told(output)
    assert found["packed"][3] == "'It is Paris.' (right)"
    assert found["concatenated"][3].endswith(" (wrong)")
    assert "accepted: 'Paris'\n" in output
    html = page.read_text("utf-8")
    assert html.count('<section class="mask"') == 2
    assert "It is Paris.</b> (right)" in html


def test_the_engine_still_has_its_attention_afterwards(tiny_folder):
    output = run("--model", tiny_folder, *WORDINGS, "--compare", "--check")
    assert "Isolated: no wording reads another." in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lengths", "3", "--compare"], "--compare goes with --dataset or --text, not with"),
        (["--text", "a", "--device", "cpu"], "--device changes nothing: only the tokenizer is"),
        (["--text", "a", "--dtype", "float32"], "--dtype changes nothing"),
        (["--text", "a", "--attention", "sdpa"], "Leave it out, or add --check or --compare."),
    ],
)
def test_what_would_change_nothing_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_wordings_that_are_too_long_together_are_refused(tiny_folder):
    long = ["--text", "b" * 260, "--text", "c" * 260]
    with pytest.raises(UserError, match=r"All wordings in one prompt .* the model has 512\. Give"):
        run("--model", tiny_folder, *long, "--compare")
