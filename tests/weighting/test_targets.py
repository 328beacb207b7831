"""Which tokens count as a right answer."""

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from self_ensemble.errors import UserError
from self_ensemble.prompts.build import chat_frame
from self_ensemble.questions.schema import Framing, Shot
from self_ensemble.walking.stopping import StopRule
from self_ensemble.weighting.targets import chat_target, plain_target

ANSWERS = ("Paris", "a river of stone", "1985", 'the "old" town')


@pytest.fixture(scope="module")
def joining():
    """A tokenizer that joins two line breaks at the end of a text, as SmolLM2's does."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=258, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["\n\n"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


def encoded(tokenizer, text) -> tuple[int, ...]:
    return tuple(tokenizer(text).input_ids)


def stop_rule(tokenizer, strings=("\n",), max_new_tokens=40) -> StopRule:
    eos = frozenset([tokenizer.eos_token_id])
    return StopRule(tokenizer, eos, strings, max_new_tokens)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_plain_target_stands_in_the_few_shot_examples(tiny_tokenizer, answer) -> None:
    target = plain_target(tiny_tokenizer, Framing(), stop_rule(tiny_tokenizer))(answer)
    text = f"Q: Who?\nA: {answer}\n\nQ: Why?\nA: So.\n\n"
    example = encoded(tiny_tokenizer, text)
    cue_end = len(encoded(tiny_tokenizer, "Q: Who?\nA:"))
    assert example[cue_end : cue_end + len(target)] == target


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_plain_target_ends_with_the_token_at_which_generation_stops(
    tiny_tokenizer, answer
) -> None:
    stop = stop_rule(tiny_tokenizer)
    target = plain_target(tiny_tokenizer, Framing(), stop)(answer)
    assert [stop.reason(target[:n]) for n in range(1, len(target))] == [None] * (len(target) - 1)
    assert stop.reason(target) == "stop"
    assert stop.text(target) == f" {answer}"


def test_a_line_break_is_encoded_as_it_is_in_front_of_the_next_example(joining) -> None:
    assert len(joining("\n\n").input_ids) == 1
    target = plain_target(joining, Framing(), stop_rule(joining))("Paris")
    assert target[-1:] == tuple(joining("\n").input_ids)


def test_an_answer_form_without_a_stop_string_ends_with_the_answer(tiny_tokenizer) -> None:
    framing = Framing("Q: {}, ", "A:", " {}. ")
    target = plain_target(tiny_tokenizer, framing, stop_rule(tiny_tokenizer))("Paris")
    assert target == encoded(tiny_tokenizer, " Paris. ")


def test_a_target_is_no_longer_than_generation(tiny_tokenizer) -> None:
    short = stop_rule(tiny_tokenizer, max_new_tokens=3)
    whole = plain_target(tiny_tokenizer, Framing(), stop_rule(tiny_tokenizer))(ANSWERS[1])
    assert len(whole) > 3
    assert plain_target(tiny_tokenizer, Framing(), short)(ANSWERS[1]) == whole[:3]
    whole = chat_target(tiny_tokenizer, stop_rule(tiny_tokenizer))(ANSWERS[1])
    assert chat_target(tiny_tokenizer, short)(ANSWERS[1]) == whole[:3]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_chat_target_is_the_answer_and_the_end_of_its_turn(tiny_tokenizer, answer) -> None:
    target = chat_target(tiny_tokenizer, stop_rule(tiny_tokenizer))(answer)
    end = tiny_tokenizer.eos_token_id
    assert target == (*encoded(tiny_tokenizer, answer), end)
    prefix = chat_frame(tiny_tokenizer, "", (Shot("Who?", answer),)).prefix
    starts = range(len(prefix) - len(target) + 1)
    assert any(prefix[n : n + len(target)] == target for n in starts)


def test_a_chat_template_whose_turns_do_not_end_generation_is_refused(tiny_tokenizer) -> None:
    stop = StopRule(tiny_tokenizer, frozenset(), (), 3)
    with pytest.raises(UserError, match="does not end an answer"):
        chat_target(tiny_tokenizer, stop)
