"""Finished runs of `voxelforest segment` that nobody has to name: beside the volume, or in folders for results.

A folder is looked at itself, not what is below it, and no link in it is followed. A run counts if its record says that
it is finished and was made of this very volume, all of it; of several with one project, the last one does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.config import settings
from pipeline.errors import PipelineError
from pipeline.serving.label_layers import FoundLabels, find_labels
from pipeline.volume import Volume

SUFFIX = ".zarr"


def find_runs(folders: Sequence[str], volume: Volume) -> tuple[FoundLabels, ...]:
    """Objects of a volume that runs have left in folders, the last run first.

    Parameters
    ----------
    folders : sequence of str
        Those that are not there are passed over; of each, up to `found_runs` outputs are looked at.
    volume : Volume
    """
    found = []
    for folder in dict.fromkeys(os.path.realpath(folder) for folder in folders):
        for path, time_ns in islice(_outputs(folder), settings().found_runs):
            with contextlib.suppress(PipelineError):  # something else, of another volume, or not finished
                labels = find_labels(path, volume)
                if labels.volumes[0].whole == volume.whole:
                    found.append((time_ns, labels))
    return tuple(labels for _, labels in sorted(found, key=lambda pair: pair[0], reverse=True))


def _outputs(folder: str) -> Iterator[tuple[str, int]]:
    """Path of what may be an output, and when it was changed last."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and entry.is_dir(follow_symlinks=False):
                    yield entry.path, entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:  # not there, or gone meanwhile
        return
