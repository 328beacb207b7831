"""What a function computes with beside its arguments, as JSON: constants, closures, attributes.

    constants.SCALE            2.0             what it reads of its module
    constants.TABLE            xxh3:0d1c...    where it is large
    constants.helper.constants.FACTOR          what a function that it calls reads
    closure.weights            [0.5, 0.5]      what a function inside another one has caught
    arguments                  [3]             of a `functools.partial`
    state.gate                 0.1             an attribute of an instance

The user's functions and classes are followed wherever values lead to them. What can neither be
written as JSON nor taken apart as `pickle` would (an open file, a lock, a running generator) is
`NOT_COMPARABLE`, with a number that no other run has: nobody can say whether it is the same.
"""

import copyreg
import functools
import json
import sys
import types
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self_ensemble.errors import UserError, reading
from self_ensemble.identity.bytecode import all_names, code_parts, global_names
from self_ensemble.identity.files import digest_of, digest_of_json
from self_ensemble.identity.leaves import MAX_DEPTH, MAX_SHOWN, is_json, numbers, plain
from self_ensemble.identity.sources import code_of, is_own

NOT_COMPARABLE = "not comparable"
_CONTAINERS = (
    *(dict, OrderedDict, defaultdict, types.MappingProxyType),
    *(list, tuple, set, frozenset),
)
# Of a class: what Python adds to it.
_ADDED = (
    *("__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__slots__"),
    *("_abc_impl", "__firstlineno__", "__static_attributes__"),
)
_DESCRIPTORS = (
    *(types.GetSetDescriptorType, types.MemberDescriptorType),
    *(types.WrapperDescriptorType, types.MethodDescriptorType),
)


def code_identity(code: Callable[..., object]) -> dict[str, object]:
    """What a function or instance of the user's depends on.

    Args:
        code: A function, partial, bound method, or an instance with `__call__`.

    Returns:
        Digests of its modules, versions of the packages that they import, and its values.
    """
    describer = _Describer()
    values = describer.describe(code, 0)
    found = code_of(describer.modules)
    return {"modules": found.modules, "packages": found.packages, "values": values}


class _Describer:
    """One walk through values that may refer to each other.

    Attributes:
        modules: Modules of the functions and classes that it came by.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        # By identity; held, so that no identity is given out twice.
        self._seen: dict[int, tuple[int, object]] = {}

    def describe(self, value: object, depth: int) -> object:
        """A value as JSON."""
        whole = plain(value)
        if whole is not None:
            return whole[0]
        if id(value) in self._seen:
            return f"again: {self._seen[id(value)][0]}"
        self._seen[id(value)] = (len(self._seen), value)
        if depth > MAX_DEPTH:
            return _not_comparable(value, "nested too deeply")
        try:
            return self._parts(value, depth + 1)
        except UserError as error:
            return _not_comparable(value, str(error))

    def _parts(self, value: object, depth: int) -> object:
        if isinstance(value, torch.Tensor | np.ndarray | torch.Generator):
            return numbers(value)
        if type(value) in _CONTAINERS:
            return self._container(value, depth)
        if isinstance(value, types.ModuleType):
            self._came_by(value.__name__)
            return value.__name__
        if isinstance(value, type):
            return self._class(value, depth)
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, types.MethodType | types.BuiltinFunctionType):
            return self._method(value, depth)
        return self._object(value, depth)

    def _container(self, value: Any, depth: int) -> object:
        if is_json(value):
            return _shortened(value)
        described: object
        if isinstance(value, dict | types.MappingProxyType):
            pairs = [(key, self.describe(value[key], depth)) for key in value]
            if all(isinstance(key, str) for key in value):
                described = dict(pairs)
            else:
                described = [[self.describe(key, depth), held] for key, held in pairs]
        elif isinstance(value, set | frozenset):
            described = sorted((self.describe(one, depth) for one in value), key=json.dumps)
        else:
            described = [self.describe(one, depth) for one in value]
        return _shortened(described)

    def _function(self, function: types.FunctionType, depth: int) -> object:
        name = f"{function.__module__}.{function.__qualname__}"
        closure = {
            name: self.describe(_content(cell), depth)
            for name, cell in zip(
                function.__code__.co_freevars, function.__closure__ or (), strict=True
            )
        }
        file = Path(function.__code__.co_filename)
        if not (is_own(file) if file.is_file() else _is_own_module(function.__module__)):
            return {"name": name, "closure": closure} if closure else name
        self._came_by(function.__module__)
        parts: dict[str, object] = {
            "name": name,
            "code": digest_of_json(code_parts(function.__code__)),
            "closure": closure,
            "defaults": self.describe(function.__defaults__, depth),
            "keyword_defaults": self.describe(function.__kwdefaults__, depth),
            "attributes": self.describe(vars(function), depth),
            "constants": dict(self._constants(function, depth)),
        }
        return {name: part for name, part in parts.items() if part not in (None, {}, [])}

    def _constants(self, function: types.FunctionType, depth: int) -> Iterator[tuple[str, object]]:
        """What a function reads of its module, and of other modules of the user's."""
        names = all_names(function.__code__)
        done: set[int] = set()
        for name in sorted(global_names(function.__code__) & function.__globals__.keys()):
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType):
                yield from self._of_module(name, value, names, depth, done)
            else:
                yield name, self.describe(value, depth)

    def _of_module(
        self, path: str, module: types.ModuleType, names: Set[str], depth: int, done: set[int]
    ) -> Iterator[tuple[str, object]]:
        """What of a module of the user's, and of modules in it, code with these names may read."""
        if id(module) in done or not _is_own_module(module.__name__):
            return
        done.add(id(module))
        self._came_by(module.__name__)
        # Not by getattr, which a module may answer with code of its own.
        for name in sorted(names & vars(module).keys()):
            value = vars(module)[name]
            if isinstance(value, types.ModuleType):
                yield from self._of_module(f"{path}.{name}", value, names, depth, done)
            else:
                yield f"{path}.{name}", self.describe(value, depth)

    def _class(self, kind: type, depth: int) -> object:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if not _is_own_module(kind.__module__):
            return name
        self._came_by(kind.__module__)
        members = {
            member: self.describe(_unbound(value), depth)
            for member, value in vars(kind).items()
            if member not in _ADDED and not isinstance(value, _DESCRIPTORS)
        }
        bases = [self.describe(base, depth) for base in kind.__bases__ if base is not object]
        return {"name": name, "members": members} | ({"bases": bases} if bases else {})

    def _method(self, method: Any, depth: int) -> object:
        if isinstance(method, types.BuiltinFunctionType):
            name = f"{method.__module__}.{method.__qualname__}"
            holder = method.__self__
            if holder is None or isinstance(holder, types.ModuleType | type):
                return name
            return {"name": name, "self": self.describe(holder, depth)}
        return {
            "function": self.describe(method.__func__, depth),
            "self": self.describe(method.__self__, depth),
        }

    def _object(self, value: Any, depth: int) -> object:
        """Any other object, taken apart as `pickle` and `copy` would."""
        if isinstance(value, functools.partial):
            parts: dict[str, object] = {
                "function": self.describe(value.func, depth),
                "arguments": self.describe(value.args, depth),
                "keywords": self.describe(value.keywords, depth),
            }
            return {name: part for name, part in parts.items() if part not in ({}, [])}
        with reading(type(value).__name__, "It has to be picklable."):
            reducer = copyreg.dispatch_table.get(type(value))
            reduced = value.__reduce_ex__(4) if reducer is None else reducer(value)
            if not isinstance(reduced, str):
                reduced = tuple(list(x) if isinstance(x, Iterator) else x for x in reduced)
        if isinstance(reduced, str):
            wrapped = getattr(value, "__wrapped__", None)
            name = f"{getattr(value, '__module__', '')}.{reduced}"
            return name if wrapped is None else {"name": name, "of": self.describe(wrapped, depth)}
        names = ("made_by", "from", "state", "items", "entries")
        found = dict(zip(names, reduced, strict=False))
        described = {name: self.describe(part, depth) for name, part in found.items()}
        return {name: part for name, part in described.items() if part not in (None, {}, [])}

    def _came_by(self, module: str) -> None:
        if module:
            self.modules.add(module)


def _not_comparable(value: object, reason: str) -> str:
    return f"{NOT_COMPARABLE} ({type(value).__name__}; {reason}; {uuid.uuid4().hex[:8]})"


def _shortened(described: object) -> object:
    """A long container as its digest, unless something in it is to be named."""
    text = json.dumps(described, sort_keys=True)
    named = NOT_COMPARABLE in text or '"code"' in text
    return described if len(text) <= MAX_SHOWN or named else digest_of(text)


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return "empty"


def _unbound(member: object) -> object:
    """The function in a method of a class."""
    if isinstance(member, staticmethod | classmethod):
        return member.__func__
    if isinstance(member, property):
        return [member.fget, member.fset, member.fdel]
    return member


def _is_own_module(name: str | None) -> bool:
    module = sys.modules.get(name or "")
    # A folder without __init__.py is a package without a file.
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    # What is typed into a console is in no file; what is in no module was made by the user's code.
    return is_own(Path(place)) if place else module is None or name == "__main__"
