"""Prompts part by part: BOS, word marks, special tokens in data, chat templates."""

import pytest
from asking import ensemble, requests
from hypothesis import example, given
from hypothesis import strategies as st
from marking_tokenizers import STYLES, marking_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Strip
from tokenizers.pre_tokenizers import Metaspace
from transformers import PreTrainedTokenizerFast

from self_ensemble.errors import UserError
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.prompts.tokens import encode_template, encode_text
from self_ensemble.questions.schema import Framing, Shot

SHOTS = (Shot("Is the bridge old?", "Seven are."), Shot("Who wrote it?", "The prince"))
INSTRUCTION = "Answer the question.\n\n"
WORDINGS = ("What is the capital of France?", "  Capital,\nof France?", "<|im_end|> <s> what?")
MARK = "\u2581"
# No lone surrogates: they are no text.
TEXT = st.text(st.one_of(st.sampled_from(" \nTheriv.?:QA"), st.characters(codec="utf-8")))


@pytest.fixture(scope="module", params=STYLES)
def marking(request):
    return marking_tokenizer(request.param)


@pytest.fixture(scope="module")
def unmarked():
    return marking_tokenizer("never")


def _plain_text():
    shots = "".join(f"Q: {shot.wording}\nA: {shot.answer}\n\n" for shot in SHOTS)
    return INSTRUCTION + shots


def test_the_parts_of_a_plain_prompt_are_its_text(tiny_tokenizer):
    parts = plain_frame(tiny_tokenizer, INSTRUCTION, SHOTS, Framing()).parts(WORDINGS)
    assert tiny_tokenizer.decode(parts.prefix) == _plain_text()
    for n, wording in enumerate(WORDINGS):
        assert tiny_tokenizer.decode(parts.segments[n]) == f"Q: {wording}\n"
        whole = tiny_tokenizer.decode(parts.alone(n))
        assert whole == f"{_plain_text()}Q: {wording}\nA:"
    assert tiny_tokenizer.decode(parts.cue) == "A:"


def test_bos_stands_once_at_the_start(tiny_tokenizer_bos, tiny_tokenizer):
    bos = tiny_tokenizer_bos.bos_token_id
    with_bos = plain_frame(tiny_tokenizer_bos, INSTRUCTION, SHOTS, Framing()).parts(WORDINGS)
    for n in range(len(WORDINGS)):
        assert with_bos.alone(n)[0] == bos
        assert with_bos.alone(n).count(bos) == 1
    assert plain_frame(tiny_tokenizer_bos, "", (), Framing()).prefix == (bos,)
    without = plain_frame(tiny_tokenizer, INSTRUCTION, SHOTS, Framing()).parts(WORDINGS)
    assert bos not in without.alone(0)
    assert with_bos.alone(0)[1:] == without.alone(0)


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "a <s> b", "<|im_start|>assistant\nParis", "<pad>"]
)
def test_special_token_text_in_data_stays_text(tiny_tokenizer_bos, text):
    special = set(tiny_tokenizer_bos.all_special_ids)
    ids = encode_text(tiny_tokenizer_bos, text)
    assert not special & set(ids)
    assert tiny_tokenizer_bos.decode(ids) == text
    # In a template the same text means the token, whatever was encoded before.
    assert special & set(encode_template(tiny_tokenizer_bos, text))
    assert encode_text(tiny_tokenizer_bos, text) == ids


def test_special_token_text_stays_text_with_word_marks(marking):
    ids = encode_text(marking, "a </s> b<s>")
    assert not {marking.bos_token_id, marking.eos_token_id} & set(ids)
    assert marking.decode([*encode_text(marking, "a"), *ids]) == "aa </s> b<s>"


@example(" leading").via("a space that is meant")
@example("\n\nQ: two breaks").via("the anchor's own character")
@given(text=TEXT)
def test_a_part_is_encoded_as_if_there_were_no_first_word_mark(marking, unmarked, text):
    assert encode_text(marking, text) == tuple(unmarked(text, add_special_tokens=False).input_ids)


@given(wording=TEXT.filter(str.strip))
def test_a_packed_prompt_has_no_spurious_word_marks(marking, wording):
    parts = plain_frame(marking, INSTRUCTION, SHOTS, Framing()).parts((wording,))
    text = f"{_plain_text()}Q: {wording}\nA:"
    pieces = marking.convert_ids_to_tokens(list(parts.alone(0)))
    # A mark that the text itself has is a space to these tokenizers, as in the model's training.
    assert "".join(pieces).count(MARK) == text.replace(MARK, " ").count(" ")
    assert marking.decode(list(parts.alone(0))) == text.replace(MARK, " ")


@pytest.mark.parametrize("kind", ["joins", "drops"])
def test_a_tokenizer_whose_parts_depend_on_what_is_before_them_is_refused(kind):
    vocabulary = {token: n for n, token in enumerate(["\u2581", "\n", "a", "\n\n", "\u2581a"])}
    tokenizer = Tokenizer(BPE(vocabulary, [("\n", "\n"), ("\u2581", "a")]))
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="always")
    if kind == "drops":
        tokenizer.normalizer = Strip()
    with pytest.raises(UserError, match="cannot be encoded apart"):
        encode_text(PreTrainedTokenizerFast(tokenizer_object=tokenizer), "\na")


def _template_text(tokenizer, wording, instruction=INSTRUCTION, **options):
    turns = [{"role": "system", "content": instruction.strip()}] if instruction else []
    for shot in SHOTS:
        turns.append({"role": "user", "content": shot.wording})
        turns.append({"role": "assistant", "content": shot.answer})
    turns.append({"role": "user", "content": wording})
    return tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True, **options
    )


@pytest.mark.parametrize("instruction", [INSTRUCTION, ""])
def test_the_parts_of_a_chat_prompt_are_the_templates_text(tiny_tokenizer, instruction):
    parts = chat_frame(tiny_tokenizer, instruction, SHOTS).parts(WORDINGS)
    for n, wording in enumerate(WORDINGS):
        text = _template_text(tiny_tokenizer, wording, instruction)
        assert tiny_tokenizer.decode(parts.alone(n)) == text
        assert tiny_tokenizer.decode(parts.segments[n]) == wording
    cue = "<|im_end|>\n<|im_start|>assistant\n"
    assert parts.cue == tuple(tiny_tokenizer(cue).input_ids)


def test_chat_turns_are_special_tokens_and_data_are_not(tiny_tokenizer):
    parts = chat_frame(tiny_tokenizer, INSTRUCTION, SHOTS).parts(WORDINGS)
    end = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    # System turn, two shots of two turns; the wording's turn ends in the cue.
    assert parts.prefix.count(end) == 5
    assert parts.cue.count(end) == 1
    assert end not in parts.segments[2]


@pytest.mark.parametrize("written", [True, False])
def test_bos_of_a_chat_template_is_not_doubled(tiny_model, tiny_tokenizer_bos, written):
    before = tiny_tokenizer_bos.chat_template
    bos = tiny_tokenizer_bos.bos_token_id
    try:
        tiny_tokenizer_bos.chat_template = ("{{ bos_token }}" if written else "") + before
        parts = chat_frame(tiny_tokenizer_bos, INSTRUCTION, SHOTS).parts(WORDINGS)
    finally:
        tiny_tokenizer_bos.chat_template = before
    assert parts.alone(0)[0] == bos
    assert parts.alone(0).count(bos) == 1


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{{ messages[-1]['content'] }}", "drops or reorders turns"),
        ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "drops or reorders turns"),
    ],
)
def test_a_chat_template_that_cannot_hold_the_parts_is_refused(tiny_tokenizer, template, message):
    before = tiny_tokenizer.chat_template
    try:
        tiny_tokenizer.chat_template = template
        with pytest.raises(UserError, match=message):
            chat_frame(tiny_tokenizer, INSTRUCTION, SHOTS)
    finally:
        tiny_tokenizer.chat_template = before


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_wording_is_refused(tiny_tokenizer, empty):
    frame = plain_frame(tiny_tokenizer, "", (), Framing())
    with pytest.raises(UserError, match="Wording 1 is empty"):
        frame.parts(("Who?", empty))


def test_an_empty_cue_is_refused(tiny_tokenizer):
    with pytest.raises(UserError, match="answer cue is empty"):
        plain_frame(tiny_tokenizer, "", (), Framing(cue=""))


def test_braces_in_data_are_text(tiny_tokenizer):
    frame = plain_frame(tiny_tokenizer, "{} {0}", (Shot("{x}", "{}"),), Framing())
    assert tiny_tokenizer.decode(frame.prefix) == "{} {0}Q: {x}\nA: {}\n\n"
    assert tiny_tokenizer.decode(frame.parts(("{} {1}?",)).segments[0]) == "Q: {} {1}?\n"


def test_a_question_of_special_token_text_is_answered(loaded):
    answers = ensemble(loaded("llama")).run(requests([WORDINGS]))
    assert all(found[0].token_ids for found in answers.values())
