"""Read values of report.json, any of which may be missing or of another type."""

import math
from collections.abc import Mapping
from typing import Any


def entry(record: Any, key: str, kind: type = dict) -> Any:
    """Return the value of a key of a record of report.json, or an empty one if it is missing or of another type."""
    value = record.get(key) if isinstance(record, Mapping) else None
    return value if isinstance(value, kind) else kind()


def finite(value: Any) -> float | None:
    """Return a finite number as a float, None for anything else."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if real and math.isfinite(value) else None


def number(record: Any, key: str) -> float | None:
    """Return the finite number of a key of a record of report.json, else None."""
    return finite(record.get(key)) if isinstance(record, Mapping) else None
