"""Which module reads which file: a table, looked up by suffix or scheme; a format is imported when it is needed."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from pipeline.errors import MissingExtraError, PipelineError, VolumeError
from pipeline.formats.source import NO_ZARR, Source, one_line
from pipeline.suggestion import did_you_mean

VENDOR_SUFFIXES = (
    *(".czi", ".lif", ".nd2", ".ims", ".oib", ".oif", ".lsm", ".vsi", ".svs", ".scn"),
    *(".mrxs", ".dv", ".stk", ".zvi", ".ndpi", ".vms", ".qptiff", ".ics", ".ids"),
)
WEB_SCHEMES = ("http", "https")
REMOTE_SCHEMES = ("s3", "gs", "gcs", "az", "abfs", *WEB_SCHEMES, "memory")
FORMATS_EXTRA = "'voxelforest[formats]'"  # tensorstore, which is large and needed for these alone
ZARR_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup")
BOSS_EXTRA = "'voxelforest[boss]'"
PRECOMPUTED_DOCUMENT = "info"


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Parameters
    ----------
    name : str
        For people.
    suffixes : tuple of str
        Lower case, with the dot.
    module : str
        Holds ``open_source(path, **options)``.
    extra : str
        What to install if the module cannot be imported.
    folder : bool
        Whether it is a folder, else a file.
    options : tuple of str
        Which of ``dataset`` and ``level`` its opener takes.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    extra: str
    folder: bool = False
    options: tuple[str, ...] = ()


FORMATS = (
    Format("Zarr", (".zarr",), "pipeline.formats.zarr", "zarr", folder=True, options=("dataset", "level")),
    Format("HDF5", (".h5", ".hdf5", ".hdf"), "pipeline.formats.hdf5", "h5py", options=("dataset",)),
    Format("NPY", (".npy",), "pipeline.formats.npy", "numpy"),
    Format("TIFF", (".tif", ".tiff"), "pipeline.formats.tiff", "tifffile", options=("dataset", "level")),
    Format("N5", (".n5",), "pipeline.formats.n5", FORMATS_EXTRA, folder=True, options=("dataset", "level")),
    Format("precomputed", (), "pipeline.formats.precomputed", FORMATS_EXTRA, folder=True, options=("level",)),
    Format("slices", (), "pipeline.formats.slices", "tifffile", folder=True),
    Format("image", (".png", ".jpg", ".jpeg"), "pipeline.formats.image", "pillow"),
    Format("boss", (), "pipeline.formats.boss", BOSS_EXTRA),
)


def open_source(path: str | os.PathLike[str], dataset: str | None = None, level: int = 0) -> Source:
    """Describe the array in a file; reads metadata alone.

    Parameters
    ----------
    path : path or URL
        A file or folder of a known format; may go on inside it (``x.zarr/0``, ``x.h5/exported_data``). A folder of
        images, or a pattern (``slices/z*.tif``), is a stack of slices.
    dataset : str, optional
        Name inside the file, below what `path` names.
    level : int
        Which image of a multiscale pyramid, 0 the finest.

    Raises
    ------
    VolumeError
        If there is no such file, the format is not known, or the file cannot be used.
    MissingExtraError
        If the library that reads the format is not installed.
    """
    text = os.fspath(path)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    scheme, found, _ = text.partition("://")
    if found:
        return _open_remote(text, scheme, dataset, level)
    file, inner, row = _locate(os.path.abspath(text))
    wanted = {"dataset": "/".join(part for part in (inner, dataset) if part), "level": level}
    for option, value in wanted.items():
        if value and option not in row.options:
            raise VolumeError(f"{file}: {row.name} files have no {option}, {value!r} was given")
    return _open(row, file, **{option: wanted[option] for option in row.options})


def _open_remote(url: str, scheme: str, dataset: str | None, level: int) -> Source:
    if scheme == "precomputed":
        if dataset:
            raise VolumeError(f"{url}: precomputed volumes have no dataset, {dataset!r} was given")
        return _open(_named("precomputed"), url, level=level)
    if scheme == "boss":
        if dataset or level:
            raise VolumeError(f"{url}: volumes of the archive have no dataset and no level; ?channel=NAME chooses")
        return _open(_named("boss"), url)
    if scheme not in REMOTE_SCHEMES:
        known = sorted((*REMOTE_SCHEMES, "precomputed", "boss"))
        said = f"{scheme}:// is not read; known schemes are {', '.join(known)}, and plain paths"
        raise VolumeError(f"{url}: {said}{did_you_mean(scheme, known)}")
    container, mark, inner = url.partition(".n5")
    if mark and (not inner or inner.startswith("/")):
        name = "/".join(part for part in (inner.strip("/"), dataset) if part)
        return _open(_named("N5"), container + mark, dataset=name, level=level)
    try:
        return _open(FORMATS[0], url, dataset=dataset or "", level=level)
    except VolumeError as error:
        if error.code != NO_ZARR or dataset or scheme not in WEB_SCHEMES or not _names_precomputed(url):
            raise
    return _open(_named("precomputed"), url, level=level)


def _names_precomputed(url: str) -> bool:
    """Whether a web server has the document of a precomputed volume there."""
    from pipeline.formats.zarr_folder import Folder

    return Folder.at(url.rstrip("/")).read(PRECOMPUTED_DOCUMENT) is not None


def _open(row: Format, path: str, **options: Any) -> Source:
    try:
        module = importlib.import_module(row.module)
    except ImportError as error:
        raise MissingExtraError(f"{path}: reading {row.name} needs {row.extra}: pip install {row.extra}") from error
    try:
        source: Source = module.open_source(path, **options)
    except (PipelineError, MemoryError):
        raise
    except OSError as error:
        raise VolumeError(f"{path}: cannot be opened: {error.strerror or one_line(error)}") from error
    except Exception as error:  # parsers of damaged files raise whatever a wrong byte runs into
        raise VolumeError(f"{path}: not a readable {row.name} file: {one_line(error)}") from error
    return source


def _locate(path: str) -> tuple[str, str, Format]:
    """The file or folder that `path` names or passes through, the rest of the path, and the format."""
    parents = [str(parent) for parent in reversed([PurePath(path), *PurePath(path).parents])]
    for part in parents:
        row = _row(part)
        if row and (os.path.isdir(part) if row.folder else os.path.isfile(part)):
            return part, path.removeprefix(part).strip(os.sep), row
    if any(os.path.isfile(os.path.join(path, name)) for name in ZARR_DOCUMENTS):
        return path, "", FORMATS[0]
    if os.path.isfile(os.path.join(path, PRECOMPUTED_DOCUMENT)):
        return path, "", _named("precomputed")
    if _holds_slices(path):
        return path, "", _named("slices")
    raise VolumeError(_why_not(path))


def _named(name: str) -> Format:
    return next(row for row in FORMATS if row.name == name)


def _holds_slices(path: str) -> bool:
    """Whether `path` is a folder with images in it, or a pattern for files."""
    if any(sign in os.path.basename(path) for sign in "*?[") and not os.path.lexists(path):
        return True
    suffixes = (*_named("TIFF").suffixes, *_named("image").suffixes)
    return os.path.isdir(path) and any(name.lower().endswith(suffixes) for name in os.listdir(path))


def _row(path: str) -> Format | None:
    suffix = PurePath(path).suffix.lower()
    return next((row for row in FORMATS if suffix in row.suffixes), None)


def _why_not(path: str) -> str:
    suffix = PurePath(path).suffix.lower()
    if not os.path.exists(path):
        return f"{path}: no such file or folder"
    if suffix in VENDOR_SUFFIXES:
        return f"{path}: a microscope vendor's format; convert with bioformats2raw and open the .zarr it makes"
    kind = "folder" if os.path.isdir(path) else "file"
    row = _row(path)
    if row:
        return f"{path}: is a {kind}; {row.name} is kept in a {'folder' if row.folder else 'file'}"
    known = ", ".join(suffix for row in FORMATS for suffix in row.suffixes)
    return f"{path}: this {kind} is of no known format; known are {known}"
