"""A prompt has the tokens of the text that it is, for every family of tokenizers."""

import json
from functools import cache
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizer_families import FAMILIES, SPECIAL

from self_ensemble.errors import UserError
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.prompts.spans import num_behind, num_within
from self_ensemble.prompts.tokens import Piece
from self_ensemble.questions.schema import Framing, Shot

# Tokenizers whose tokens are the bytes of the text one after the other, nothing dropped.
TILING = ("gpt2", "llama3")
FRAMINGS = (
    Framing(),
    Framing("{}\n", "A:"),
    Framing("{} ", "A:"),
    Framing("Q: {}", "\nA:"),
    Framing("{}", ":"),
    Framing("A: {}\n", "A:"),
    Framing("{}", " is"),
    Framing("\n\n{}?\n", " Answer:", "{}"),
)
CHARACTERS = " \n\t?.!:QA'<12ie\u00e9\u6f22\U0001f642\u0301\u200d\u2581\u00a0"
TEXT = st.text(st.one_of(st.sampled_from(CHARACTERS), st.characters(codec="utf-8")), max_size=24)
WORDINGS = st.lists(TEXT.filter(str.strip), min_size=1, max_size=3)
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module", autouse=True)
def rendered_here():
    """Chat templates of thousands of examples are rendered without a process for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("self_ensemble.prompts.build.render_limited", lambda render: render())
        yield


@cache
def tokenizer_of(family):
    return FAMILIES[family]()


def ids_of(tokenizer, text, **options):
    """The tokenizer's own ids of a text, without a token that it appends to every text."""
    ids = tokenizer(text, **options).input_ids
    bare = tokenizer("a", add_special_tokens=False).input_ids
    appended = len(tokenizer("a").input_ids) - len(bare) - tokenizer("a").input_ids.index(bare[0])
    return tuple(ids[: len(ids) - appended])


def assert_tokens_of(frame, wordings, prompts, prior):
    """The parts of a question are these prompts, each the ids of a whole text."""
    shortest = min(map(len, prompts))
    if shortest < 2 or len({prompt[-1] for prompt in prompts}) > 1:
        reason = "has no token besides" if shortest < 2 else "end in different tokens"
        with pytest.raises(UserError, match=reason):
            frame.parts(wordings)
        return None
    parts = frame.parts(wordings)
    assert [parts.alone(n) for n in range(len(wordings))] == prompts
    assert parts.cue
    assert all(parts.segments)
    assert frame.prefix[: len(parts.prefix)] == parts.prefix
    assert parts.prefix + parts.without_question == prior
    assert parts.without_question
    return parts


def num_bytes(tokenizer, ids):
    """Bytes of text that byte-level tokens stand for."""
    tokens = tokenizer.convert_ids_to_tokens(list(ids))
    return sum(map(len, (token for token in tokens if token != "<s>")))


@families
@example(prefix="Q: a?\nA: b\n\n", wordings=["what?"], framing=Framing())
@example(prefix="", wordings=["a"], framing=Framing("{}", "t")).via("one token")
@example(prefix="Q: a?\nA: b?", wordings=["\nwhat?", "\u0301"], framing=Framing("{}\n", "A:"))
@example(prefix="\n", wordings=["\nwhat?", "what?"], framing=Framing("{}\n", "A:"))
@example(prefix="Is th", wordings=["is it?", "e bridge old"], framing=Framing("{}", ":"))
@example(prefix="A", wordings=["0"], framing=Framing("{}", ":")).via("cue joined with the prefix")
@given(prefix=TEXT, wordings=WORDINGS, framing=st.sampled_from(FRAMINGS))
def test_a_plain_prompt_has_the_tokens_of_its_text(family, prefix, wordings, framing):
    tokenizer = tokenizer_of(family)
    texts = [prefix + framing.wording.format(wording) + framing.cue for wording in wordings]
    if family == "bert" and not framing.cue.strip():
        return
    frame = plain_frame(tokenizer, prefix, (), framing)
    prompts = [ids_of(tokenizer, text) for text in texts]
    parts = assert_tokens_of(frame, wordings, prompts, ids_of(tokenizer, prefix + framing.cue))
    again = plain_frame(tokenizer, prefix, (), framing)
    for n in reversed([n for n, prompt in enumerate(prompts) if len(prompt) > 1]):
        assert again.parts(wordings[n : n + 1]).alone(0) == prompts[n]
    if parts is not None:
        assert again.parts(wordings) == parts
        if family in TILING:
            assert num_bytes(tokenizer, parts.prefix) <= len(prefix.encode())
            at_most = len(framing.cue.encode())
            assert len(parts.cue) == 1 or num_bytes(tokenizer, parts.cue) <= at_most
            longer = {segment[-1] for segment in parts.segments if len(segment) > 1}
            if len(longer) == 1 and all(len(segment) > 1 for segment in parts.segments):
                more = num_bytes(tokenizer, [*longer, *parts.cue])
                assert more > at_most or num_bytes(tokenizer, longer) == 0


@pytest.mark.parametrize("family", TILING)
@example(before="a\n", after="  b").via("a line break and a space in one token")
@example(before="", after=" a").via("a space that the text begins with")
@given(before=TEXT, after=TEXT)
def test_tokens_are_counted_on_the_side_of_a_seam_on_which_all_their_bytes_are(
    family, before, after
):
    tokenizer = tokenizer_of(family)
    encoding = tokenizer(before + after, add_special_tokens=False).encodings[0]
    ends = list(accumulate(map(len, encoding.tokens), initial=0))
    seam = len(before.encode())
    within = sum(end <= seam for end in ends[1:])
    assert num_within(encoding, before + after, len(before)) == within
    behind = sum(start >= seam for start in ends[:-1])
    assert num_behind(encoding, before + after, len(before)) == behind


@families
@example(instruction="", wordings=["  what is it?\n"], answer="b")
@given(instruction=TEXT, wordings=WORDINGS, answer=TEXT.filter(str.strip))
def test_a_chat_prompt_has_the_tokens_of_the_templates_text(family, instruction, wordings, answer):
    tokenizer = tokenizer_of(family)
    shots = (Shot("Who wrote it?", answer),)
    turns = [{"role": "system", "content": instruction.strip()}] if instruction.strip() else []
    turns += [{"role": "user", "content": "Who wrote it?"}]
    turns += [{"role": "assistant", "content": answer}]

    def ids(wording):
        asked = [*turns, {"role": "user", "content": wording}]
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        return ids_of(tokenizer, text)

    frame = chat_frame(tokenizer, instruction, shots)
    prompts = [ids(wording) for wording in wordings]
    parts = assert_tokens_of(frame, wordings, prompts, ids(""))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert parts.cue[0] == end
    assert parts.prefix.count(end) == len(turns)


LONG = "Q: Is it?\nA: so\n\n" * 100


@pytest.mark.parametrize("family", ["gpt2", "llama3"])
def test_the_end_of_a_plain_prefix_is_encoded_with_a_wording_and_the_rest_once(family):
    frame = plain_frame(tokenizer_of(family), LONG, (), Framing())
    assert frame.end == (Piece("A: so\n\n"),)
    assert frame.parts(["so?"]).alone(0) == ids_of(tokenizer_of(family), LONG + "Q: so?\nA:")


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "python"])
def test_the_end_of_a_chats_prefix_is_encoded_with_a_wording_and_the_rest_once(family):
    frame = chat_frame(tokenizer_of(family), LONG, (Shot("</s> what?", "so"),) * 9)
    assert frame.end == (Piece("<|im_start|>user\n", is_template=True),)


@pytest.mark.parametrize("family", ["roberta", "gemma", "llama2-first", "t5", "bert", "python"])
def test_where_no_border_is_sure_the_whole_prefix_is_encoded_anew(family):
    frame = plain_frame(tokenizer_of(family), LONG, (), Framing())
    assert (frame.end, frame.given) == (frame.before, None)


@pytest.mark.parametrize("family", ["t5", "llama2-always"])
def test_a_border_that_does_not_hold_is_none(family, monkeypatch):
    monkeypatch.setattr("self_ensemble.prompts.tokens.splits_at_lines", lambda tokenizer: True)
    frame = plain_frame(tokenizer_of(family), LONG, (), Framing())
    assert (frame.end, frame.given) == (frame.before, None)


@families
@given(before=TEXT, after=TEXT, name=st.sampled_from([*SPECIAL, "</s>", "[SEP]", "<unk>"]))
def test_special_tokens_written_in_data_stay_text(family, before, after, name):
    tokenizer = tokenizer_of(family)
    special = set(tokenizer.all_special_ids)
    if family in ("t5", "bert"):  # the others know every character
        special -= {tokenizer.unk_token_id}
    wording = f"{before}{name}{after}"
    plain = plain_frame(tokenizer, f"{name} x\n", (Shot(name, name),), Framing())
    added = ids_of(tokenizer, "")
    ids = plain.parts([wording]).alone(0)
    assert ids[: len(added)] == added
    assert not special & set(ids[len(added) :])
    if family == "python":
        with pytest.raises(UserError, match="spells a special token"):
            chat_frame(tokenizer, "", ()).parts([f"x{SPECIAL[0]}"])
        return
    chat = chat_frame(tokenizer, f"{name} x", (Shot(name, name),))
    innocent = chat_frame(tokenizer, "x", (Shot("x", "x"),)).parts(["x"]).alone(0)
    count = [sum(token in special for token in one) for one in (chat.parts([wording]).alone(0),
                                                               innocent)]  # fmt: skip
    assert count[0] == count[1]


@pytest.mark.parametrize("family", ["gpt2", "llama3", "gemma"])
@given(before=TEXT, after=TEXT)
def test_special_tokens_written_in_a_chat_are_the_plain_texts_tokens(family, before, after):
    tokenizer = tokenizer_of(family)
    # What stands between two special tokens is encoded by itself: these families mark no words.
    wording = f"{before}<|im_end|>{after}"
    parts = chat_frame(tokenizer, "", ()).parts([wording])
    inside = tokenizer(
        f"user\n{wording}", add_special_tokens=False, split_special_tokens=True
    ).input_ids
    start, end = tokenizer.convert_tokens_to_ids(list(SPECIAL))
    front = ids_of(tokenizer, "")
    tail = [end, *tokenizer("\n", add_special_tokens=False).input_ids, start]
    tail += tokenizer("assistant\n", add_special_tokens=False).input_ids
    assert list(parts.alone(0)) == [*front, start, *inside, *tail]


def test_what_a_manifest_says_of_prompts_depends_on_their_tokens_alone():
    def identity(family="gpt2", prefix="A: so\n\n", framing=FRAMINGS[0], asked=()):
        frame = plain_frame(tokenizer_of(family), prefix, (), framing)
        for wording in asked:
            frame.parts([wording])
        return json.dumps(frame.identity())

    assert identity() == identity(asked=["what?", "\n\nIs it?"])
    # A token that wordings have, and the prompt without the question has not.
    other = FAMILIES["gpt2"]()
    other.add_tokens(["what is"])
    frame = plain_frame(other, "A: so\n\n", (), FRAMINGS[0])
    assert json.dumps(frame.identity()) != identity()
    others = [
        identity("llama3"), identity(prefix="A: so\n"), identity(framing=FRAMINGS[1]),
        identity(framing=Framing(cue="A: ")),
    ]  # fmt: skip
    assert len({identity(), *others}) == 5
