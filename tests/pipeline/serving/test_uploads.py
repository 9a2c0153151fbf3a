"""Uploaded projects: kept over a restart, refused with a reason, and nothing left behind then."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pipeline.errors import CatalogueError, ConflictError, PipelineError, ProjectError, TooLargeError
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.uploads import Uploads, receive
from tests.pipeline.serving.conftest import Limit


def _send(catalogue: Catalogue, name: str, content: bytes) -> None:
    receive(catalogue, name, io.BytesIO(content))


def test_uploads_are_there_after_a_restart_and_in_other_processes(tmp_path: Path, golden_dir: Path) -> None:
    content = (golden_dir / "projects" / "pc_3d.ilp").read_bytes()
    other = Catalogue([], {}, Uploads(tmp_path))
    _send(Catalogue([], {}, Uploads(tmp_path)), "mine", content)
    again = Catalogue([], {}, Uploads(tmp_path))
    assert list(again.projects) == ["mine"]
    assert other.project("mine") == again.project("mine")
    _send(again, "mine", content)  # the same once more does no harm
    with pytest.raises(ConflictError, match="another project is called 'mine'"):
        _send(again, "mine", (golden_dir / "projects" / "pc_2d.ilp").read_bytes())


def test_what_cannot_be_used_is_refused_and_leaves_nothing(tmp_path: Path, golden_dir: Path, limit: Limit) -> None:
    limit("upload_bytes", "1MiB")
    limit("uploads", 0)
    content = (golden_dir / "projects" / "pc_3d.ilp").read_bytes()
    refusals: list[tuple[str, bytes, type[PipelineError], str]] = [
        ("../x", content, CatalogueError, "letters, digits"),
        ("x", b"no project", ProjectError, "^x"),
        ("x", bytes(2 << 20), TooLargeError, "larger than the 1048576 bytes"),
        ("x", content, ConflictError, "0 uploaded projects are kept"),
    ]
    for name, sent, error, words in refusals:
        with pytest.raises(error, match=words) as caught:
            _send(Catalogue([], {}, Uploads(tmp_path)), name, sent)
        assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConflictError, match="takes no uploads"):
        _send(Catalogue([], {}), "x", content)
