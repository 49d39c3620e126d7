"""Change files and values at random, as damage and other programs do."""

from typing import Any

import numpy as np

ODD_NUMBERS = (
    "nan", "inf", "-1", "0", "1e308", "1e-308", "99999999999999999999", "0x10", "1_0", "", "0,5", "-", "\0",
)  # fmt: skip
ODD_ARRAYS = (
    np.zeros(0), np.zeros((0, 3)), np.float64(3), np.full(4, np.nan), np.array("text"), np.array(b"x"),
    np.ones((2, 2), bool), np.array([1 + 2j]), np.arange(3), np.array([["a"]]), np.full((2, 3), 1e300),
    np.array(2**63 - 1), np.array("2020", "M8[Y]"),
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    1e308,
    10**30,
    "",
    "x",
    [],
    {},
    [[]],
    True,
    float("nan"),
    [None],
    {"a": 1},
)


def is_text(data: bytes) -> bool:
    return b"\0" not in data[:1000] and data[:1000].isascii()


def change_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip, insert, remove, repeat or cut off bytes."""
    if not data:
        return b"\0"
    a = int(rng.integers(0, len(data)))
    b = min(len(data), a + int(rng.integers(1, 64)))
    match int(rng.integers(0, 6)):
        case 0:
            return data[:a]
        case 1:
            return data[:a] + data[b:]
        case 2:
            return data[:b] + data[a:b] * int(rng.integers(1, 50)) + data[b:]
        case 3:
            return data[:a] + rng.bytes(b - a) + data[b:]
        case 4:
            return (
                data[:a] + int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1])).to_bytes(4, "little") + data[a + 4 :]
            )
        case _:
            return data[:a] + bytes([data[a] ^ (1 << int(rng.integers(0, 8)))]) + data[a + 1 :]


def change_words(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace, swap, remove or repeat words or lines."""
    separator = [b" ", b"\n", b","][rng.integers(0, 3)]
    words = data.split(separator)
    a, b = (int(k) for k in rng.integers(0, len(words), 2))
    match int(rng.integers(0, 4)):
        case 0:
            words[a] = ODD_NUMBERS[rng.integers(0, len(ODD_NUMBERS))].encode()
        case 1:
            words[a], words[b] = words[b], words[a]
        case 2:
            del words[a]
        case _:
            words[a:a] = [words[b]] * int(rng.integers(1, 20))
    return separator.join(words)


def change_value(value: Any, rng: np.random.Generator) -> Any:
    """Replace, remove or add a value at a random place of nested dicts, lists and arrays."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(0, len(value))]
        if rng.random() < 0.15:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: change_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        index = int(rng.integers(0, len(value)))
        return [*value[:index], change_value(value[index], rng), *value[index + int(rng.random() < 0.9) :]]
    if isinstance(value, np.ndarray | np.generic | float):
        return change_array(np.asarray(value), rng)
    return ODD_VALUES[rng.integers(0, len(ODD_VALUES))]


def change_array(array: np.ndarray, rng: np.random.Generator) -> Any:
    """Change the numbers, the type or the shape of an array, or replace it."""
    match int(rng.integers(0, 7)):
        case 0:
            return ODD_ARRAYS[rng.integers(0, len(ODD_ARRAYS))]
        case 1 if array.ndim:
            return array[: rng.integers(0, len(array) + 1)]
        case 2:
            return array[None]
        case 3 if array.dtype.kind in "biuf":
            return array.astype(rng.choice(["f2", "i4", "u1", "f8", "c16", "?"]))
        case 4 if array.dtype.kind == "f" and array.size:
            changed = array.copy()
            changed.flat[rng.integers(0, array.size)] = rng.choice([np.nan, np.inf, 1e30, -1e5, 0.0])
            return changed
        case 5 if array.dtype.kind in "iuf":
            return array * 0
        case _:
            return array.T
