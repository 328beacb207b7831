"""Users' rules that fail, leave the program or return no scores; and unusual ones that work."""

import math
import sys
from functools import partial

import hostile_rules
import pytest
import torch
from asking import ensemble, requests, tokens

from self_ensemble.asking.methods import resolve_method
from self_ensemble.asking.request import Answer, Unanswered
from self_ensemble.errors import UserError
from self_ensemble.walking.choose import greedy
from self_ensemble.walking.fusion import contrast
from self_ensemble.walking.sampling import Sampling


def line_of(function) -> int:
    """The line below `def`."""
    return function.__code__.co_firstlineno + 1


@pytest.fixture(scope="module")
def model(loaded):
    return loaded("llama")


@pytest.fixture(params=["tree", "captured"])
def decode(request):
    return request.param


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("divides", "raised ZeroDivisionError: "),
        ("exits", "raised SystemExit: 0"),
        ("ends_as_a_generator", "raised GeneratorExit"),
        ("raises_without_words", "raised Unprintable"),
        ("raises_a_users_error", "raised ValueError: first line"),
        ("deep_in_torch", "raised RuntimeError: "),
        ("deep_in_a_library", "raised JSONDecodeError: "),
    ],
)
def test_what_a_rule_raises_names_rule_line_and_questions(model, rule, message, decode):
    function = getattr(hostile_rules, rule)
    with pytest.raises(UserError) as raised:
        ensemble(model, ["avg", function], decode=decode).run(requests())
    said = str(raised.value)
    assert (
        f"Rule 'hostile_rules:{rule}' (hostile_rules.py, line {line_of(function)}) {message}"
        in (said)
    )
    assert "second line" not in said
    assert "(batch of questions q0 .. q2)" in said


def test_a_bound_methods_own_line_is_named(model):
    with pytest.raises(UserError, match=rf"hostile_rules.py, line {line_of(hostile_rules.bound)}"):
        ensemble(model, [resolve_method("hostile_rules:bound")]).run(requests()[:1])


def test_an_interrupt_is_no_failure_of_the_rule(model):
    with pytest.raises(KeyboardInterrupt):
        ensemble(model, [hostile_rules.interrupted]).run(requests())


def test_a_bug_of_ours_beside_a_rule_is_no_failure_of_the_rule(model, monkeypatch):
    monkeypatch.setattr("self_ensemble.walking.loop.choose", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ensemble(model, [hostile_rules.mean]).run(requests())


def test_a_batch_that_memory_does_not_hold_is_not_the_rules_fault(model):
    def greedy_for_memory(logits, weights):
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        ensemble(model, [greedy_for_memory]).run(requests())


@pytest.mark.filterwarnings("ignore:coroutine", "ignore:The PyTorch API of nested")
@pytest.mark.parametrize(
    ("rule", "returned"),
    [
        ("as_bool", r"\(3, 320\) of type torch.bool"),
        ("as_complex", r"\(3, 320\) of type torch.complex64"),
        ("as_integer", r"\(3, 320\) of type torch.int64"),
        ("as_float8", r"\(3, 320\) of type torch.float8_e4m3fn"),
        ("as_sparse", r"\(3, 320\) in the layout torch.sparse_coo"),
        ("as_meta", r"\(3, 320\) on the device meta"),
        ("as_nested", "a tensor of the kind nested"),
        ("as_list", "list"),
        ("later", "coroutine"),
        ("other_shape_each_time", r"\(3, 319\)"),
    ],
)
def test_what_is_no_score_for_each_token_is_refused(model, rule, returned, decode):
    hostile_rules.CALLS.clear()
    method = getattr(hostile_rules, rule)
    with pytest.raises(UserError, match=f"Rule 'hostile_rules:{rule}' returned {returned} for"):
        ensemble(model, [method], decode=decode).run(requests())


@pytest.mark.parametrize("rule", ["infinite", "all_ruled_out", "one_nan", "one_infinite"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0)], ids=str)
def test_scores_that_are_not_finite_are_no_answer_and_name_the_rule(model, rule, sampling):
    rules = ["avg", getattr(hostile_rules, rule)]
    found = ensemble(model, rules, sampling=sampling).run(requests())
    expected = ensemble(model, ["avg"], sampling=sampling).run(requests())
    assert tokens(found["avg"]) == tokens(expected["avg"])
    for one in found[f"hostile_rules:{rule}"]:
        assert isinstance(one, Unanswered)
        assert f"Token 1 of the answer has no finite score: rule 'hostile_rules:{rule}'" in (
            one.error
        )


def test_a_question_whose_scores_are_not_finite_leaves_the_others(model, decode):
    rules = [hostile_rules.mean, hostile_rules.nan_for_the_widest_question]
    found = ensemble(model, rules, decode=decode).run(requests())
    expected, ours = found.values()
    assert [isinstance(one, Answer) for one in ours] == [True, False, True]
    assert tokens(ours[::2]) == tokens(expected[::2])


def test_a_rule_that_writes_into_its_arguments_changes_nothing_else(model, decode):
    names = ["in_place", "not_in_place"]
    rules = [*(getattr(hostile_rules, name) for name in names), "weighted_avg", "avg"]
    found = ensemble(model, rules, decode=decode).run(requests())
    assert tokens(found["hostile_rules:in_place"]) == tokens(found["hostile_rules:not_in_place"])
    expected = ensemble(model, ["weighted_avg", "avg"], decode=decode).run(requests())
    for name, answers in expected.items():
        assert tokens(found[name]) == tokens(answers)


def test_scores_of_few_bits_have_a_finite_normaliser():
    rule = resolve_method(hostile_rules.half_of_a_large_vocabulary).rule
    _, logprobs = greedy(rule(torch.zeros(1, 2, 70_000), torch.ones(1, 2)))
    assert logprobs.item() == pytest.approx(-math.log(70_000))


@pytest.mark.parametrize("name", ["partially", "instance", "anonymous", "needs_grad"])
def test_rules_of_every_form_answer_like_the_mean(model, name, decode):
    found = ensemble(model, [f"hostile_rules:{name}", "avg"], decode=decode).run(requests())
    assert list(found) == [f"hostile_rules:{name}", "avg"]
    # Scores times a number above 0 have the same best token.
    assert tokens(found[f"hostile_rules:{name}"]) == tokens(found["avg"])


def test_partials_and_objects_are_named_by_what_they_are_made_of():
    assert resolve_method(hostile_rules.partially).name == "hostile_rules:with_power"
    assert resolve_method(hostile_rules.instance).name == "hostile_rules:Powered"
    named = partial(hostile_rules.with_power, power=5.0)
    named.__name__ = "strong"
    assert resolve_method(named).name == "hostile_rules:strong"
    assert resolve_method(torch.mean).name.endswith(":mean")


def test_a_partial_of_a_built_in_rule_is_that_rule_with_another_setting(model):
    stronger = resolve_method(partial(contrast, strength=1.0))
    assert (stronger.name, stronger.reads_prior) == ("contrast", True)
    found = ensemble(model, [stronger]).run(requests())["contrast"]
    assert tokens(found) != tokens(ensemble(model, ["contrast"]).run(requests())["contrast"])


MODULES = {
    "raises": ("1 / 0", r"broken_raises.py, line 2: ZeroDivisionError"),
    "exits": ("import sys; sys.exit(0)", r"broken_exits.py, line 2: SystemExit: 0"),
    "no_syntax": ("def rule(", r"broken_no_syntax.py, line 2: SyntaxError"),
    "lacks": ("import no_such_library", "No module named 'no_such_library'"),
    "has_none": ("pass", "has no attribute 'rule'"),
    "is_none": ("rule = None", "is no function"),
    "takes_one": ("def rule(logits): pass", r"does not take \(logits, weights\)"),
}


@pytest.mark.parametrize("kind", MODULES)
def test_a_module_that_cannot_be_used_is_one_line(tmp_path, monkeypatch, kind):
    text, message = MODULES[kind]
    (tmp_path / f"broken_{kind}.py").write_text(f"import math\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        resolve_method(f"broken_{kind}:rule")
    sys.modules.pop(f"broken_{kind}", None)


def test_a_name_that_cannot_be_imported_has_no_place_in_a_file():
    with pytest.raises(UserError, match=r"Cannot load the fusion rule '.rules:mean' \(TypeError"):
        resolve_method(".rules:mean")


@pytest.mark.parametrize("name", ["math:gcd", "operator:matmul", "torch:mean", "builtins:print"])
def test_a_function_without_a_signature_is_called_and_refused(model, name):
    with pytest.raises(UserError, match=f"Rule '{name}' "):
        ensemble(model, [name]).run(requests()[:1])
    assert math.isfinite(ensemble(model, ["avg"]).run(requests()[:1])["avg"][0].mean_logprob)
