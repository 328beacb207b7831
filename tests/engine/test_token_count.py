"""What a method costs alone, against the engine's counters when it is alone."""

from dataclasses import replace

import pytest
from asking import METHODS, QUESTIONS, WEIGHTS, ensemble, ready, requests
from tokenizer_families import gpt2

from self_ensemble.asking.request import Answer, Settings, Unanswered
from self_ensemble.asking.token_count import TokenCount
from self_ensemble.ensemble import Ensemble
from self_ensemble.questions.schema import Framing
from self_ensemble.walking.sampling import Sampling

EARLY = ("a", "e", " ", "\ufffd")  # answers of different lengths
TWINS = (("Who wrote it?", "Who wrote it?", "Who wrote this?"), QUESTIONS[2])
# A line break changes how what stands before it is read: these have less of the run's prefix.
LINES = (("is it old?", "Who wrote it?"), ("\n Who wrote it?", "is it?"))


def counted(asked, questions):
    """Tokens of every method and question of one run: a number a row."""
    answers = asked.run(questions)
    count = TokenCount(asked.prefiller, asked.decode)
    return {
        method.name: [
            count.of(method, request, answer)
            for request, answer in zip(questions, answers[method.name], strict=True)
        ]
        for method in asked.methods
    }


def alone(make, method, request):
    """What the engine counts when one method is asked one question."""
    asked = make(method)
    asked.run([request])
    return asked.counters.prompt_tokens + asked.counters.decode_tokens


def check(make, questions, methods=METHODS):
    """Hold every number of a run of many methods against the engine's; returns the numbers."""
    found = counted(make(list(methods)), questions)
    for method in methods:
        engine = [alone(make, method, request) for request in questions]
        assert [sum(rows) for rows in found[method]] == engine, method
    return found


@pytest.mark.parametrize("decode", ["tree", "captured"])
@pytest.mark.parametrize("num_wordings", [1, 3])
@pytest.mark.parametrize("options", [{}, {"stop": EARLY}, {"stop": EARLY, "max_new_tokens": 30}])
def test_every_method_costs_what_it_costs_alone(loaded, decode, num_wordings, options):
    model = loaded("llama")
    asked = requests(
        [wordings[:num_wordings] for wordings in QUESTIONS],
        [weights[:num_wordings] for weights in WEIGHTS],
    )
    found = check(lambda method: ensemble(model, method, decode=decode, **options), asked)
    if num_wordings == 3:
        assert found["origin"][0] < found["flex_attention"][0] < found["avg"][0]
        assert found["avg"][0] < found["contrast"][0]
        assert [len(rows) for rows in found["per_prompt"]] == [3, 3, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": Sampling(temperature=1.0), "stop": EARLY},
        {"fusion_point": "last_segment"},
        {"positions": "contiguous"},
        {"positions": "contiguous", "fusion_point": "last_segment"},
        {"max_new_tokens": 1},
    ],
)
def test_so_it_does_with_other_settings(loaded, options):
    model = loaded("llama")
    check(lambda method: ensemble(model, method, **options), requests())


def test_equal_wordings_are_counted_once_as_far_as_the_engine_reads_them_once(loaded):
    model = loaded("llama")
    found = check(lambda method: ensemble(model, method), requests(TWINS, WEIGHTS[:2]))
    first, second, _ = found["per_prompt"][0]
    assert second < first  # the twin has only a cue and an answer of its own


def test_wordings_that_read_each_other_are_laid_out_apart(loaded):
    model = loaded("llama")
    plain = requests(TWINS, WEIGHTS[:2])
    asked = [replace(plain[0], readable=((1, 0),)), plain[1]]
    found = check(lambda method: ensemble(model, method), asked)
    apart = found["flex_attention"][0]
    assert apart > counted(ensemble(model), plain)["flex_attention"][0]


def test_a_question_with_less_of_the_prefix_pays_for_the_rest_itself(tiny_model):
    def make(method):
        settings = Settings(max_new_tokens=6, stop=())
        return Ensemble(
            ready(tiny_model("llama"), gpt2()), method, prefix="Q: is it?\nA: so\n",
            framing=Framing("{}\n", "A:"), settings=settings,
        )  # fmt: skip

    frame = make("avg").frame
    assert len({len(frame.parts(wordings).prefix) for wordings in LINES}) == 2
    check(make, requests(LINES, [(1.0, 2.0)] * 2))


def test_what_a_wording_answers_alone_is_counted_with_it(loaded):
    asked = ensemble(loaded("llama"), "per_prompt", stop=EARLY, max_new_tokens=30)
    request = requests()[0]
    (answer,) = asked.run([request])["per_prompt"]
    count, (method,) = TokenCount(asked.prefiller, "tree"), asked.methods
    before = count.of(method, request, answer)
    longer = replace(answer.members[1], token_ids=(*answer.members[1].token_ids, 1, 2))
    members = (answer.members[0], longer, answer.members[2])
    after = count.of(method, request, replace(answer, members=members))
    assert after == (before[0], before[1] + 2, before[2])


def test_a_row_without_an_answer_has_no_tokens(loaded):
    asked = ensemble(loaded("llama"), ["per_prompt", "vote", "avg"])
    request = requests()[0]
    alone, vote, avg = asked.methods
    answer = asked.run([request])["per_prompt"][0]
    assert isinstance(answer, Answer)
    members = (answer.members[0], Unanswered("per_prompt", "nan"), answer.members[2])
    count = TokenCount(asked.prefiller, "tree")
    whole = count.of(alone, request, answer)
    holes = count.of(alone, request, replace(answer, members=members))
    assert holes == (whole[0], None, whole[2])
    assert count.of(vote, request, Unanswered("vote", "nan", members)) == (None,)
    assert count.of(avg, request, Unanswered("avg", "nan")) == (None,)
