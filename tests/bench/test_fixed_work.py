"""The timed work is the same for everyone: same prompts, same number of tokens."""

import pytest

from benchmarks.line_up import RIVALS, make_rivals
from benchmarks.rival import Rival, Walks
from benchmarks.work import Shape, demo_work, generation_config, model_as_it_was
from conftest import SHAPE
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel


def answered(rival: Rival, num_tokens: int) -> Walks:
    rival.prepare()
    return [walks for batch in rival.answer(num_tokens) for walks in rival.walks(batch)]


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("num_tokens", [1, 6])
def test_every_answer_has_the_asked_number_of_tokens(work, name, num_tokens):
    (rival,) = make_rivals(work, [name], published_questions=2)
    with model_as_it_was(work.loaded):
        walks = answered(rival, num_tokens)
    assert len(walks) == rival.num_questions
    assert {len(walk.token_ids) for question in walks for walk in question} == {num_tokens}


@pytest.mark.parametrize("name", RIVALS)
def test_no_end_of_sequence_token_ends_a_timed_answer(talking, name):
    work = demo_work(talking, num_questions=2, num_wordings=2, num_shots=1, max_new_tokens=8)
    (rival,) = make_rivals(work, [name])
    with model_as_it_was(talking):
        walks = answered(rival, 8)
    tokens = [walk.token_ids for question in walks for walk in question]
    assert {len(one) for one in tokens} == {8}
    assert any(token % 2 == 0 for one in tokens for token in one[:-1])


@pytest.mark.parametrize("name", [name for name in RIVALS if name != "published"])
def test_answers_of_the_second_run_end_at_the_first_token_that_ends_one(talking, name):
    fixed = demo_work(talking, num_questions=3, num_wordings=2, num_shots=1, max_new_tokens=8)
    early = fixed.ending_early(("e",))
    with model_as_it_was(talking):
        ended = [
            [(walk.stream, walk.token_ids) for walk in question]
            for question in answered(make_rivals(early, [name])[0], 8)
        ]
        full = answered(make_rivals(fixed, [name])[0], 8)
    for short, long in zip(ended, full, strict=True):
        assert short == [(walk.stream, until_end(talking, walk.token_ids)) for walk in long]
    assert any(len(tokens) < 8 for question in ended for _, tokens in question)


def until_end(loaded: LoadedModel, token_ids: tuple[int, ...]) -> tuple[int, ...]:
    for length in range(1, len(token_ids) + 1):
        text = loaded.tokenizer.decode(token_ids[:length], skip_special_tokens=True)
        if token_ids[length - 1] % 2 == 0 or "e" in text:
            return token_ids[:length]
    return token_ids


def test_random_prompts_have_the_lengths_of_the_shape(work):
    assert len(work.parts) == 5
    for parts in work.parts:
        assert len(parts.prefix) == SHAPE.prefix
        assert [len(segment) for segment in parts.segments] == [SHAPE.segment] * 3
        assert len(parts.cue) == 1
    assert len({parts.segments for parts in work.parts}) == 5


def test_bundled_questions_repeat_where_more_are_asked_for(talking):
    work = demo_work(talking, num_questions=103, num_wordings=2, num_shots=2)
    assert work.wordings[100:] == work.wordings[:3]
    assert len(set(work.wordings)) == 100


def test_the_model_gets_its_attention_and_settings_back(talking):
    before = talking.model.generation_config, talking.model.config._attn_implementation
    work = demo_work(talking, num_questions=1, num_wordings=2, num_shots=1, max_new_tokens=2)
    with model_as_it_was(talking):
        for rival in make_rivals(work):
            answered(rival, 2)
    after = talking.model.generation_config, talking.model.config._attn_implementation
    assert after[0] is before[0]
    assert after[1] == before[1]
    assert generation_config(work).eos_token_id is None


@pytest.mark.parametrize("text", ["300,5,30", "1,2,3,4,5", "a,5,30,20", "-1,5,30,20", "9,0,3,2"])
def test_a_shape_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="Give four whole numbers P,N,S,T"):
        Shape.parse(text)


def test_more_wordings_than_the_bundled_questions_have_are_refused(talking):
    with pytest.raises(UserError, match="Got 7 wordings; the bundled questions have 1 to 6"):
        demo_work(talking, num_questions=1, num_wordings=7)
