"""The meaning checks: the same answer, and entailment both ways."""

import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

from self_ensemble.asking.request import Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.questions.schema import Question
from self_ensemble.wordings.checks import AnswerCheck, same_answer
from self_ensemble.wordings.entailment import load_entailment

QUESTION = Question("a", ("who built the bridge?",), ("Seven",))
OTHER = Question("b", ("is the river slow?",), ("yes",))
WORDINGS = ["The bridge was built by whom?", "who built the bridge?", "whose bridge?"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris", "the Paris.", True),
        ("two bridges", "two bridge", True),
        ("Paris", "Rome", False),
        ("", "", False),
        ("...", "...", False),
    ],
)
def test_answers_are_compared_by_text_and_lemmas(one: str, other: str, same: bool) -> None:
    assert same_answer(one, other) is same


def test_a_wording_passes_if_it_is_answered_as_the_original_is(long_model: LoadedModel) -> None:
    ensemble = Ensemble(long_model, "origin", settings=Settings(max_new_tokens=12))
    check = AnswerCheck(ensemble)
    verdicts = check([(QUESTION, wording) for wording in WORDINGS] + [(OTHER, WORDINGS[0])])
    texts = [QUESTION.wordings[0], *WORDINGS, OTHER.wordings[0]]
    answers = {text: ensemble.answer([text]).text for text in texts}
    assert [verdict.note for verdict in verdicts] == [
        f"answer: {answers[text]}" for text in (*WORDINGS, WORDINGS[0])
    ]
    original = answers[QUESTION.wordings[0]]
    assert [verdict.passed for verdict in verdicts[:3]] == [
        same_answer(original, answers[text]) for text in WORDINGS
    ]
    assert verdicts[1].passed
    # Asked again, the original's answer is remembered and is the same.
    assert check([(QUESTION, WORDINGS[1])])[0].passed


def test_a_wording_too_long_to_be_asked_does_not_pass(long_model: LoadedModel) -> None:
    check = AnswerCheck(Ensemble(long_model, "origin", settings=Settings(max_new_tokens=12)))
    verdict, fine = check([(QUESTION, "why? " * 4000), (QUESTION, QUESTION.wordings[0])])
    assert not verdict.passed
    assert fine.passed


def save_classifier(
    folder: Path, tokenizer: PreTrainedTokenizerBase, labels: dict[int, str]
) -> None:
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=512, id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
        torch.nn.init.normal_(model.classifier.weight, std=5.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def nli_folder(tmp_path_factory, tiny_tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("nli")
    save_classifier(folder, tiny_tokenizer, {0: "contradiction", 1: "Entailment", 2: "neutral"})
    return folder


def test_entailment_is_asked_in_both_directions(nli_folder: Path, tiny_tokenizer) -> None:
    model = BertForSequenceClassification.from_pretrained(nli_folder).eval()

    def entails(premise: str, hypothesis: str) -> float:
        encoded = tiny_tokenizer(premise, hypothesis, return_tensors="pt")
        with torch.inference_mode():
            return model(**encoded).logits.softmax(-1)[0, 1].item()

    pairs = [(QUESTION, wording) for wording in WORDINGS] + [(OTHER, WORDINGS[0])]
    expected = [
        (entails(question.wordings[0], wording), entails(wording, question.wordings[0]))
        for question, wording in pairs
    ]
    assert any(there != pytest.approx(back, abs=0.01) for there, back in expected)
    threshold = sorted(min(both) for both in expected)[1] + 1e-3
    verdicts = load_entailment(str(nli_folder), threshold, "cpu")(pairs)
    assert [verdict.passed for verdict in verdicts] == [min(p) >= threshold for p in expected]
    assert {verdict.passed for verdict in verdicts} == {True, False}
    assert [v.note for v in verdicts] == [f"nli: {a:.2f}, {b:.2f}" for a, b in expected]


def test_a_model_without_the_label_is_refused(tmp_path: Path, tiny_tokenizer) -> None:
    save_classifier(tmp_path, tiny_tokenizer, {0: "good", 1: "bad"})
    with pytest.raises(UserError, match="labels good, bad, and one must be 'entailment'"):
        load_entailment(str(tmp_path), 0.5, "cpu")


def test_a_language_model_is_no_entailment_model(long_folder: Path) -> None:
    with pytest.raises(UserError, match=r"is no sequence classifier: it has no weights for score"):
        load_entailment(str(long_folder), 0.5, "cpu")


def test_what_an_entailment_model_takes_for_entailment_is_part_of_it(
    tmp_path: Path, tiny_tokenizer
) -> None:
    save_classifier(tmp_path, tiny_tokenizer, {0: "entailment", 1: "neutral", 2: "contradiction"})
    before = load_entailment(str(tmp_path), 0.5, "cpu").identity()
    for file, key, value in (
        ("config.json", "id2label", {"0": "neutral", "1": "entailment", "2": "contradiction"}),
        ("tokenizer_config.json", "model_max_length", 7),
        ("tokenizer_config.json", "padding_side", "left"),
    ):
        content = json.loads((tmp_path / file).read_text())
        (tmp_path / file).write_text(json.dumps(content | {key: value}))
        after = load_entailment(str(tmp_path), 0.5, "cpu").identity()
        assert after != before, key
        before = after


def test_a_damaged_entailment_model_is_one_line(tmp_path: Path, tiny_tokenizer) -> None:
    save_classifier(tmp_path, tiny_tokenizer, {0: "entailment", 1: "neutral"})
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="Cannot read the entailment model") as caught:
        load_entailment(str(tmp_path), 0.5, "cpu")
    assert "\n" not in str(caught.value)


def test_a_missing_entailment_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read the entailment model") as caught:
        load_entailment(str(tmp_path / "none"), 0.5, "cpu")
    assert "\n" not in str(caught.value)
