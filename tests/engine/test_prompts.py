"""Prompts cut into parts: their text, BOS, seams, chat templates."""

from pathlib import Path

import pytest
from asking import QUESTIONS, ensemble, requests
from hypothesis import example, given
from hypothesis import strategies as st
from marking_tokenizers import STYLES, marking_tokenizer
from tokenizer_families import FAMILIES

from self_ensemble.errors import UserError
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.prompts.literal import STEM
from self_ensemble.prompts.tokens import Piece, TextEncoder
from self_ensemble.questions.schema import Framing, Question, QuestionSet, Shot
from self_ensemble.results.manifest import Manifest, require_same
from self_ensemble.running.made_with import MAY_DIFFER, manifest_fields

SHOTS = (Shot("Is the bridge old?", "Seven are."), Shot("Who wrote it?", "The prince"))
INSTRUCTION = "Answer the question.\n\n"
WORDINGS = ("What is the capital of France?", "  Capital,\nof France?", "<|im_end|> <s> what?")
MARK = "\u2581"
# No lone surrogates: they are no text.
TEXT = st.text(st.one_of(st.sampled_from(" \nTheriv.?:QA"), st.characters(codec="utf-8")))


@pytest.fixture(scope="module", params=STYLES)
def marking(request):
    return marking_tokenizer(request.param)


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
    assert plain_frame(tiny_tokenizer_bos, "", (), Framing()).parts(["a"]).prefix == (bos,)
    without = plain_frame(tiny_tokenizer, INSTRUCTION, SHOTS, Framing()).parts(WORDINGS)
    assert bos not in without.alone(0)
    assert with_bos.alone(0)[1:] == without.alone(0)


@example(" leading").via("a space that is meant")
@given(wording=TEXT.filter(str.strip))
def test_the_text_of_a_prompt_with_word_marks_is_the_prompt(marking, wording):
    parts = plain_frame(marking, INSTRUCTION, SHOTS, Framing()).parts((wording,))
    text = f"{_plain_text()}Q: {wording}\nA:"
    # A mark that the text itself has is a space to these tokenizers, as in the model's training.
    assert marking.decode(list(parts.alone(0))) == text.replace(MARK, " ")


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
        ("{{ messages[-1]['content'] }}", "drops, reorders"),
        ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "drops, reorders"),
        ("{% for m in messages %}{{ m['content'] | tojson }}{% endfor %}", "rewrites turns"),
        ("{% for m in messages %}{{ m['content'].strip('\\n') }} {% endfor %}", "rewrites turns"),
        (
            "{% for m in messages %}{{ m['content'].replace('prince', '') }}{% endfor %}",
            "rewrites",
        ),
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


TRIMMING = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] "
    "+ eos_token }}{% else %}{{ ' [INST] ' + m['content'] + ' [/INST]' }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("template", [TRIMMING, GEMMA, MISTRAL])
@pytest.mark.parametrize("family", ["llama3", "llama2-normalizer", "gemma", "t5", "python"])
def test_a_chat_prompt_is_what_the_template_makes_of_the_wording(family, template):
    tokenizer = FAMILIES[family]()
    tokenizer.chat_template = template
    shots = (*SHOTS, Shot(" spaced\n", "\n out "))
    parts = chat_frame(tokenizer, INSTRUCTION, shots).parts((" What?\n", "is\tit? "))
    for n, wording in enumerate((" What?\n", "is\tit? ")):
        turns = [turn for shot in shots for turn in ({"role": "user", "content": shot.wording},
                 {"role": "assistant", "content": shot.answer})]  # fmt: skip
        turns.append({"role": "user", "content": wording})
        if template == GEMMA:
            turns[0]["content"] = f"{INSTRUCTION.strip()}\n\n{turns[0]['content']}"
        else:
            turns.insert(0, {"role": "system", "content": INSTRUCTION.strip()})
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        bos = tokenizer.bos_token_id
        if bos is not None and ids[0] != bos:
            ids = [bos, *ids]
        assert list(parts.alone(n)) == ids


def test_a_result_made_of_other_tokens_is_not_gone_on_with(loaded):
    asked = ensemble(loaded("llama"))
    question_set = QuestionSet("mine", (Question("a", QUESTIONS[0], ("x",)),), (), "")
    fields = manifest_fields(asked, question_set)
    apart = {name: value for name, value in fields.items() if name != "prompt_tokens"}
    with pytest.raises(UserError, match="prompt_tokens was absent, now of the whole text"):
        require_same(Manifest(apart), Manifest(fields), MAY_DIFFER, Path("x"))


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
    assert frame.prefix_text == "{} {0}Q: {x}\nA: {}\n\n"
    assert tiny_tokenizer.decode(frame.parts(("{} {1}?",)).segments[0]) == "Q: {} {1}?\n"


def _cut(family, before, wordings, framing):
    """The pieces of a question's prefix, segments and cue."""
    tokenizer = FAMILIES[family]()
    parts = plain_frame(tokenizer, before, (), framing).parts(wordings)
    return [
        tokenizer.convert_ids_to_tokens(list(part))
        for part in (parts.prefix, *parts.segments, parts.cue)
    ]


def test_a_token_that_spans_a_seam_belongs_to_the_wording():
    # One token for the question mark and the line break that opens the cue.
    prefix, yes, no, cue = _cut("llama3", "A: so\n\n", ("is?", "is"), Framing("{}", "\nA:"))
    assert prefix[-1] == "\u010a\u010a"
    assert (yes[-1], no[-1], cue) == ("?\u010a", "\u010a", ["A", ":"])
    # Where all wordings have the cue's first token in common, it is the cue's.
    assert _cut("llama3", "", ("is", "to"), Framing("{}", "\nA:"))[-1] == ["\u010a", "A", ":"]
    # A space is one token with the word behind it.
    prefix, segment, _ = _cut("gpt2", "Q: ", ("What?",), Framing("{}\n", "A:"))
    assert (prefix, segment[0]) == (["Q", ":"], "\u0120Wh")


def test_a_cue_that_is_joined_with_the_wording_is_its_last_token_if_all_have_it():
    *_, one, two, cue = _cut("gpt2", "", ("is it a", "the a"), Framing("{}", "t"))
    assert (cue, one[-1], two[-1]) == (["at"], "\u0120", "\u0120")
    with pytest.raises(UserError, match="end in different tokens") as refused:
        _cut("python", "", ("What", "of i"), Framing("{}", "s"))
    assert "'What'" in str(refused.value)
    assert "line break" in str(refused.value)


def test_a_wording_that_changes_the_end_of_the_prefix_has_a_shorter_one():
    tokenizer = FAMILIES["gpt2"]()
    frame = plain_frame(tokenizer, "A: so\n", (), Framing("{}\n", "A:"))
    odd, even = frame.parts(("\n what?", "is it?")), frame.parts(("is it?",))
    assert even.prefix == frame.prefix
    assert odd.prefix == frame.prefix[:-1]
    assert odd.alone(1) == even.alone(0)


def test_a_text_behind_a_prompt_has_the_tokens_that_it_has_there(marking, tiny_tokenizer):
    for tokenizer in (marking, tiny_tokenizer):
        encoder = TextEncoder(tokenizer)
        given, whole = (
            tokenizer(text, add_special_tokens=False).input_ids for text in ("A:", "A: Paris")
        )
        assert [*given, *encoder.behind((Piece("A:"),), (Piece(" Paris"),))] == whole


def test_a_text_that_would_be_joined_with_the_prompt_stands_by_itself():
    tokenizer = FAMILIES["llama3"]()
    ids = TextEncoder(tokenizer).behind((Piece("so?"),), (Piece("\nA:"),))
    assert tokenizer.convert_ids_to_tokens(list(ids)) == ["\u010a", "A", ":"]


def test_a_question_that_holds_our_own_name_of_special_tokens_is_refused(tiny_tokenizer):
    frame = plain_frame(tiny_tokenizer, "", (), Framing())
    assert frame.parts((f"{STEM}?",))
    with pytest.raises(UserError, match=f"holds '{STEM}', which is reserved"):
        chat_frame(tiny_tokenizer, "", ()).parts((f"<|im_end|> {STEM}az",))


def test_a_question_of_special_token_text_is_answered(loaded):
    answers = ensemble(loaded("llama")).run(requests([WORDINGS]))
    assert all(found[0].token_ids for found in answers.values())
