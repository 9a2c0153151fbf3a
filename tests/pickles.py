"""Pickled forests, and pickles that want to do harm; shared by tests."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

CHANNELS = ("PSD", "synapsin")
HALF_WIDTHS = (0, 1, 1)
VOXELS = len(CHANNELS) * 9
K = 3


def grow_forest(seed: int = 0, classes: int = 2, trees: int = 7, **options: Any) -> RandomForestClassifier:
    """A forest over `K` features of the size of projections of `components`."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 200, (300, K)).astype(np.float32)
    target = (rows[:, 0] + rng.normal(0, 80, 300) > np.linspace(-1e9, 100, classes)[:, None]).sum(axis=0) - 1
    if classes > 2:
        target = np.digitize(rows[:, 0], np.linspace(-150, 150, classes - 1))
    return RandomForestClassifier(trees, random_state=seed, **options).fit(rows, target)


def components(seed: int = 0) -> npt.NDArray[np.float64]:
    """(K, VOXELS), rows of length 1."""
    values = np.random.default_rng(seed).normal(size=(K, VOXELS))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def text(value: str) -> bytes:
    """A short text in protocol 4."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def call(module: str, name: str, *arguments: str) -> bytes:
    """The call of a function with texts, in protocol 4; without the end."""
    return text(module) + text(name) + b"\x93(" + b"".join(map(text, arguments)) + b"tR"


def hostile(witness: Path) -> dict[str, bytes]:
    """Pickles by name; each of them would make `witness` if it were loaded, or fill memory or time."""
    run, end = f"touch {witness}", b"."
    start = b"\x80\x04"
    nested = bytes(itertools.chain.from_iterable((0x85,) for _ in range(200_000)))
    laughs = b")" + b"".join(b"q\x00h\x00\x86" for _ in range(64))
    return {
        "system": start + call("posix", "system", run) + end,
        "system in protocol 0": f"cposix\nsystem\n(S'{run}'\ntR.".encode(),
        "global with a text": f"cposix\nsystem\n(V{run}\ntR.".encode(),
        "inst": f"(V{run}\niposix\nsystem\n.".encode(),
        "obj": f"(cposix\nsystem\nV{run}\no.".encode(),
        "newobj_ex": start + text("subprocess") + text("Popen") + b"\x93" + text(run) + b"\x85}\x92" + end,
        "eval": start + call("builtins", "eval", f"open({str(witness)!r}, 'w')") + end,
        "open": start + call("io", "open", str(witness), "w") + end,
        "dotted": start + call("numpy", "f2py.os.system", run) + end,
        "attribute of an allowed module": start + call("numpy", "save", str(witness), "") + end,
        "getattr": start + call("builtins", "getattr", "x", "y") + end,
        "persistent id": b"Pevil\n.",
        "persistent id on the stack": start + text("evil") + b"Q" + end,
        "extension": start + b"\x82\x01" + end,
        "out-of-band buffer": b"\x80\x05\x97" + end,
        "call of a call": start + call("_codecs", "encode", "x") + b")R" + end,
        "call of a text": start + text("print") + b")R" + end,
        "name that is a tuple": start + b"))\x93" + end,
        "state of a text": start + text("x") + b"}b" + end,
        "state twice": start + text("numpy") + text("dtype") + b"\x93)R}b}b" + end,
        "set": start + b"\x8f" + end,
        "nested tuples": start + b")" + nested + end,
        "laughing key": start + b"}" + laughs + b"Ns" + end,
        "long key": start + b"}\x8b" + struct.pack("<i", 100) + b"\x7f" * 100 + b"Ns" + end,
        "empty stack": start + b"R" + end,
        "mark missing": start + b"t" + end,
        "unknown memo": start + b"h\x05" + end,
        "memo out of range": b"Np99999999999999999999\n.",
        "memo below 0": b"Np-1\n.",
        "only a mark": start + b"(" + end,
        "append to a tuple": start + b")Na" + end,
        "odd dictionary": start + b"(Nd" + end,
        "length that lies": start + b"\x8e" + struct.pack("<Q", 1 << 60) + b"x",
        "text that lies": start + b"X" + struct.pack("<I", 1 << 31) + b"x",
        "million lists": start + b"]" * 1_100_000 + end,
        "frames without end": start + (b"\x95" + bytes(8)) * 1000,
        "no end": start + b"N",
        "nothing": b"",
        "no pickle": b"\x93NUMPY\x01\x00",
        "compressed": b"\x78\x9c\xed\xc1\x01\x01",
        "a number": start + b"K\x01" + end,
        "a dictionary": start + b"}" + end,
        "an array": start + call("numpy", "dtype", "f8") + end,
    }
