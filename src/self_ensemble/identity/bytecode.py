"""What a piece of bytecode does, and which names it reads."""

import dis
import types
from collections.abc import Iterator


def code_parts(code: types.CodeType) -> list[object]:
    """What a piece of bytecode does, as JSON; not where it stands."""
    constants = [
        code_parts(one) if isinstance(one, types.CodeType) else _constant(one)
        for one in code.co_consts
    ]
    return [
        code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags,
        code.co_exceptiontable.hex(), constants,
    ]  # fmt: skip


def global_names(code: types.CodeType) -> set[str]:
    """Names that it reads of its module, in functions inside it, too."""
    return {
        str(step.argval)
        for one in _with_inner(code)
        for step in dis.get_instructions(one)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }


def all_names(code: types.CodeType) -> set[str]:
    """Names of globals, attributes and imports in it."""
    return {name for one in _with_inner(code) for name in one.co_names}


def _with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_inner(constant)


def _constant(value: object) -> str:
    # The order of a frozenset of texts differs from process to process.
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
