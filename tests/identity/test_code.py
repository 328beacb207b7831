"""A user's rule is what its code, its modules and the values that it computes with are."""

import functools
import importlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from self_ensemble.identity.values import NOT_COMPARABLE, code_identity

RULE = """
import json
import statistics
import torch
import numpy as np
import spaced.deeper.tables
from helpers import deep as renamed
from helpers.scaling import scale

SCALE = 2.0
TABLE = list(range(100))
SETTING = json.loads('{"a": 1}')


def mine(logits, weights):
    from late import lately
    return lately(scale(renamed.bend(logits.mean(-2)))) * SCALE + offset()


def offset():
    return TABLE[1] + statistics.fmean([1]) + spaced.deeper.tables.OFFSET


class Held:
    gate = 0.5

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, logits, weights):
        return mine(logits, weights) * self.factor * self.gate


held = Held(3.0)
"""
FILES = {
    "own_rule.py": RULE,
    "helpers/__init__.py": "VERSION = 1\n",
    "helpers/deep/__init__.py": "from .inner import bend\n",
    "helpers/deep/inner.py": "from ..scaling import OFFSET\n\n"
    "def bend(x):\n    return x + OFFSET\n",
    "helpers/scaling.py": "import importlib\n\nOFFSET = 1\n"
    "near = importlib.import_module('.near', __package__)\n\ndef scale(x):\n    return x * 2\n",
    "helpers/near.py": "X = 1\n",
    "spaced/deeper/tables.py": "OFFSET = 1\nMORE = 1\n",  # folders without __init__.py
    "late.py": "import importlib\n\nother = importlib.import_module('named')\n\n"
    "def lately(x):\n    return other.same(x)\n",
    "named.py": "def same(x):\n    return x\n",
    "statistics.py": "def fmean(x):\n    return 1.0\n",  # the user's own, of a library's name
    "unrelated.py": "X = 1\n",
}
IMPORTED = ["helpers", "helpers.deep", "helpers.deep.inner", "helpers.near", "helpers.scaling",
            "late", "named", "own_rule", "spaced.deeper.tables", "statistics"]  # fmt: skip
SHOW = (
    "import sys, json, importlib; from self_ensemble.identity.values import code_identity; "
    "print(json.dumps(code_identity(getattr(importlib.import_module('own_rule'), sys.argv[1])), "
    "sort_keys=True))"
)


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.fixture
def own_rule(folder, monkeypatch):
    """The user's module, imported afresh."""
    monkeypatch.syspath_prepend(folder)
    for name in IMPORTED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("own_rule")


def seen(rule):
    return json.loads(json.dumps(code_identity(rule)))


def test_it_is_the_same_in_another_process(folder, own_rule):
    for name in ("mine", "held"):
        elsewhere = subprocess.run(
            [sys.executable, "-c", SHOW, name],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(elsewhere.stdout) == seen(getattr(own_rule, name))


def test_all_that_it_imports_of_the_users_is_listed_and_nothing_else(own_rule):
    found = seen(own_rule.mine)
    assert sorted(found["modules"]) == IMPORTED
    assert sorted(found["packages"]) == ["numpy", "torch"]
    assert found["packages"]["numpy"] == np.__version__
    assert found["values"]["constants"]["SCALE"] == 2.0


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_change_of_any_file_that_it_imports_shows(folder, own_rule, name):
    before = seen(own_rule.mine)
    (folder / name).write_text(FILES[name] + "# changed\n")
    after = seen(own_rule.mine)
    changed = [one for one in before["modules"] if before["modules"][one] != after["modules"][one]]
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert changed == ([] if name == "unrelated.py" else [module])


def test_a_constant_that_is_changed_in_memory_shows_by_name(own_rule, monkeypatch):
    before = seen(own_rule.mine)
    monkeypatch.setattr(own_rule, "SCALE", 3.0)
    after = seen(own_rule.mine)
    assert before["values"]["constants"].pop("SCALE") == 2.0
    assert after["values"]["constants"].pop("SCALE") == 3.0
    assert before == after


def test_what_a_module_inside_packages_holds_shows_by_name(own_rule, monkeypatch):
    name = "spaced.deeper.tables.OFFSET"
    before = seen(own_rule.mine)
    monkeypatch.setattr(sys.modules["spaced.deeper.tables"], "OFFSET", 3.0)
    after = seen(own_rule.mine)
    read = [found["values"]["constants"]["offset"]["constants"] for found in (before, after)]
    assert [constants.pop(name) for constants in read] == [1, 3.0]
    assert before == after


def change_table(rule):
    rule.TABLE[7] = 0


def change_attribute(rule):
    rule.held.factor = 3.5


def change_class(rule):
    rule.Held.gate = 0.25


def change_helper(rule):
    sys.modules["helpers.deep.inner"].OFFSET = 2


def change_function(rule):
    rule.mine = lambda logits, weights: logits[..., 0, :]


@pytest.mark.parametrize(
    "change", [change_table, change_attribute, change_class, change_helper, change_function]
)
def test_whatever_an_instance_reads_shows(own_rule, change):
    before = seen(own_rule.held)
    change(own_rule)
    assert seen(own_rule.held) != before


def caught(value):
    def rule(logits, weights):
        return logits.mean(-2) * value

    return rule


def with_default(value):
    def rule(logits, weights, extra=value, *, more=value):
        return logits.mean(-2)

    return rule


def with_attribute(value):
    rule = caught(1)
    rule.note = value
    return rule


def given(value):
    return functools.partial(with_default(0), extra=value)


class Instance:
    def __init__(self, value):
        self.value = value

    def __call__(self, logits, weights):
        return logits.mean(-2)

    def method(self, logits, weights):
        return logits.mean(-2)


def bound(value):
    return Instance(value).method


def decorated(value):
    @torch.no_grad()
    @functools.wraps(caught(value))
    def rule(logits, weights):
        return caught(value)(logits, weights)

    return rule


class Slotted:
    __slots__ = ("one",)

    def __init__(self, one):
        self.one = one


def linear(seed):
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(seed)
        layer.bias.zero_()
    return layer


VALUES = [
    lambda: 1, lambda: True, lambda: 1.0, lambda: 2, lambda: "1", lambda: b"1", lambda: None,
    lambda: float("nan"), lambda: float("inf"), lambda: 1j, lambda: "long " * 100,
    lambda: "long " * 99, lambda: [1, [2]], lambda: [1, [3]], lambda: {"a": 1}, lambda: {"a": 2},
    lambda: {1: 2}, lambda: {1: 3}, lambda: {"x", "y", "z"}, lambda: {"x", "y"},
    lambda: list(range(1000)), lambda: [*range(999), 0], lambda: torch.ones(3),
    lambda: torch.ones(3, dtype=torch.bfloat16), lambda: torch.ones(3, 1), lambda: torch.zeros(3),
    lambda: np.ones(3), lambda: np.ones(3, "f4"), lambda: np.zeros(3), lambda: np.float64(1),
    lambda: Path("a"), lambda: Path("b"), lambda: Slotted(1), lambda: Slotted(2),
    lambda: Instance(1), lambda: Instance(2), lambda: caught(1), lambda: caught(2),
    lambda: torch.Generator().manual_seed(1), lambda: torch.Generator().manual_seed(2),
    lambda: linear(1), lambda: linear(2), lambda: torch.float32, lambda: slice(1, 2),
    lambda: torch.softmax, lambda: torch.nn.functional.relu, lambda: functools.lru_cache(max),
]  # fmt: skip


@pytest.mark.parametrize("made", [caught, with_default, with_attribute, given, Instance, bound])
def test_equal_values_are_equal_and_others_are_not(made):
    first = [json.dumps(seen(made(value()))) for value in VALUES]
    again = [json.dumps(seen(made(value()))) for value in VALUES]
    assert first == again
    assert len(set(first)) == len(VALUES)
    assert not any(NOT_COMPARABLE in text for text in first)


def test_decorators_of_libraries_are_seen_through():
    assert seen(decorated(1)) == seen(decorated(1))
    assert seen(decorated(1)) != seen(decorated(2))


@pytest.mark.parametrize("value", [threading.Lock, lambda: (x for x in [1]), lambda: sys.stdout])
def test_what_cannot_be_described_is_never_the_same(value):
    first, second = (json.dumps(seen(caught(value()))) for _ in range(2))
    assert NOT_COMPARABLE in first
    assert first != second


def test_values_that_hold_each_other_end():
    one: list[object] = [1]
    one.append({"back": one})
    assert seen(caught(one)) == seen(caught(one))
    other: list[object] = [2]
    other.append({"back": other})
    assert seen(caught(one)) != seen(caught(other))


def test_a_rule_without_a_file_is_known_by_its_code():
    rules = []
    for text in ("logits[..., 0, :]", "logits[..., 1, :]", "logits[..., 1, :]"):
        names: dict[str, object] = {"__name__": "nowhere"}
        exec(f"def rule(logits, weights):\n    return {text}", names)
        rules.append(seen(names["rule"]))
    assert rules[0] != rules[1]
    assert rules[1] == rules[2]
