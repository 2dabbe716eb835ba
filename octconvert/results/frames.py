"""Rows of a result -> a pandas table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from octconvert.errors import UsageError
from octconvert.system.installation import install_command

if TYPE_CHECKING:
    from pandas import DataFrame


def data_frame(rows: Iterable[Any], *properties: str) -> DataFrame:
    """A row for each dataclass, a column for each of its fields; ``properties``: names of further columns.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        hint = install_command("notebook")
        raise UsageError(f"tables need pandas, which is not installed: {hint}") from error
    names = lambda row: [*(field.name for field in dataclasses.fields(row)), *properties]  # noqa: E731
    return pandas.DataFrame([{name: getattr(row, name) for name in names(row)} for row in rows])
