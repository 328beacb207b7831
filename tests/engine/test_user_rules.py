"""The user's own fusion rules, by function and by name."""

import math
import sys
from functools import partial

import pytest
import torch
import user_rules
from asking import METHODS, QUESTIONS, ensemble, requests, tokens

from self_ensemble.asking.methods import KINDS, resolve_method, resolve_methods
from self_ensemble.errors import UserError
from self_ensemble.oracle.reference import greedy_tied
from self_ensemble.walking import loop
from self_ensemble.walking.fusion import RULES
from self_ensemble.walking.sampling import Sampling


class Doubled:
    """A rule that is an object."""

    def __call__(self, logits, weights):
        return 2.0 * user_rules.middle(logits, weights)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (user_rules.middle, "user_rules:middle"),
        ("user_rules:middle", "user_rules:middle"),
        (Doubled(), "test_user_rules:Doubled"),
        (partial(user_rules.middle), "user_rules:middle"),
    ],
)
def test_a_users_rule_answers_like_the_full_recompute(loaded, rule, name):
    asked = ensemble(loaded("llama"), [rule, "avg"])
    answers = asked.run(requests())
    assert list(answers) == [name, "avg"]
    for wordings, answer in zip(QUESTIONS, answers[name], strict=True):
        expected = greedy_tied(
            loaded("llama"),
            asked.frame.parts(wordings),
            lambda each: torch.stack(each).median(dim=0).values,
            len(answer.token_ids),
        )
        assert list(answer.token_ids) == expected
    assert tokens(answers[name]) != tokens(answers["avg"])


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0)], ids=str)
def test_a_rule_may_return_another_type_of_numbers(loaded, sampling):
    found = ensemble(loaded("llama"), ["avg", user_rules.in_double], sampling=sampling)
    answers = found.run(requests())["user_rules:in_double"]
    expected = ensemble(loaded("llama"), ["avg"]).run(requests())["avg"]
    if sampling == Sampling():
        assert tokens(answers) == tokens(expected)
    assert all(math.isfinite(logprob) for answer in answers for logprob in answer.logprobs)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            user_rules.transposed,
            r"returned \(3, 3\) for logits \(3, 3, 320\); expected \(3, 320\)",
        ),
        (user_rules.nothing, "returned NoneType"),
    ],
)
def test_a_rule_that_returns_something_else_is_refused(loaded, rule, message):
    with pytest.raises(UserError, match=message):
        ensemble(loaded("llama"), [rule]).run(requests())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user_rules:medium", "Cannot load the fusion rule 'user_rules:medium'"),
        ("no_such_module:rule", "No module named 'no_such_module'"),
        (":middle", "Cannot load the fusion rule ':middle'"),
        (".user_rules:middle", "Cannot load the fusion rule"),
        ("user_rules:", "Cannot load the fusion rule"),
        ("user_rules:NO_RULE", "'user_rules:NO_RULE' is no function"),
        ("flex_atention", "Did you mean 'flex_attention'"),
        ("", "Unknown method ''"),
    ],
)
def test_a_method_that_does_not_exist_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        resolve_method(name)


def test_two_rules_of_one_name_are_refused(loaded):
    rules = [lambda logits, weights: logits[..., 0, :], lambda logits, weights: logits[..., 1, :]]
    with pytest.raises(UserError, match="Two methods have one name"):
        ensemble(loaded("llama"), rules)


def test_all_stands_for_every_built_in_method_that_can_run():
    assert [one.name for one in resolve_methods(["all"], has_weights=True)] == list(KINDS)
    without = [one.name for one in resolve_methods(["all"], has_weights=False)]
    assert without == [name for name in KINDS if not name.startswith("weighted")]
    twice = resolve_methods(["avg", "user_rules:middle", "avg"], has_weights=False)
    assert [one.name for one in twice] == ["avg", "user_rules:middle"]


@pytest.mark.parametrize("name", ["weighted_avg", "weighted_max"])
def test_a_weighted_method_without_weights_is_refused(loaded, name):
    with pytest.raises(UserError, match=f"'{name}' needs weights"):
        resolve_methods([name], has_weights=False)
    # In Python as well: equal weights would be another method under this name.
    with pytest.raises(UserError, match=f"'{name}' needs weights, and question 'q0' has none"):
        ensemble(loaded("llama"), name).run(requests(weights=None))


@pytest.mark.parametrize("name", ["contrast", "weighted_avg", "avg"])
def test_a_built_in_rule_by_its_function_is_the_built_in_method(name):
    for given in (RULES[name], f"self_ensemble.walking.fusion:{name}"):
        method = resolve_method(given)
        assert (method.name, method.rule) == (name, RULES[name])
        assert method.reads_prior == (name == "contrast")
        assert method.needs_weights == (name == "weighted_avg")


@pytest.mark.parametrize(("at_once", "sizes"), [(1, {1}), (2 * 3 * 320, {1, 2}), (1 << 20, {3})])
def test_a_cpu_gives_a_rule_few_questions_at_a_time(loaded, monkeypatch, at_once, sizes):
    seen = []

    def noting(logits, weights):
        seen.append(len(logits))
        return RULES["weighted_avg"](logits, weights)

    monkeypatch.setattr(loop, "LOGITS_AT_ONCE", at_once)
    asked = ensemble(loaded("llama"), [noting, *METHODS], max_new_tokens=4)
    asked.stop.eos_token_ids = frozenset()
    answers = asked.run(requests())
    assert set(seen) == sizes
    whole = ensemble(loaded("llama"), max_new_tokens=4)
    whole.stop.eos_token_ids = frozenset()
    monkeypatch.setattr(loop, "LOGITS_AT_ONCE", 1 << 20)
    for name, expected in whole.run(requests()).items():
        assert tokens(answers[name]) == tokens(expected)


def test_a_rule_of_the_current_folder_is_found_by_an_installed_command(tmp_path, monkeypatch):
    (tmp_path / "rule_of_here.py").write_text(
        "def top(logits, weights):\n    return logits[:, 0]\n"
    )
    # So it is where the folder of the script, and not the current one, leads the path.
    monkeypatch.setattr("sys.path", [place for place in sys.path if place])
    monkeypatch.chdir(tmp_path)
    assert resolve_method("rule_of_here:top").name == "rule_of_here:top"
    assert sys.path[-1] == str(tmp_path)


def test_a_rule_s_module_is_named_without_its_ending():
    with pytest.raises(UserError, match=r"Write it without \.py: mine:top, with its folder on"):
        resolve_method("rules/mine.py:top")
