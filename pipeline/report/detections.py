"""The table of an analysis as the report needs it: places, classes, measurements, and which rows are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas

SUM = "sum_"
ALL = "all"
SHORT_UNITS = {"nanometer": "nm", "micrometer": "µm", "millimeter": "mm"}
SEED = 0
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """The volume that was analysed; axes are z y x.

    Parameters
    ----------
    shape : tuple of int
    spacing : tuple of float
        Size of a voxel in `unit`.
    origin : tuple of int
        Voxel that it begins with.
    unit : str
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[int, ...]
    unit: str

    @property
    def short_unit(self) -> str:
        """The unit as it is written along an axis."""
        return SHORT_UNITS.get(self.unit, self.unit)

    @property
    def extent(self) -> Floats:
        """Lengths of the volume in `unit`."""
        return np.array(self.shape) * np.array(self.spacing)

    @property
    def start(self) -> Floats:
        """Where it begins, in `unit`."""
        return np.array(self.origin) * np.array(self.spacing)


@dataclass(frozen=True)
class Group:
    """Some of the detections: all of them, or those of a class.

    Parameters
    ----------
    name : str
    rows : ndarray, (n,), int64
        Ascending.
    number : int
        Of its colour; 0 is the colour of all.
    """

    name: str
    rows: Rows
    number: int


@dataclass(frozen=True, eq=False)
class Detections:
    """The table, prepared.

    Parameters
    ----------
    table : pandas.DataFrame
    space : Space
    positions : ndarray, (n, 3)
        z y x in the unit of `space`.
    classes : tuple of Group
        Detections of each class that has some; empty where nothing was classified.
    channels : tuple of str
        Names of the measured channels.
    sums : ndarray, (n, channels)
        NaN where a detection was not measured.
    measured : ndarray, (m,), int64
        Rows that were, in every channel.
    """

    table: pandas.DataFrame
    space: Space
    positions: Floats
    classes: tuple[Group, ...]
    channels: tuple[str, ...]
    sums: Floats
    measured: Rows

    @classmethod
    def of(cls, table: pandas.DataFrame, space: Space, class_names: Sequence[str] = ()) -> Detections:
        """Prepare a table; its columns are those of `pipeline.report.write_report`."""
        columns = [name for name in table.columns if str(name).startswith(SUM)]
        sums = table[columns].to_numpy(np.float64).reshape(len(table), len(columns))
        measured = np.flatnonzero(np.isfinite(sums).all(axis=1)) if columns else np.zeros(0, np.int64)
        return cls(
            table=table,
            space=space,
            positions=_positions(table, space),
            classes=tuple(_classes(table, class_names)),
            channels=tuple(str(name).removeprefix(SUM) for name in columns),
            sums=sums,
            measured=measured,
        )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is compared: all detections, then those of each class, unless all are of one."""
        if len(self.classes) == 1:
            return self.classes
        return (Group(ALL, np.arange(len(self)), 0), *self.classes)

    @property
    def group_numbers(self) -> npt.NDArray[np.int64]:
        """For each row the number of its class, 0 where nothing was classified."""
        numbers = np.zeros(len(self), np.int64)
        for group in self.classes:
            numbers[group.rows] = group.number
        return numbers

    def measured_of(self, group: Group) -> Rows:
        """Rows of a group that were measured."""
        return np.intersect1d(group.rows, self.measured, assume_unique=True)

    def scores(self, rows: Rows) -> Floats:
        """Measurements of some rows, standardized: of all measured rows each channel has mean 0 and deviation 1.

        A channel that is the same everywhere is 0.
        """
        values = self.sums[self.measured]
        if not len(values):
            return np.zeros((len(rows), len(self.channels)))
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        constant = values.min(axis=0) == values.max(axis=0)  # its deviation may be a rounding error
        return np.where(constant, 0.0, (self.sums[rows] - mean) / np.where(constant, 1.0, deviation))

    def row(self, number: int) -> Mapping[str, Any]:
        """One row of the table by its names, as Python's values."""
        return {str(name): _plain(self.table[name].iloc[number]) for name in self.table.columns}


def draw_lots(rows: Rows, most: int) -> Rows:
    """Some of the rows, ascending: the same each time."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))


def _positions(table: pandas.DataFrame, space: Space) -> Floats:
    names = [f"position_{axis}" for axis in "zyx"]
    if all(name in table.columns for name in names):
        return table[names].to_numpy(np.float64).reshape(-1, 3)
    return table[list("zyx")].to_numpy(np.float64).reshape(-1, 3) * np.array(space.spacing)


def _classes(table: pandas.DataFrame, class_names: Sequence[str]) -> Iterator[Group]:
    if "class" not in table.columns:
        return
    labels = table["class"].astype(str).to_numpy()
    found = set(labels)
    names = [name for name in class_names if name in found]
    for number, name in enumerate([*names, *sorted(found - set(names), key=str.casefold)], start=1):
        yield Group(name, np.flatnonzero(labels == name), number)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
