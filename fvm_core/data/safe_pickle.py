"""Reads pickles of NumPy arrays, lists, numbers and words without running pickle.

CIFAR's batches and CIFAR-10N's label file are published as pickles, and a pickle is a program. Here its instructions
are taken one by one (`pickletools.genops` only names them) by a small machine that knows containers, numbers, words
and the three calls of which a NumPy array is made. It imports nothing, calls nothing the file names, and takes no
memory beyond a small multiple of the file: every copy of bytes is charged to a budget.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from typing import Any

import numpy as np

from fvm_core.errors import DataError

RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
NDARRAY, DTYPE, ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
ALLOWED = RECONSTRUCT | {NDARRAY, DTYPE, ENCODE}
MAX_INSTRUCTIONS = 3_000_000
COPIES, SPARE_BYTES = 4, 2**20
TORCH_MAGIC = 0x1950A86A20F9469CFC6C

_VALUES = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT", "FLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


class _Name(str):
    """A global that the file names; never looked up."""


class _Dtype:
    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="


class _Budget:
    """Bytes that may still be copied; a few kilobytes can name one string a million times."""

    def __init__(self, size: int) -> None:
        self.limit = self.left = COPIES * size + SPARE_BYTES

    def charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DataError(
                f"must unpack to at most {self.limit:,} bytes, but makes more copies of its words than that. Do not "
                "trust this file; get it from its authors."
            )


class _Array:
    def __init__(self) -> None:
        self.value: np.ndarray | None = None


def read_pickle(data: bytes, *, what: str) -> Any:
    """Return what the pickle holds: dicts, lists, tuples, numbers, words, bytes and numeric NumPy arrays (read-only).

    Of torch's legacy format, several pickles in a row, the one with the content is returned. Words of Python 2 come
    as str decoded with Latin-1. `what` names the file in errors. Cost: linear in the file.

    Raises:
        DataError: truncated or damaged, or it names anything but NumPy's array reconstruction.
    """
    stream = io.BytesIO(data)
    budget = _Budget(len(data))
    try:
        value = _run(stream, budget)
        if value == TORCH_MAGIC:
            _run(stream, budget)
            _run(stream, budget)
            value = _run(stream, budget)
        return _resolve(value, 0, {})
    except DataError as error:
        raise DataError(f"`{what}` {error}") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError) as error:
        raise DataError(
            f"`{what}` must be a whole pickle of arrays, but is damaged or cut off. Copy it anew."
        ) from error


def _run(stream: io.BytesIO, budget: _Budget) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if count > MAX_INSTRUCTIONS:
            raise DataError(f"must have at most {MAX_INSTRUCTIONS:,} pickle instructions. Do not trust this file.")
        if name in _VALUES:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument)])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            _build(name, argument, stack, budget)
    raise ValueError("no STOP")


def _build(name: str, argument: Any, stack: list[Any], budget: _Budget) -> None:
    if name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
        stack.append({} if name == "EMPTY_DICT" else [] if name == "EMPTY_LIST" else ())
    elif name in ("TUPLE", "LIST", "DICT"):
        items = _pop_mark(stack)
        stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _dict(items))
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
    elif name in ("APPEND", "APPENDS"):
        items = [stack.pop()] if name == "APPEND" else _pop_mark(stack)
        _expect(stack[-1], list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else _pop_mark(stack)
        _expect(stack[-1], dict).update(_dict(items))
    elif name == "GLOBAL":
        stack.append(_name(argument))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_name(f"{module} {attribute}"))
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        stack.append(_call(function, arguments, budget))
    elif name == "BUILD":
        state = stack.pop()
        _set_state(stack[-1], state, budget)
    else:
        raise DataError(
            f"must hold only arrays, lists and words, but has the pickle instruction {name}. Do not use it."
        )


def _name(name: str) -> _Name:
    if name not in ALLOWED:
        raise DataError(
            f"must name nothing but NumPy arrays, but names `{name[:100].replace(' ', '.')}`, which pickle would run. "
            "Nothing was run. Do not trust this file; get it from its authors."
        )
    return _Name(name)


def _call(function: Any, arguments: Any, budget: _Budget) -> Any:
    if isinstance(function, _Name) and isinstance(arguments, tuple):
        if function in RECONSTRUCT and len(arguments) == 3 and arguments[0] == NDARRAY:
            return _Array()
        if function == DTYPE and arguments and isinstance(arguments[0], str):
            return _Dtype(arguments[0])
        if function == ENCODE and len(arguments) == 2 and arguments[1] == "latin1":
            budget.charge(len(_expect(arguments[0], str)))
            return arguments[0].encode("latin-1")
    raise DataError("must hold only NumPy arrays, but asks for another call. Nothing was run. Do not trust this file.")


def _set_state(target: Any, state: Any, budget: _Budget) -> None:
    if isinstance(target, _Dtype):
        _, order, *fields = _expect(state, tuple)
        if any(field is not None for field in fields[:3]) or order not in ("<", ">", "|", "="):
            raise DataError("must hold plain numeric arrays, got a structured type. Save the columns apart.")
        target.order = order
    elif isinstance(target, _Array):
        _, shape, dtype, fortran, content = _expect(state, tuple)
        target.value = _array(_expect(shape, tuple), _expect(dtype, _Dtype), bool(fortran), content, budget)
    else:
        raise DataError("must hold only NumPy arrays, but sets the state of something else. Do not trust this file.")


def _array(shape: tuple[Any, ...], kind: _Dtype, fortran: bool, content: Any, budget: _Budget) -> np.ndarray:
    if not (kind.code[:1] in "biuf" and kind.code[1:] in ("1", "2", "4", "8")):
        raise DataError(f"must hold numeric arrays, got the type {kind.code[:20]!r}. Save numbers only.")
    if isinstance(content, str):
        budget.charge(len(content))
    raw = content.encode("latin-1") if isinstance(content, str) else _expect(content, bytes)
    dtype = np.dtype(("" if kind.order in "|=" else kind.order) + kind.code)
    sound = len(shape) <= 8 and all(isinstance(side, int) and 0 <= side <= len(raw) for side in shape)
    if not sound or math.prod(shape) * dtype.itemsize != len(raw):
        raise DataError(f"must hold whole arrays, got {len(raw):,} bytes of {dtype} for another shape. Copy it anew.")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _resolve(value: Any, depth: int, seen: dict[int, Any]) -> Any:
    """Put arrays in the place of their stand-ins, two containers deep: more than any of these files has.

    Containers that the file names many times are resolved once and stay shared.
    """
    if isinstance(value, _Array):
        if value.value is None:
            raise DataError("must hold whole arrays, got one without content. Copy it anew.")
        return value.value
    if isinstance(value, (list, tuple, dict)) and depth < 2:
        if id(value) not in seen:
            if isinstance(value, dict):
                seen[id(value)] = {key: _resolve(item, depth + 1, seen) for key, item in value.items()}
            else:
                seen[id(value)] = [_resolve(item, depth + 1, seen) for item in value]
        return seen[id(value)]
    if isinstance(value, (_Name, _Dtype, list, tuple, dict)) or value is _MARK:
        raise DataError("must hold arrays, lists and words, at most two deep. Save it in a simpler form.")
    return value


def _dict(items: list[Any]) -> dict[Any, Any]:
    for key in items[::2]:
        _expect(key, (str, bytes, int))
    return dict(zip(items[::2], items[1::2], strict=True))


def _pop_mark(stack: list[Any]) -> list[Any]:
    place = len(stack) - 1
    while stack[place] is not _MARK:
        place -= 1
        if place < 0:
            raise ValueError("no MARK")
    items = stack[place + 1 :]
    del stack[place:]
    return items


def _expect(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expected {kind}")
    return value
