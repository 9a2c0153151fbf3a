"""Many volumes, one after the other: which they are, what their outputs are called, and how each of them went.

One that fails does not stop the others.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pipeline.boss.address import SCHEME, parse_address
from pipeline.description import Section
from pipeline.errors import CancelledError, PipelineError, PlanError, VolumeError
from pipeline.formats import FORMATS
from pipeline.output import SUFFIXES
from pipeline.progress import Progress
from pipeline.summary import Summary, to_dict

DEFAULT_NAME = "{nickname}_{output}.zarr"
FIELDS = ("nickname", "output")
PATTERN_SIGNS = "*?["


@dataclass(frozen=True)
class Item:
    """One volume and the output that is made of it."""

    raw: str
    out: str


@dataclass(frozen=True)
class Outcome:
    """How one volume went: a summary, or why there is none."""

    item: Item
    summary: Summary | None = None
    error: str = ""


def is_batch(raws: Sequence[str], out: str) -> bool:
    """Whether there are several volumes, or the output is a folder for outputs or a pattern of their names."""
    return len(raws) > 1 or "{" in out or _is_folder(out)


def arrange(raws: Sequence[str], out: str, outputs: Sequence[str]) -> tuple[Item, ...]:
    """The volumes of a batch, and a name for the output of each.

    Parameters
    ----------
    raws : sequence of str
        Paths and patterns; the files of a pattern come in natural order (z2 before z10).
    out : str
        A folder, for outputs named ``{nickname}_{output}.zarr``, or a name that holds ``{nickname}``, which is what
        the volume's file is called, without its suffix. ``{output}`` stands for the names of the results.
    outputs : sequence of str
        The results.

    Raises
    ------
    VolumeError
        If a pattern matches nothing.
    PlanError
        With the code ``names``, if `out` is one file, of no known kind or of one that has no room for all outputs,
        or if two volumes would have one output.
    """
    template = os.path.join(out, DEFAULT_NAME) if "{" not in out and not _is_output(out) else out
    _check_template(template, out, len(raws))
    _check_kind(template, outputs)
    taken: dict[str, str] = {}
    items = []
    found = [path for given in raws for path in _expand(given)]
    inputs = {os.path.realpath(raw) for raw in found}
    for raw in found:
        named = template.replace("{nickname}", nickname(raw)).replace("{output}", "-".join(outputs))
        if os.path.realpath(named) in inputs:
            raise PlanError(f"{named}, the output for {raw}, is an input", code="names")
        if named in taken:
            raise PlanError(f"{taken[named]} and {raw} would both become {named}", code="names")
        taken[named] = raw
        items.append(Item(raw, named))
    return tuple(items)


def nickname(raw: str) -> str:
    """What a volume is called: its file without suffix, and the dataset inside; of the archive's, all of its names.

    Examples
    --------
    >>> nickname("data/cells.ome.tif"), nickname("data/raw.h5/exported_data"), nickname("slices/z*.png")
    ('cells', 'raw-exported_data', 'slices')
    >>> nickname("boss://collman/M247514?z=0:64&channel=PSD95")
    'collman-M247514-PSD95'
    """
    if raw.startswith(SCHEME):
        address = parse_address(raw)
        return "-".join([address.collection, address.experiment, *address.channels])
    parts = [part for part in PurePath(raw).parts if part.strip("/")]
    known = tuple(suffix for row in FORMATS for suffix in row.suffixes)
    for number, part in enumerate(parts):
        if any(sign in part for sign in PATTERN_SIGNS):
            return parts[number - 1] if number else "stack"
        if part.lower().endswith(known):
            stem = re.sub(r"\.ome$", "", PurePath(part).stem, flags=re.IGNORECASE)
            return "-".join([stem, *parts[number + 1 :]])
    return parts[-1] if parts else "volume"


def run_all(items: Sequence[Item], run: Callable[[Item], Summary], progress: Progress) -> tuple[Outcome, ...]:
    """Run one after the other; failures are told, and kept.

    Raises
    ------
    CancelledError
        On Ctrl-C: those that are left are not begun.
    """
    made = _make_folders(item.out for item in items if "://" not in item.out)
    try:
        return _run_each(items, run, progress)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # something is in it
                folder.rmdir()


def _make_folders(outs: Iterable[str]) -> list[Path]:
    """Make the folders that outputs go to; those that were not there, inner ones first."""
    made = []
    for folder in {Path(out).absolute().parent for out in outs}:
        made += [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    return sorted(made, key=lambda path: len(path.parts), reverse=True)


def _run_each(items: Sequence[Item], run: Callable[[Item], Summary], progress: Progress) -> tuple[Outcome, ...]:
    outcomes = []
    for number, item in enumerate(items, 1):
        progress.note(f"{number} of {len(items)}: {item.raw}")
        try:
            outcomes.append(Outcome(item, run(item)))
        except CancelledError:
            raise
        except (PipelineError, OSError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            progress.note(f"failed: {reason}")
            outcomes.append(Outcome(item, error=reason))
    return tuple(outcomes)


def describe(outcomes: Sequence[Outcome]) -> tuple[Section, ...]:
    """A table with a line for each volume."""
    rows = []
    for outcome in outcomes:
        done = outcome.summary
        if done is None:
            rows.append((outcome.item.raw, outcome.item.out, "", "", f"failed: {outcome.error}"))
        else:
            said = "was finished before" if done.reused else "done"
            rows.append((outcome.item.raw, done.path, f"{done.voxels:,}", f"{done.seconds:.1f}", said))
    failed = sum(outcome.summary is None for outcome in outcomes)
    title = f"{len(outcomes)} volumes, {failed or 'none'} failed"
    return (Section(title, ("volume", "output", "voxels", "seconds", ""), tuple(rows)),)


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "failed": sum(outcome.summary is None for outcome in outcomes),
        "results": [
            {
                "input": outcome.item.raw,
                "error": outcome.error or None,
                **(to_dict(outcome.summary) if outcome.summary else {"output": outcome.item.out}),
            }
            for outcome in outcomes
        ],
    }


def _is_output(out: str) -> bool:
    return PurePath(out).suffix in SUFFIXES


def _is_folder(out: str) -> bool:
    """Whether OUT is a folder that is there, or says to be one by its last letter, as one in a bucket must."""
    return not _is_output(out) and (out.endswith("/") or os.path.isdir(out))


def _check_template(template: str, out: str, number: int) -> None:
    fields = re.findall(r"\{(.*?)\}", template)
    unknown = [field for field in fields if field not in FIELDS]
    if unknown:
        raise PlanError(f"OUT {out} names {{{unknown[0]}}}; known are {{nickname}} and {{output}}", code="names")
    if "nickname" not in fields and number > 1:
        raise PlanError(
            f"{number} volumes, but OUT {out} is one output; give a folder, or a name with {{nickname}}", code="names"
        )


def _check_kind(template: str, outputs: Sequence[str]) -> None:
    suffix = PurePath(template).suffix
    if suffix not in SUFFIXES:
        raise PlanError(f"OUT {template} is of no known kind; outputs end in {', '.join(SUFFIXES)}", code="names")
    if suffix != ".zarr" and len(outputs) > 1:
        asked = f"{len(outputs)} were asked for ({', '.join(outputs)})"
        raise PlanError(f"{suffix} holds one image, {asked}; use .zarr", code="names")


def _expand(given: str) -> list[str]:
    """The files of a pattern, or the path itself."""
    if "://" in given or os.path.lexists(given) or not any(sign in given for sign in PATTERN_SIGNS):
        return [given]
    from pipeline.formats.slices import natural_key

    # What interrupted runs left beside their outputs is no input, though a pattern such as *.zarr matches it.
    found = sorted((path for path in glob.glob(given) if ".partial." not in path), key=natural_key)
    if not found:
        raise VolumeError(f"{given}: no file matches")
    return found
