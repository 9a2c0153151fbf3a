"""How kernels are compiled, once for all of them.

Every kernel releases the GIL and runs on one thread: parallelism is the scheduler's (``parallel=True`` would
oversubscribe the workers' threads, and numba's fallback threading layer aborts the process when two threads enter it).
No fastmath: the last bit of a feature decides at the forest's thresholds.

Compiled code is kept on disk, in a folder named after the sources' digest: numba's own cache does not see an edited
helper in another module, and would go on running the old one.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import platformdirs


def cache_folder() -> Path:
    """Folder of the compiled kernels of exactly these sources, below NUMBA_CACHE_DIR or the user's cache."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else platformdirs.user_cache_path("voxelforest")
    return base / f"kernels-{digest.hexdigest()[:16]}"


def _use_cache() -> Path:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:  # a read-only home: compile once per process rather than fail
        folder = Path(tempfile.mkdtemp(prefix="voxelforest-kernels-"))
    numba.config.CACHE_DIR = str(folder)
    return folder


CACHE_FOLDER = _use_cache()


def jit(function: Callable[..., Any]) -> Any:
    """Compile a kernel when it is first called, once for all values of its arguments.

    Calls from other kernels would otherwise be compiled anew for each combination of literal numbers among them.
    """
    kernel = numba.njit(nogil=True, cache=True, error_model="numpy", boundscheck=False, fastmath=False)(function)
    resolve = kernel.get_call_template

    def resolve_general(args: Any, kws: Any) -> Any:
        general = [numba.types.unliteral(arg) for arg in args]
        return resolve(general, {name: numba.types.unliteral(kind) for name, kind in kws.items()})

    kernel.get_call_template = resolve_general
    return kernel


def freeze(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A contiguous array that may not be written.

    To numba a read-only array is a type of its own. Arrays that came out of a pickle are read-only or not, depending on
    how they travelled: frozen, they do not compile a kernel a second time.
    """
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array
