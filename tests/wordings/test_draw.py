"""Drawing: what it depends on, what it records, and the score back to the original."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import LoadedModel, load_model
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import Question
from self_ensemble.walking.sampling import Sampling
from self_ensemble.wordings.draw import MIN_QUALITY, Rewriter, human_pools
from self_ensemble.wordings.gate import rejection
from self_ensemble.wordings.pool import Pool, Verdict
from self_ensemble.wordings.recovery import mean_logprobs
from self_ensemble.wordings.styles import PLAIN, STYLES

QUESTIONS = [
    Question("a", ("who built the bridge?",), ("Seven",)),
    Question("b", ("The river is [MASK].",), ("wide",)),
    Question("c", ("What is the capital of France, the town on the slow river?",), ("Paris",)),
    Question("d", ("when was the old town built?",), ("1700",)),
]
SAMPLING = Sampling(temperature=0.7, top_p=0.9)


def rewriter(model: LoadedModel, **options: object) -> Rewriter:
    return Rewriter(model, **{"num": 3, "tries": 2, "sampling": SAMPLING, **options})


def texts(pools: list[Pool]) -> list[list[tuple[str, str]]]:
    return [[(one.text, one.style) for one in (*p.passed, *p.refused)] for p in pools]


def test_what_is_drawn_does_not_depend_on_the_batch(long_model: LoadedModel) -> None:
    together = rewriter(long_model).draw(QUESTIONS)
    alone = [pool for q in QUESTIONS for pool in rewriter(long_model).draw([q])]
    assert texts(together) == texts(alone)
    assert texts(together) != texts(
        rewriter(long_model, sampling=replace(SAMPLING, seed=1)).draw(QUESTIONS)
    )


def test_each_round_asks_in_another_style(long_model: LoadedModel) -> None:
    (pool,) = rewriter(long_model, num=5, tries=10).draw(QUESTIONS[:1])
    styles = [refused.style for refused in pool.refused]
    names = [style.name for style in STYLES]
    assert styles == [name for name in [*names, *names[:2]] for _ in range(3)]
    # The same style in a later round draws other samples.
    drawn = [refused.text for refused in pool.refused]
    assert drawn[:3] != drawn[24:27]


@pytest.mark.parametrize("text", ["", "  "])
def test_a_question_without_an_original_is_an_error_and_not_a_crash(
    long_model: LoadedModel, text: str
) -> None:
    empty = Question("e", (text,) if text else (), ("x",))
    first, second = rewriter(long_model).draw([empty, QUESTIONS[0]])
    assert first.error == "The question has no original wording."
    assert (first.passed, first.refused) == ([], [])
    assert second.refused


def test_a_question_longer_than_the_context_is_an_error(long_model: LoadedModel) -> None:
    (pool,) = rewriter(long_model).draw([Question("l", ("why? " * 4000,), ("x",))])
    assert "the model has 4096" in str(pool.error)


def test_the_score_is_that_of_a_plain_forward_pass(
    long_model: LoadedModel, long_folder: Path
) -> None:
    plain = LlamaForCausalLM.from_pretrained(long_folder).eval()
    tokenizer = long_model.tokenizer
    prompt = PLAIN.questions.reversed()
    frame = plain_frame(tokenizer, prompt.instruction, prompt.shots, prompt.framing)
    pairs = [("The bridge was built by whom?", "who built it?"), ("Who?", "a"), ("Is it?", "Yes")]
    found = mean_logprobs(Ensemble(long_model, "origin", frame=frame), pairs)
    for (wording, text), score in zip(pairs, found, strict=True):
        before, target = frame.parts([wording]).alone(0), tokenizer(f" {text}\n").input_ids
        ids = torch.tensor([[*before, *target]])
        with torch.inference_mode():
            logits = plain(ids, attention_mask=torch.ones_like(ids)).logits[0]
        logprobs = logits.log_softmax(-1)[len(before) - 1 : -1]
        expected = logprobs[torch.arange(len(target)), torch.tensor(target)].mean().item()
        assert score == pytest.approx(expected, abs=1e-4)  # float32, another order of sums
    assert mean_logprobs(Ensemble(long_model, "origin", frame=frame), []) == []


class OnlyWith:
    """A check that passes wordings with a word."""

    reason = "check_nli"

    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, pairs):
        return [Verdict(self.word in wording, f"has {self.word}") for _, wording in pairs]


def test_a_score_that_is_not_finite_leaves_those_beside_it(long_folder: Path) -> None:
    """Even where, as in one row of FlexAttention's, nan reaches all tokens of a pass."""
    model = load_model(str(long_folder), device="cpu", packed=False)
    ensemble = Ensemble(model, "origin")
    pairs = [("who built it?", "by whom?"), ("what is Z?", "Z?"), ("is it so?", "Is it wide?")]
    expected = mean_logprobs(ensemble, pairs)
    token = model.tokenizer.convert_tokens_to_ids("Z")
    model.model.get_input_embeddings().weight.data[token] = math.nan

    def reach_all(module, inputs, output):
        return torch.full_like(output, math.nan) if inputs[0].isnan().any() else output

    model.model.lm_head.register_forward_hook(reach_all)
    found = mean_logprobs(ensemble, pairs)
    assert math.isnan(found[1])
    assert found[::2] == pytest.approx(expected[::2], abs=1e-4)


def test_wordings_of_people_go_through_gate_and_check() -> None:
    question = Question(
        "h",
        (
            "Who built the bridge?",
            "The bridge was built by whom?",
            "Who built a bridge",
            "Who was the builder of the bridge?",
            "the bridge was built, by whom?",
            "Was it Seven who built the bridge?",
        ),
        ("Seven",),
    )
    (pool,) = human_pools([question], OnlyWith("builder"))
    assert [(one.text, one.style, one.check) for one in pool.passed] == [
        ("Who was the builder of the bridge?", "human", "has builder")
    ]
    assert math.isnan(pool.passed[0].logprob)
    assert [reason for _, _, reason in pool.refused] == [
        "echo",
        "duplicate",
        "answer_leaked",
        "check_nli",
    ]
    (unchecked,) = human_pools([question], None)
    assert len(unchecked.passed) == 2


def test_no_example_of_a_style_would_be_refused() -> None:
    refused = [
        (style.name, shot, reason)
        for style in STYLES
        for prompt in (style.questions, style.clozes)
        for shot in prompt.shots
        if (reason := rejection(shot.wording, shot.answer, []))
    ]
    assert refused == []


def test_every_style_has_examples_of_both_forms() -> None:
    assert len(STYLES) >= 6
    assert all(4 <= len(p.shots) <= 6 for s in STYLES for p in (s.questions, s.clozes))
    assert all("[MASK]" in t for s in STYLES for shot in s.clozes.shots for t in
               (shot.wording, shot.answer))  # fmt: skip


@pytest.mark.model
def test_a_real_model_finds_wordings_that_keep_the_names() -> None:
    model = load_model("smollm2_135m_it")
    questions = [
        replace(question, wordings=question.wordings[:1])
        for question in load_questions("demo", max_samples=3).questions
    ]
    pools = rewriter(model, num=2, tries=4).draw(questions)
    assert all(len(pool.passed) >= 2 for pool in pools)
    for pool, name in zip(pools, ("France", "Pride", "Hastings"), strict=True):
        assert all(name.lower() in candidate.text.lower() for candidate in pool.passed)
        assert all(MIN_QUALITY <= candidate.quality < 0 for candidate in pool.passed)
