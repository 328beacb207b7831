"""Tokens one by one say what they say together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from self_ensemble.prompts.token_texts import token_text, token_texts

TEXTS = [
    "Q: who wrote hamlet?\nA:",
    "\U0001f469\u200d\U0001f467 na\u00efve \u05de\u05d9 \u0643\u062a\u0628",
    "NUL \x00 and \ufffd itself",
    "<|im_end|> as text",
]


@pytest.mark.parametrize("text", TEXTS)
def test_joined_they_are_the_whole_text(tiny_tokenizer, text):
    token_ids = tiny_tokenizer(text, split_special_tokens=True)["input_ids"]
    found = token_texts(tiny_tokenizer, token_ids)
    assert len(found) == len(token_ids)
    assert "".join(found) == text


@given(text=st.text(max_size=12))
def test_any_text_is_whole(tiny_tokenizer, text):
    token_ids = tiny_tokenizer(text, split_special_tokens=True)["input_ids"]
    assert "".join(token_texts(tiny_tokenizer, token_ids)) == tiny_tokenizer.decode(token_ids)


def test_a_character_of_several_tokens_stands_at_the_first(tiny_tokenizer):
    token_ids = tiny_tokenizer("a\U0001f600b")["input_ids"]
    assert len(token_ids) == 6
    assert token_texts(tiny_tokenizer, token_ids) == ["a", "\U0001f600", "", "", "", "b"]


def test_bytes_that_are_no_character_are_shown_as_such(tiny_tokenizer):
    start = tiny_tokenizer("\U0001f600")["input_ids"][:2]
    end = tiny_tokenizer("b")["input_ids"]
    assert token_texts(tiny_tokenizer, [*start, *end]) == ["\ufffd", "", "b"]


def test_no_tokens_have_no_texts(tiny_tokenizer):
    assert token_texts(tiny_tokenizer, []) == []


def test_a_token_by_itself_keeps_the_space_that_it_begins_with():
    inner = Tokenizer(models.WordLevel({"\u2581Paris": 0, "Lyon": 1}, unk_token="Lyon"))
    inner.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    assert tokenizer.decode([0]) == "Paris"
    assert token_text(tokenizer, 0) == " Paris"
    assert token_text(tokenizer, 1) == "Lyon"
