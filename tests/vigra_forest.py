"""What vigra says of a forest in a project: run by the Python that has it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import h5py
import numpy as np

# Probabilities of rows by every forest of a project, weighted by their trees
VIGRA = """
import json, sys, numpy, vigra
project, rows, out = sys.argv[1:4]
x = numpy.load(rows)
total, trees = 0, 0
for name in json.loads(sys.argv[4]):
    forest = vigra.learning.RandomForest(project, name)
    total = total + forest.predictProbabilities(x) * forest.treeCount()
    trees += forest.treeCount()
numpy.save(out, total / numpy.float32(trees))
"""


def vigra_probabilities(python: str, folder: Path, project: Path, rows: np.ndarray, where: str) -> np.ndarray:
    """Probabilities of rows (rows, columns) by the forests at `where` in a project, (rows, classes)."""
    with h5py.File(project) as file:
        names = [f"{where}/{name}" for name in sorted(file[where]) if name.startswith("Forest")]
    np.save(folder / "rows.npy", rows)
    command = [python, "-W", "ignore", "-c", VIGRA]
    arguments = [str(project), str(folder / "rows.npy"), str(folder / "out.npy"), json.dumps(names)]
    subprocess.run(command + arguments, check=True, timeout=120)
    out: np.ndarray = np.load(folder / "out.npy")
    return out
