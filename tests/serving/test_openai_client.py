"""The official client, unchanged, against a server with a tiny model."""

import threading

import httpx
import openai
import pytest
import torch

from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.prompts.build import conversation_frame
from self_ensemble.prompts.frame import whole_frame
from self_ensemble.walking.sampling import Sampling

ASKED = "Who wrote the play?"
FURTHER = ["Which one of them wrote the play about the prince?", "Writer?"]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is the river wide?"},
    {"role": "assistant", "content": "It is."},
    {"role": "user", "content": ASKED},
]


def generated(loaded, ids, num_tokens):
    """What transformers generates; the end-of-sequence token left out."""
    model = loaded.model
    backend = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    try:
        found = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False, max_new_tokens=num_tokens,
        )[0, len(ids) :].tolist()  # fmt: skip
    finally:
        model.set_attn_implementation(backend)
    return loaded.tokenizer.decode(found, skip_special_tokens=True)


def chat(server, **options):
    return server.client().chat.completions.create(
        **{"model": "tiny", "messages": TALK, "max_tokens": 12, **options}
    )


def complete(server, **options):
    return server.client().completions.create(
        **{"model": "tiny", "prompt": ASKED, "max_tokens": 12, **options}
    )


def test_the_model_is_listed(server):
    (model,) = server.client().models.list().data
    assert model.id == "tiny"
    assert model.methods[0] == "flex_attention"
    assert server.client().models.retrieve("tiny") == model
    listed = httpx.get(f"{server.url}/v1/models/").json()
    assert [one["id"] for one in listed["data"]] == ["tiny"]
    document = httpx.get(f"{server.url}/openapi.json")
    assert set(document.json()["paths"]["/healthz"]) == {"get"}
    with pytest.raises(
        openai.NotFoundError, match=r"Unknown model 'owner/other'. This server has"
    ):
        server.client().models.retrieve("owner/other")


@pytest.mark.parametrize("method", ["origin", "flex_attention", "avg"])
@pytest.mark.parametrize("prompt", [ASKED, "7", "Q: Is it?\nA:", "\u00e9\u4e2d"])
def test_a_completion_is_what_generate_gives_on_that_text(server, tiny_loaded, prompt, method):
    found = complete(server, prompt=prompt, extra_body={"method": method})
    ids = tiny_loaded.tokenizer(prompt)["input_ids"]
    assert found.choices[0].text == generated(tiny_loaded, ids, 12)
    assert found.usage.prompt_tokens == len(ids)


def test_a_chat_is_what_generate_gives_on_the_chat_template(server, tiny_loaded):
    ids = tiny_loaded.tokenizer.apply_chat_template(TALK, add_generation_prompt=True)["input_ids"]
    found = chat(server)
    assert found.choices[0].message.content == generated(tiny_loaded, ids, 12)
    assert found.choices[0].message.role == "assistant"
    assert found.usage.prompt_tokens == len(ids)


@pytest.mark.parametrize(
    "method", ["flex_attention", "avg", "weighted_avg", "contrast", "vote", "per_prompt", "origin"]
)
def test_wordings_are_answered_as_by_the_ensemble(server, tiny_loaded, method):
    weights = (0.5, 0.2, 0.3) if method in ("weighted_avg", "flex_attention") else None
    extra = {"wordings": FURTHER, "method": method}
    found = chat(server, extra_body=extra | ({"weights": list(weights)} if weights else {}))
    frame = conversation_frame(tiny_loaded.tokenizer, TALK[:-1])
    settings = Settings(
        max_new_tokens=12, stop=(), segment_weights="given" if weights else "uniform"
    )
    alone = Ensemble(tiny_loaded, [method, "per_prompt"][: 1 + (method != "per_prompt")],
                     frame=frame, settings=settings)  # fmt: skip
    asked = [Request("q", (ASKED, *FURTHER), weights, weights)]
    expected = {name: answers[0] for name, answers in alone.run(asked).items()}
    choice = found.choices[0]
    assert choice.message.content == expected[method].generation
    assert choice.ensemble["method"] == method
    members = expected["per_prompt"].members
    shown = choice.ensemble["members"]
    if method == "origin":
        assert [one["wording"] for one in shown] == [ASKED]
        return
    assert [one["wording"] for one in shown] == [ASKED, *FURTHER]
    assert [one["answer"] for one in shown] == [one.generation for one in members]
    same = [one.generation == choice.message.content for one in members]
    assert choice.ensemble["agreement"] >= sum(same) / 3


def test_members_can_be_left_out(server):
    found = chat(server, extra_body={"wordings": FURTHER, "members": False, "method": "avg"})
    assert found.choices[0].ensemble["agreement"] is None
    assert {one["answer"] for one in found.choices[0].ensemble["members"]} == {None}


def test_attribution_is_that_of_the_ensemble(server, tiny_loaded):
    kinds = ["leave_one_out", "mass"]
    found = chat(server, extra_body={"wordings": FURTHER, "attribution": kinds})
    frame = conversation_frame(tiny_loaded.tokenizer, TALK[:-1])
    alone = Ensemble(
        tiny_loaded, "flex_attention", frame=frame, settings=Settings(max_new_tokens=12, stop=())
    )
    expected = alone.attribute(Request("q", (ASKED, *FURTHER)), kinds)
    for kind in kinds:
        shares = found.choices[0].ensemble["shares"][kind]
        assert shares == pytest.approx(expected[kind].total, abs=1e-3)


def test_an_attribution_that_cannot_be_had_is_refused_before_anything_is_answered(server):
    tokens = server.service.scheduler.counts.tokens
    for asked in (
        {"attribution": ["leave_one_out"]},
        {"wordings": [f"Now: {ASKED}"], "attribution": ["shapley"]},
        {"wordings": [f"Now: {ASKED}"], "weights": [1, 0], "attribution": ["leave_one_out"]},
    ):
        with pytest.raises(openai.BadRequestError, match="whole prompts") as caught:
            complete(server, extra_body=asked)
        assert caught.value.code == "SE-0503"
    assert server.service.scheduler.counts.tokens == tokens
    asked = {"wordings": [f"Now: {ASKED}"], "attribution": ["leave_one_out"]}
    shares = complete(server, extra_body=asked).choices[0].ensemble["shares"]
    assert len(shares["leave_one_out"]) == 2


@pytest.mark.parametrize("ask", [chat, complete])
@pytest.mark.parametrize("extra", [{}, {"wordings": FURTHER, "method": "avg"}])
def test_a_streamed_answer_is_the_whole_one(server, ask, extra):
    options = {"n": 2, "temperature": 1.3, "top_p": 0.9, "seed": 5, "stop": ["er", "\n\n"],
               "max_tokens": 30, "extra_body": extra}  # fmt: skip
    whole = ask(server, **options)
    texts, ends, usage = ["", ""], {}, None
    for chunk in ask(server, stream=True, stream_options={"include_usage": True}, **options):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            new = choice.text if ask is complete else choice.delta.content
            texts[choice.index] += new or ""
            if choice.finish_reason is not None:
                ends[choice.index] = (choice.finish_reason, choice.ensemble)
    expected = [c.text if ask is complete else c.message.content for c in whole.choices]
    assert texts == expected
    assert expected[0] != expected[1]
    assert ends == {c.index: (c.finish_reason, c.ensemble) for c in whole.choices}
    assert usage == whole.usage


def test_a_stop_string_ends_an_answer_and_is_no_part_of_it(server):
    whole = complete(server, max_tokens=40).choices[0].text
    stop = whole[len(whole) // 2 :][:2]
    found = complete(server, max_tokens=40, stop=stop).choices[0]
    assert (found.text, found.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_a_seed_fixes_what_is_sampled(server, tiny_loaded):
    options = {"temperature": 1.5, "max_tokens": 20, "extra_body": {"method": "origin"}}
    one, two, other = (complete(server, seed=s, **options).choices[0].text for s in (3, 3, 4))
    assert one == two != other
    settings = Settings(max_new_tokens=20, stop=(), sampling=Sampling(1.5, 1.0, 3))
    alone = Ensemble(tiny_loaded, "origin", frame=whole_frame(tiny_loaded.tokenizer),
                     settings=settings)  # fmt: skip
    assert alone.run([Request("choice 0", (ASKED,))])["origin"][0].generation == one
    free = {complete(server, **options).choices[0].text for _ in range(3)}
    assert len(free) > 1


def test_log_probabilities_are_those_of_the_answers_tokens(server, tiny_loaded):
    found = chat(server, logprobs=True, top_logprobs=3, stop=["ri"], max_tokens=20).choices[0]
    frame = conversation_frame(tiny_loaded.tokenizer, TALK[:-1])
    settings = Settings(max_new_tokens=20, stop=("ri",))
    alone = Ensemble(tiny_loaded, "origin", frame=frame, settings=settings).answer([ASKED])
    content = found.logprobs.content
    assert [one.logprob for one in content] == pytest.approx(
        alone.logprobs[: len(content)], abs=1e-4
    )
    assert all(one.top_logprobs[0].token == one.token for one in content)
    assert all(len(one.top_logprobs) == 3 for one in content)
    stream = chat(server, logprobs=True, top_logprobs=3, stop=["ri"], max_tokens=20, stream=True)
    pieces = [chunk.choices[0] for chunk in stream]
    told = [one for piece in pieces if piece.logprobs for one in piece.logprobs.content]
    assert [one.logprob for one in told] == pytest.approx([one.logprob for one in content])
    plain = complete(server, logprobs=2, max_tokens=5).choices[0].logprobs
    assert len(plain.tokens) == len(plain.token_logprobs) == len(plain.top_logprobs) <= 5


def test_several_prompts_get_several_answers(server):
    prompts = [ASKED, "The river"]
    both = complete(server, prompt=prompts, n=2)
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    alone = [complete(server, prompt=prompt).choices[0].text for prompt in prompts]
    assert [choice.text for choice in both.choices] == [alone[0], alone[0], alone[1], alone[1]]


def test_an_answer_does_not_depend_on_what_else_is_in_flight(server):
    asked = [
        {"prompt": f"{ASKED} {n}", "max_tokens": 5 + 3 * (n % 5), "temperature": 0.8 * (n % 3),
         "seed": n, "extra_body": {"wordings": [f"Writer {n}? {ASKED} {n}"] if n % 2 else None,
                                   "method": ["flex_attention", "avg", "vote"][n % 3]}}
        for n in range(24)
    ]  # fmt: skip
    alone = [complete(server, **one).choices[0] for one in asked]
    together = [None] * len(asked)

    def ask(n):
        together[n] = complete(server, **asked[n]).choices[0]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason)


def test_what_assistants_said_can_be_sent_back_as_it_came(server):
    said = chat(server).choices[0].message
    turns = [*TALK, said, {"role": "user", "content": [{"type": "text", "text": "And then?"}]}]
    assert chat(server, messages=turns).choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    ("options", "error", "match", "code"),
    [
        ({"model": "gpt"}, openai.NotFoundError, "This server has 'tiny'", "model_not_found"),
        ({"messages": TALK[:1]}, openai.UnprocessableEntityError, "must be the user's",
         "value_error"),
        ({"messages": TALK[1:2] + TALK[3:] + [{"role": "user", "content": " "}]},
         openai.BadRequestError, "Wording 0 is empty", "SE-0203"),
        ({"extra_body": {"method": "os:system"}},
         openai.UnprocessableEntityError, "Unknown method", "SE-0011"),
        ({"extra_body": {"method": "avg", "weights": [1.0]}},
         openai.UnprocessableEntityError, "reads no weights", "SE-0012"),
        ({"extra_body": {"method": "weighted_avg"}},
         openai.BadRequestError, "needs weights", "SE-0602"),
        ({"extra_body": {"weights": [1.0, 2.0]}},
         openai.BadRequestError, "Got 2 weights for 1", "SE-0603"),
        ({"extra_body": {"attribution": ["share"]}}, openai.BadRequestError, "share", "SE-"),
        ({"extra_body": {"wordings": ["a"] * 1000}},
         openai.UnprocessableEntityError, "16 at most", "limit_exceeded"),
        ({"extra_body": {"paraphrase": 10**12}},
         openai.UnprocessableEntityError, "16 at most", "limit_exceeded"),
        ({"extra_body": {"wordings": ["a"], "paraphrase": 1}},
         openai.UnprocessableEntityError, "not both", "value_error"),
        ({"extra_body": {"best": 1}}, openai.UnprocessableEntityError, "best", "extra_forbidden"),
        ({"max_tokens": 5000}, openai.UnprocessableEntityError, "1024 at most", "limit_exceeded"),
        ({"max_tokens": 600}, openai.BadRequestError, "positions", "SE-0501"),
        ({"messages": [{"role": "user", "content": "a b c d e " * 40}], "max_tokens": 1,
          "extra_body": {"paraphrase": 1}},
         openai.UnprocessableEntityError, "256 at most", "limit_exceeded"),
        ({"n": 17}, openai.UnprocessableEntityError, "16 at most", "limit_exceeded"),
        ({"presence_penalty": 0.5},
         openai.UnprocessableEntityError, "presence_penalty", "literal_error"),
        ({"stop": [""]}, openai.UnprocessableEntityError, r"stop.0: .* at least 1 character",
         "string_too_short"),
        ({"stop": ["a"] * 9}, openai.UnprocessableEntityError, "stop: .*at most 8", "too_long"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
         openai.UnprocessableEntityError, "messages.0.content.0.type: Input should be 'text'",
         "literal_error"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_openais_words(server, options, error, match, code):
    with pytest.raises(error, match=match) as caught:
        chat(server, **options)
    body = caught.value.body
    assert set(body) == {"message", "type", "param", "code"}
    assert body["code"].startswith(code)
    assert caught.value.code == body["code"]
    assert "Traceback" not in body["message"]
    assert "/" not in body["message"].replace("/v1/", "")


def test_what_cannot_be_asked_with_wordings_to_be_made_is_refused_before_they_are(server):
    before = server.service.aside._ensemble.counters.forwards
    for extra, match in (
        ({"weights": [1.0], "method": "weighted_avg"}, "Got 1 weights for 3"),
        ({"method": "weighted_avg"}, "needs weights"),
        ({"attribution": ["share"]}, "share"),
    ):
        with pytest.raises(openai.BadRequestError, match=match):
            chat(server, extra_body={"paraphrase": 2, **extra})
    assert server.service.aside._ensemble.counters.forwards == before
    # Weights for all of them are none of that; this model says nothing that passes the gate.
    asked = {"paraphrase": 2, "weights": [1.0, 0.5, 0.5], "method": "weighted_avg"}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        chat(server, extra_body=asked)
    assert caught.value.param == "paraphrase"


def test_whole_prompts_need_a_common_end_only_to_be_read_together(server):
    asked = {"prompt": "The river is", "extra_body": {"wordings": ["Is the river"]}}
    with pytest.raises(openai.BadRequestError, match="no end in common"):
        complete(server, **asked)
    asked["extra_body"]["method"] = "avg"
    assert complete(server, **asked).choices[0].ensemble["agreement"] is not None
