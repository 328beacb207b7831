"""Fusion rules of the user's own: loaded by name, and called inside a boundary.

What a user's rule or its module raises is no bug of ours, and is told from one here: only the
import of the module and the call of the rule stand inside the boundary. B questions, N wordings,
V vocabulary.
"""

import importlib
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from self_ensemble.errors import UserError, is_out_of_memory, unknown_name
from self_ensemble.walking.fusion import CONTRAST, RULES, FusionRule

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class RuleError(UserError):
    """A user's rule raised, or returned what is no score for each token."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "SE-0605")


@dataclass(frozen=True, slots=True)
class UserRule:
    """A rule `(B, N, V), (B, N) -> (B, V)` of the user's own, with its results checked.

    Attributes:
        name: As the user knows it.
        function: What the user wrote: any object that can be called with logits and weights.
    """

    name: str
    function: Callable[..., object]

    def __call__(self, logits: Tensor, weights: Tensor) -> Tensor:
        """Apply the rule; questions with logits that are not finite get nan where it refuses them.

        Raises:
            RuleError: It raised something or ended the program, or what it returned is no dense
                tensor of floats of the right shape on the right device.
        """
        try:
            return self._scores(logits, weights)
        except RuleError:
            # The largest of logits with nan among them is nan.
            finite_B = logits.amax(dim=(-2, -1)).isfinite()
            if bool(finite_B.all()):
                raise
            if not bool(finite_B.any()):
                return logits.new_full(_expected(logits), math.nan)
            found = self._scores(logits[finite_B], weights[finite_B])
            scores = found.new_full(_expected(logits), math.nan)
            scores[finite_B] = found
            return scores

    def _scores(self, logits: Tensor, weights: Tensor) -> Tensor:
        try:
            # A copy: the same weights serve the other methods and the next step.
            scores = self.function(logits, weights.clone())
        except (Exception, SystemExit, GeneratorExit) as error:
            if is_out_of_memory(error):
                raise  # a smaller batch may fit
            place = _place(error, source_file(self.function))
            raise RuleError(
                f"Rule {self.name!r}{place and f' ({place})'} raised {_reason(error)}"
            ) from error
        if not isinstance(scores, Tensor) or (problem := _problem(scores, logits)):
            returned = problem if isinstance(scores, Tensor) else type(scores).__name__
            raise RuleError(
                f"Rule {self.name!r} returned {returned} for logits {tuple(logits.shape)}; "
                f"expected {_expected(logits)}, floats on the same device. Reduce dimension -2"
            )
        # At least float32: the sum of a vocabulary may be too large for a float16.
        return scores.detach().to(torch.promote_types(scores.dtype, torch.float32))


def load_rule(name: str, known: list[str]) -> FusionRule:
    """A rule by name, or the user's own as `module:function`.

    Args:
        name: A built-in name or `module:function`.
        known: All method names, for the message.

    Raises:
        UserError: No such rule.
    """
    if name in RULES:
        return RULES[name]
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise unknown_name("method", name, [*known, "module:function"])
    if module_name.endswith(".py"):
        raise UserError(
            f"Got the fusion rule {name!r}. Write it without .py: "
            f"{Path(module_name).stem}:{function_name}, with its folder on PYTHONPATH.",
            "SE-0604",
        )
    # A command that is installed does not look here by itself. Last, so that nothing is shadowed.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        rule = getattr(importlib.import_module(module_name), function_name)
    except (Exception, SystemExit, GeneratorExit) as error:
        place = "" if isinstance(error, ImportError | AttributeError) else _place(error, None)
        reason = _reason(error)
        raise UserError(
            f"Cannot load the fusion rule {name!r} ({f'{place}: ' if place else ''}{reason}). "
            "Give module:function, of a file here, one that is installed, or one on PYTHONPATH.",
            "SE-0604",
        ) from error
    if not callable(rule):
        raise UserError(f"{name!r} is no function. Give module:function.", "SE-0604")
    return checked_rule(name, rule)


def checked_rule(name: str, rule: Callable[..., object]) -> FusionRule:
    """A user's rule in its boundary; one of the built-in ones as it is.

    Raises:
        UserError: It does not take logits and weights, as far as can be told without calling it.
    """
    if built_in(rule) is not None:
        return rule  # type: ignore[return-value]
    try:
        inspect.signature(rule).bind(None, None)
    except TypeError as error:
        raise UserError(
            f"The fusion rule {name!r} does not take (logits, weights): {error}. "
            "Write a function of two tensors.",
            "SE-0604",
        ) from error
    except ValueError:
        pass  # functions written in C tell nothing of what they take
    return UserRule(name, rule)


def rule_name(rule: Callable[..., object]) -> str:
    """`module:function` of a rule; a partial without a name has that of its function."""
    named: Any = rule
    while isinstance(named, partial) and "__name__" not in vars(named):
        named = named.func
    name = getattr(named, "__name__", None) or type(named).__name__
    inner = _inner(named)
    module = getattr(inner, "__module__", None) or type(inner).__module__
    return f"{module}:{name}"


def built_in(rule: Callable[..., object] | None) -> str | None:
    """Name of the built-in rule that this is, or is a partial of; None for a user's own."""
    inner = _inner(rule)
    return next((name for name, known in RULES.items() if known is inner), None)


def strength_of(rule: Callable[..., object] | None) -> float:
    """The strength that `contrast`, or a partial of it, has."""
    keywords = rule.keywords if isinstance(rule, partial) else {}
    return float(keywords.get("strength", CONTRAST))


def own_function(rule: Callable[..., object]) -> Callable[..., object]:
    """What the user wrote, without our boundary around it."""
    return rule.function if isinstance(rule, UserRule) else rule


def source_file(rule: Callable[..., object]) -> str | None:
    """File that a rule stands in, as tracebacks name it; None where there is none."""
    inner = _inner(rule)
    called = inner if inspect.isroutine(inner) else vars(type(inner)).get("__call__")
    code = getattr(inspect.unwrap(called) if called is not None else None, "__code__", None)
    return None if code is None else str(code.co_filename)


def _inner(rule: Any) -> Any:
    """What the user wrote, without partials and our boundary around it."""
    while isinstance(rule, partial | UserRule):
        rule = rule.func if isinstance(rule, partial) else rule.function
    return rule


def _expected(logits: Tensor) -> tuple[int, int]:
    return logits.shape[0], logits.shape[2]


def _problem(scores: Tensor, logits: Tensor) -> str | None:
    """What is wrong with a tensor that a rule returned."""
    if type(scores) not in (Tensor, torch.nn.Parameter) or scores.is_nested:
        return f"a tensor of the kind {'nested' if scores.is_nested else type(scores).__name__}"
    shape = tuple(scores.shape)
    if scores.layout != torch.strided:
        return f"{shape} in the layout {scores.layout}"
    if scores.device != logits.device:
        return f"{shape} on the device {scores.device}"
    if scores.dtype not in FLOATS:
        return f"{shape} of type {scores.dtype}"
    return None if shape == _expected(logits) else f"{shape}"


def _reason(error: BaseException) -> str:
    # Not str(error), which an exception of the user's may fail at.
    text = str(traceback.TracebackException.from_exception(error, limit=0)).strip()
    first = text.partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _place(error: BaseException, file: str | None) -> str:
    """File and line of an error: the last in the rule's own file, else the last of all."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename != __file__ and "<frozen" not in frame.f_code.co_filename
    ]
    # importlib's own frames, where nothing of the user's was reached.
    frames = [one for one in frames if one[0] != importlib.__file__]
    own = [one for one in frames if one[0] == file] or frames
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}" if own else ""
