"""What a pickle says, without doing any of it.

A pickle is a program for a small stack machine. This one knows the instructions that build numbers, texts, tuples,
lists and dictionaries. Where a pickle names a class or a function it gets a `Name`, where it calls one a `Call` that
remembers what was to be called with what: nothing is imported, looked up or run. Names that are not on a list, and
instructions that no pickle of plain objects has, end the reading at once.

What is kept of a pickle grows with its length alone: copies are references, and numbers of instructions are limited.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ModelError

MOST_STEPS = 1_000_000  # instructions: a forest of 1000 trees has some 15 000 to 90 000, and each may take 200 bytes


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function that a pickle names."""

    module: str
    name: str


@dataclass(eq=False)
class Call:
    """Something that a pickle wants called, or an object of a class that it wants made."""

    target: Name
    arguments: tuple[Any, ...]
    state: Any = field(default=None)


class _Mark:
    """Where a list, tuple or dictionary begins on the stack."""


_MARK = _Mark()


class PickleReader:
    """The stack machine.

    Parameters
    ----------
    allowed : collection of (module, name)
        What a pickle may name.
    """

    def __init__(self, allowed: Collection[tuple[str, str]]) -> None:
        self._allowed = frozenset(allowed)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, contents: bytes) -> Any:
        """What the pickle builds: plain values, `Name` and `Call`.

        Raises
        ------
        ModelError
            With the code ``bad_pickle``; the message is the rest of a sentence that begins with the name of the file.
        """
        instructions = pickletools.genops(contents)
        for _ in range(MOST_STEPS):
            try:
                code, argument, at = next(instructions)
            except StopIteration:
                raise _refuse("is a pickle that does not end") from None
            except Exception as error:  # arguments that are cut off or malformed, with exceptions of any kind
                raise _refuse(f"is no pickle, or it was cut off: {error!s:.200}") from None
            if code.name == "STOP":
                return self._pop()
            try:
                self._step(code.name, argument)
            except ModelError as error:
                raise _refuse(f"{error.message} (byte {at})") from None
        raise _refuse(f"is a pickle of more than {MOST_STEPS} instructions, far more than a forest has")

    def _step(self, code: str, argument: Any) -> None:
        if code in _CONSTANTS:
            self._stack.append(_CONSTANTS[code])
        elif code in _VALUES:
            self._stack.append(argument)
        elif code in _EMPTY:
            self._stack.append(_EMPTY[code]())
        elif code in _TUPLES:
            self._stack.append(tuple(reversed([self._pop() for _ in range(_TUPLES[code])])))
        elif code in _PUTS:
            self._keep(len(self._memo) if argument is None else argument)
        elif code in _GETS:
            if argument not in self._memo:
                raise _refuse("asks for a value that it has not kept")
            self._stack.append(self._memo[argument])
        elif code in _STEPS:
            _STEPS[code](self, argument)
        elif code not in _IGNORED:
            raise _refuse(f"has the instruction {code}, which a pickled forest does not need")

    def _keep(self, number: int) -> None:
        """Keep a value; numbers are those of writers, who count, so that none can be chosen to collide."""
        if not 0 <= number < MOST_STEPS:
            raise _refuse("keeps a value under a number that is out of range")
        self._memo[number] = self._top()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _refuse("is a pickle that takes what is not there")
        return self._stack[-1]

    def _pop(self) -> Any:
        value = self._top()
        self._stack.pop()
        return value

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while self._stack:
            value = self._stack.pop()
            if value is _MARK:
                return values[::-1]
            values.append(value)
        raise _refuse("is a pickle that takes what is not there")

    def _mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def _drop(self, _: Any) -> None:
        self._pop()

    def _drop_to_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def _name_both(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _name_stacked(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _refuse("names something by what is no text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in self._allowed:
            raise _refuse(f"names {module!r:.60}.{name!r:.60}, which a pickled forest does not need")
        self._stack.append(Name(module, name))

    def _call(self, _: Any) -> None:
        arguments, target = self._pop(), self._pop()
        if not isinstance(target, Name) or not isinstance(arguments, tuple):
            raise _refuse("calls what is no class or function that it has named")
        self._stack.append(Call(target, arguments))

    def _build(self, _: Any) -> None:
        state, call = self._pop(), self._top()
        if not isinstance(call, Call) or call.state is not None or state is None:
            raise _refuse("gives a state to what is no new object")
        call.state = state

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._of(list).append(value)

    def _append_marked(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._of(list).extend(values)

    def _set(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._of(dict).update(_pair([key, value]))

    def _set_marked(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._of(dict).update(_pair(values))

    def _make_list(self, _: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _make_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _make_dict(self, _: Any) -> None:
        self._stack.append(_pair(self._pop_to_mark()))

    def _of(self, kind: type) -> Any:
        if type(self._top()) is not kind:
            raise _refuse(f"treats as a {kind.__name__} what is none")
        return self._top()


def _pair(values: list[Any]) -> dict[Any, Any]:
    """A dictionary of keys and values; keys of other types, and large numbers, could take forever to hash."""
    keys = values[::2]
    if len(values) % 2 or not all(type(key) is str or (type(key) is int and -_KEY <= key <= _KEY) for key in keys):
        raise _refuse("has a dictionary whose keys are not texts or small numbers")
    return dict(zip(keys, values[1::2], strict=True))


def _refuse(what: str) -> ModelError:
    return ModelError(what, "bad_pickle")


_KEY = 1 << 31
_IGNORED = {"PROTO", "FRAME"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_STEPS: dict[str, Callable[[PickleReader, Any], None]] = {
    "MARK": PickleReader._mark,
    "POP": PickleReader._drop,
    "POP_MARK": PickleReader._drop_to_mark,
    "GLOBAL": PickleReader._name_both,
    "STACK_GLOBAL": PickleReader._name_stacked,
    "REDUCE": PickleReader._call,
    "NEWOBJ": PickleReader._call,
    "BUILD": PickleReader._build,
    "APPEND": PickleReader._append,
    "APPENDS": PickleReader._append_marked,
    "SETITEM": PickleReader._set,
    "SETITEMS": PickleReader._set_marked,
    "LIST": PickleReader._make_list,
    "TUPLE": PickleReader._make_tuple,
    "DICT": PickleReader._make_dict,
}
