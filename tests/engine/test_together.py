"""All wordings in one prompt: the tokens of the text that one would write."""

import pytest

from self_ensemble.errors import UserError
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.prompts.together import together, whole
from self_ensemble.questions.schema import Framing, Shot

WORDINGS = ("Who wrote the play?", "The play was written by whom?", "who?")
TEXT = (
    "Answer.\nQ: One?\nA: two\n\nQ: Who wrote the play?\nQ: The play was written by whom?\n"
    "Q: who?\nA:"
)


def test_the_prompt_is_the_whole_text_tokenised(tiny_tokenizer):
    frame = plain_frame(tiny_tokenizer, "Answer.\n", (Shot("One?", "two"),), Framing())
    parts = together(frame, WORDINGS)
    assert list(whole(parts)) == tiny_tokenizer(TEXT)["input_ids"]
    shown = [tiny_tokenizer.decode(segment) for segment in parts.segments]
    assert shown == [f"Q: {wording}\n" for wording in WORDINGS]
    assert tiny_tokenizer.decode(parts.cue) == "A:"


def test_in_a_chat_wordings_stand_in_lines_of_one_turn(tiny_tokenizer):
    frame = chat_frame(tiny_tokenizer, "Answer.", ())
    text = tiny_tokenizer.decode(whole(together(frame, WORDINGS)))
    assert "<|im_start|>user\n" + "\n".join(WORDINGS) + "<|im_end|>" in text
    assert text.count("user") == 1


def test_a_bos_stands_once(tiny_tokenizer_bos):
    frame = plain_frame(tiny_tokenizer_bos, "", (), Framing())
    token_ids = whole(together(frame, WORDINGS))
    assert token_ids.count(tiny_tokenizer_bos.bos_token_id) == 1
    assert list(token_ids) == tiny_tokenizer_bos(TEXT.split("\n\n")[1])["input_ids"]


def test_one_wording_is_its_own_prompt(tiny_tokenizer):
    frame = plain_frame(tiny_tokenizer, "Answer.\n", (), Framing())
    assert whole(together(frame, WORDINGS[:1])) == frame.parts(WORDINGS[:1]).alone(0)


def test_an_empty_wording_is_refused(tiny_tokenizer):
    frame = plain_frame(tiny_tokenizer, "", (), Framing())
    with pytest.raises(UserError, match="Wording 1 is empty"):
        together(frame, ("a", " "))
