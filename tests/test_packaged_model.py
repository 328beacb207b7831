"""The main path on a real model: SmolLM2-135M-Instruct as it comes with the package."""

import os
from pathlib import Path

import pandas as pd
import pytest

from self_ensemble import Ensemble, LoadedModel, Request, load_model, load_questions
from self_ensemble.asking.methods import KINDS
from self_ensemble.asking.request import Settings
from self_ensemble.cli.main import main
from self_ensemble.oracle.reference import greedy_fused, greedy_tied
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.questions.schema import Framing
from self_ensemble.walking.fusion import avg

pytestmark = pytest.mark.model
FRANCE = (
    "what is the capital of France?",
    "France's capital city is called what?",
    "Which city is the capital of France?",
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("smollm2_135m_it")


@pytest.fixture(scope="module")
def untouched() -> LoadedModel:
    """The same model as transformers has it."""
    return load_model("smollm2_135m_it", packed=False)


@pytest.fixture(scope="module")
def few_shot(model):
    demo = load_questions("demo")
    return plain_frame(model.tokenizer, demo.instruction, demo.shots, demo.framing)


def test_every_method_knows_the_capital_of_france(model, few_shot) -> None:
    ensemble = Ensemble(model, list(KINDS), frame=few_shot)
    answers = ensemble.run([Request("france", FRANCE, weights=(0.5, 0.3, 0.2))])
    assert {method: found[0].generation for method, found in answers.items()} == dict.fromkeys(
        KINDS, " Paris"
    )


def test_a_trace_of_every_method_has_the_runs_own_tokens(model, few_shot) -> None:
    ensemble = Ensemble(model, list(KINDS), frame=few_shot)
    asked = load_questions("demo", max_samples=12).questions[11]
    request = Request(asked.uuid, asked.wordings[:5], weights=(0.2, 0.5, 0.1, 0.1, 0.1))
    answers = ensemble.run([request])
    trace = ensemble.trace(request, accepted=asked.answers)
    assert len({answers[method][0].text for method in KINDS}) > 1
    for traced in trace.methods:
        (answer,) = answers[traced.method]
        assert tuple(one.token.id for one in traced.tokens) == answer.token_ids
        assert tuple(one.logprob for one in traced.tokens) == answer.logprobs
        for number, token in zip(traced.steps, traced.tokens, strict=True):
            said = {one.method: one.distribution for one in trace.steps[number].methods}
            if traced.method in said:
                best = said[traced.method].top[0]
                assert best.token == token.token
                assert best.logprob == pytest.approx(token.logprob, abs=1e-4)


def test_the_shortest_use_answers_paris(model) -> None:
    assert str(Ensemble(model, method="flex_attention").answer(FRANCE)) == "Paris"


def test_answers_are_those_of_the_oracle(model, few_shot) -> None:
    ensemble = Ensemble(model, ["flex_attention", "avg"], frame=few_shot)
    questions = [q.wordings[:3] for q in load_questions("demo", max_samples=4).questions[1:]]
    answers = ensemble.run([Request(str(n), asked) for n, asked in enumerate(questions)])
    for n, wordings in enumerate(questions):
        parts = few_shot.parts(wordings)
        fused, tied = answers["flex_attention"][n].token_ids, answers["avg"][n].token_ids
        assert list(fused) == greedy_fused(model, parts, [1 / 3] * 3, len(fused))
        assert list(tied) == greedy_tied(
            model, parts, lambda each: sum(each[1:], each[0]), len(tied)
        )


def test_the_chat_template_asks_the_same_question_in_turns(model) -> None:
    demo = load_questions("demo")
    frame = chat_frame(model.tokenizer, demo.instruction, demo.shots)
    parts = frame.parts(FRANCE[:1])
    whole = model.tokenizer.decode(list(parts.alone(0)))
    turns = [{"role": "system", "content": demo.instruction.strip()}]
    for shot in demo.shots:
        turns.append({"role": "user", "content": shot.wording})
        turns.append({"role": "assistant", "content": shot.answer})
    turns.append({"role": "user", "content": FRANCE[0]})
    assert whole == model.tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    answer = Ensemble(model, avg, frame=frame).answer(FRANCE)
    assert "Paris" in answer.text


PUBLISHED = Framing("Question: {}\n", "The answer is:", " {}.\n\n")


@pytest.mark.parametrize("framing", [Framing(), PUBLISHED], ids=["ours", "published"])
def test_origin_answers_as_transformers_generates_after_the_text(
    model, untouched, framing
) -> None:
    demo = load_questions("demo", max_samples=8)
    frame = plain_frame(model.tokenizer, demo.instruction, demo.shots, framing)
    settings = Settings(max_new_tokens=8, stop=())
    asked = Ensemble(model, "origin", frame=frame, settings=settings)
    examples = "".join(
        framing.wording.format(shot.wording) + framing.cue + framing.answer.format(shot.answer)
        for shot in demo.shots
    )
    wordings = [question.wordings[:1] for question in demo.questions]
    for (wording,), answer in zip(wordings, asked.answer_many(wordings), strict=True):
        text = demo.instruction + examples + framing.wording.format(wording) + framing.cue
        ids = model.tokenizer(text, return_tensors="pt").input_ids
        after = untouched.model.generate(ids, do_sample=False, max_new_tokens=8)[0, ids.shape[1] :]
        assert list(answer.token_ids) == after.tolist()


@pytest.mark.parametrize(
    ("dataset", "folder", "method", "file"),
    [
        ("myriadlama", "myriadlama", "flex_attention,vote", "flex_attention-5"),
        ("webqa", "webquestions", "origin", "origin"),
    ],
)
def test_real_questions_run_to_the_end(tmp_path, capsys, dataset, folder, method, file) -> None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(os.environ.get("SELF_ENSEMBLE_DATA", beside))
    if not (data / folder).is_dir():
        pytest.skip("no evaluation data: set SELF_ENSEMBLE_DATA to their folder")
    common = ["--dataset", dataset, "--output-dir", str(tmp_path)]
    code = main(["generate", *common, "--data", str(data), "--max-samples", "12",
                 "--method", method])  # fmt: skip
    assert code == 0
    table = pd.read_feather(tmp_path / dataset / "smollm2_135m_it" / f"{file}.feather")
    assert len(table) == 12
    assert (table["generation"].str.len() > 0).any()
    assert main(["analyze", *common, "--model", "smollm2_135m_it"]) == 0
    assert file.split("-")[0] in capsys.readouterr().out
