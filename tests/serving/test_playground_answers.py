"""What the playground answers is what the ensemble answers, and its code asks the same."""

import asyncio
import contextlib
import io
import json
import shutil
import subprocess
import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import load_model
from self_ensemble.playground.answering import answer, make_wordings, methods_of, opened
from self_ensemble.playground.board import Asked, Board
from self_ensemble.playground.snippets import curl_code, plain_prompt, python_code
from self_ensemble.prompts.build import conversation_frame
from self_ensemble.prompts.frame import whole_frame
from self_ensemble.serving.errors import ApiError
from self_ensemble.serving.limits import Limits
from self_ensemble.serving.service import Service

WORDINGS = ["Who wrote the play?", "The play's author is who?", 'a "quote" \'s \\ $HOME ü']
METHODS = ["flex_attention", "avg", "vote", "origin"]


def asked(style="plain", **values) -> Asked:
    given = {"wordings": WORDINGS, "methods": METHODS, "style": style, "max_tokens": 12}
    return Asked.model_validate(given | values)


async def boards_of(service, question, **options) -> list[Board]:
    return [board async for board in answer(service, question, **options)]


@pytest.fixture
def service(tiny_ensemble):
    found = Service(tiny_ensemble)
    yield found
    found.close()


def test_a_wording_without_an_answer_keeps_its_place(tiny_model, tiny_loaded):
    spoilt = replace(tiny_loaded, model=tiny_model("llama"))
    token = spoilt.tokenizer("\u00e9")["input_ids"][0]
    with torch.no_grad():
        spoilt.model.get_input_embeddings().weight[token] = torch.nan
    found = Service(Ensemble(spoilt, ["origin", "per_prompt"]))
    try:
        question = asked(wordings=["Who?", "\u00e9?", "Whom?"], methods=["origin"])
        last = asyncio.run(boards_of(found, question, attribute=False))[-1]
    finally:
        found.close()
    assert [bool(one.text) for one in last.members] == [True, False, True]
    assert all(one.is_whole for one in last.members)


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_answers_are_those_of_the_ensemble(service, tiny_ensemble, style):
    found = asyncio.run(boards_of(service, asked(style)))
    last = found[-1]
    tokenizer = tiny_ensemble.model.tokenizer
    chat = style == "chat"
    frame = conversation_frame(tokenizer, []) if chat else whole_frame(tokenizer)
    wordings = WORDINGS if chat else list(map(plain_prompt, WORDINGS))
    settings = Settings(max_new_tokens=12, stop=() if chat else ("\n",))
    request = Request("q", tuple(wordings), frame=frame, settings=settings)
    methods = resolve_methods([*METHODS, "per_prompt"], has_weights=False)
    run = tiny_ensemble.run([request], methods)
    for name in METHODS:
        assert last.fused[name].text == run[name][0].generation
        assert last.fused[name].logprob == pytest.approx(run[name][0].mean_logprob, abs=1e-3)
    members = run["per_prompt"][0].members
    assert [one.text for one in last.members] == [one.generation for one in members]
    assert all(one.is_whole for one in (*last.fused.values(), *last.members))

    assert [strip.method for strip in last.strips] == ["flex_attention", "avg"]
    for strip in last.strips:
        truth = tiny_ensemble.attribute(request, ["leave_one_out"], strip.method)
        assert strip.total == pytest.approx(truth["leave_one_out"].total, abs=1e-3)
    parts = frame.parts(wordings)
    assert last.lengths.segments == [len(one) for one in parts.segments]
    assert (last.lengths.prefix, last.lengths.cue) == (len(parts.prefix), len(parts.cue))


def test_texts_grow_and_nothing_is_taken_back(service, monkeypatch):
    monkeypatch.setattr("self_ensemble.playground.answering.EVERY_S", 0.0)
    found = asyncio.run(boards_of(service, asked("chat"), attribute=False))
    assert len(found) > 6
    texts = [board.fused["avg"].text for board in found]
    assert all(later.startswith(one) for one, later in pairwise(texts))
    assert len(set(texts)) > 3
    assert not found[-1].strips


def test_one_wording_is_answered_too(service):
    last = asyncio.run(boards_of(service, asked("chat", wordings=WORDINGS[:1])))[-1]
    assert last.fused["flex_attention"].text == last.members[0].text == last.fused["vote"].text
    assert not last.strips


def test_who_leaves_gives_the_question_up(service):
    async def leave():
        boards = answer(service, asked("chat", max_tokens=256))
        async for _ in boards:
            if service.scheduler.num_live:
                break
        await boards.aclose()
        # Within the loop, whose end would give up whatever is left.
        end = time.monotonic() + 10
        while service.scheduler.num_live:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    asyncio.run(leave())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"wordings": [*WORDINGS, "w"]}, "this server takes 3 at most"),
        ({"methods": ["nope"]}, "Unknown method 'nope'"),
        ({"methods": ["weighted_avg"]}, "weights"),
        ({"max_tokens": 65}, "this server takes 64 at most"),
        ({"wordings": ["w " * 1900]}, "tokens"),
    ],
)
def test_what_the_server_refuses_is_refused(tiny_ensemble, values, said):
    service = Service(tiny_ensemble, Limits(max_wordings=3, max_tokens=64))
    try:
        with pytest.raises(ApiError) as found:
            asyncio.run(boards_of(service, asked(**values)))
    finally:
        service.close()
    assert said in found.value.message
    assert service.scheduler.num_waiting == 0


def test_methods_that_need_weights_are_not_there_to_choose(service):
    names = methods_of(service)
    assert set(METHODS) <= set(names)
    assert not {"weighted_avg", "weighted_max", "per_prompt"} & set(names)


def test_wordings_come_with_those_that_were_refused(long_folder):
    service = Service(Ensemble(load_model(str(long_folder))))
    try:
        gate = asyncio.run(make_wordings(service, "Who wrote the play?", 2, 0))
    finally:
        service.close()
    assert gate.original == "Who wrote the play?"
    assert len(gate.kept) <= 2
    assert gate.refused  # a random model says nothing that passes
    assert all(one.reason for one in gate.refused)


@pytest.mark.parametrize(("question", "num"), [("", 2), ("a\nb", 2), ("Who?", 0), ("Who?", 99)])
def test_wordings_of_nothing_are_refused(service, question, num):
    with pytest.raises(ApiError, match=r"one line|from 1 to 15"):
        asyncio.run(make_wordings(service, question, num, 0))


def test_a_file_of_another_server_says_what_is_not_here():
    board = Board(model="m", asked=asked("chat"))
    assert "Cannot be asked again here: avg, origin, chat." in opened(
        board, ["flex_attention", "vote"], ["plain"]
    )
    assert "Cannot" not in opened(board, METHODS, ["plain", "chat"])


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_the_python_that_is_shown_gives_the_same_answers(tiny_folder, style):
    loaded = load_model(str(tiny_folder))
    service = Service(Ensemble(loaded, resolve_methods(["all"], has_weights=False)))
    try:
        last = asyncio.run(boards_of(service, asked(style), attribute=False))[-1]
    finally:
        service.close()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(python_code(last.asked, str(tiny_folder)), {})
    for name in METHODS:
        assert f"{name}: {last.fused[name].text}\n" in printed.getvalue()
    for wording, said in zip(WORDINGS, last.members, strict=True):
        assert f"{wording} -> {said.text}\n" in printed.getvalue()


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_the_curl_that_is_shown_gives_the_same_answers(server, style):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    last = asyncio.run(boards_of(server.service, asked(style), attribute=False))[-1]
    code = curl_code(last.asked, server.service.name, server.url)
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    decoder = json.JSONDecoder()
    left, found = done.stdout, []
    while left:
        one, end = decoder.raw_decode(left)
        found.append(one["choices"][0])
        left = left[end:].lstrip()
    texts = [one["message"]["content"] if style == "chat" else one["text"] for one in found]
    assert texts == [last.fused[name].text for name in METHODS]
