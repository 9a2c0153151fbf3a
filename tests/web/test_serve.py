"""`voxelforest serve` as a process: how it starts, answers broken clients, and stops."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError, ProjectError
from pipeline.project import open_project
from tests.commands import COMMAND, run_here
from tests.servers import Server, serving, stop
from tests.web.old_boxes import problem_of
from web.serve import open_catalogue


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A small plane."""
    np.save(tmp_path / "raw.npy", np.arange(42, dtype=np.uint8).reshape(6, 7))
    return tmp_path / "raw.npy"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two threads that waits a second for the head of a request, and three for all of it."""
    folder = tmp_path_factory.mktemp("hasty")
    np.save(folder / "raw.npy", np.arange(42, dtype=np.uint8).reshape(6, 7))
    limits = {"VOXELFOREST_HEAD_SECONDS": "1", "VOXELFOREST_EXCHANGE_SECONDS": "3"}
    with serving(folder / "raw.npy", "--threads", "2", folder=folder, environment=limits) as server:
        yield server


def test_it_says_where_and_stops_cleanly(raw: Path, tmp_path: Path) -> None:
    with serving(raw, folder=tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.ask("/readyz").status == 200
        assert "axes yx" in server.log.read_text(encoding="utf-8")
        assert server.process.stdout is not None
        assert stop(server.process) == 0
    with serving(raw, "--json", folder=tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert "axes yx" in server.logged()[0]["text"]
        assert stop(server.process, signal.SIGINT) == 0


def test_what_is_under_way_is_answered_before_it_stops(golden_dir: Path, tmp_path: Path) -> None:
    project, volume = golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy"
    statuses: list[int] = []
    with serving(project, volume, "--axes", "zyx", folder=tmp_path) as server:
        asking = threading.Thread(
            target=lambda: statuses.append(
                server.ask("/prediction/raw/roi?extents_min=0_0_0&extents_max=-1_-1_-1").status
            )
        )
        asking.start()
        time.sleep(0.05)
        assert stop(server.process) == 0
        asking.join()
    assert statuses == [200]


def test_a_config_file_names_volumes_and_projects(golden_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "served.toml").write_text(
        f"""
        [[volumes]]
        name = "film"
        path = "{golden_dir}/in_t_u8.npy"
        axes = "tyx"
        projects = ["films"]
        [[volumes]]
        name = "stack"
        path = "{golden_dir}/in_3d_u8.npy"
        axes = "zyx"
        projects = []
        max_size = {{z = 20}}
        [[projects]]
        name = "films"
        path = "{golden_dir}/projects/pc_t_2d.ilp"
        """
    )
    with serving("--config", tmp_path / "served.toml", folder=tmp_path) as server:
        volumes = server.ask("/api/v1/volumes").document["volumes"]
        assert [(row["name"], row["shape"]) for row in volumes] == [("film", [3, 40, 44]), ("stack", [20, 40, 38])]
        assert server.ask("/info/shape").text == "3_44_40_1_1"
        upload(server, "stacks", (golden_dir / "projects" / "pc_3d.ilp").read_bytes())
        assert server.ask("/api/v1/volumes/stack/layers/segmentation/roi?project=stacks&z=2").status == 200
    with serving("--config", tmp_path / "served.toml", folder=tmp_path) as server:
        assert server.ask("/api/v1/projects/stacks").status == 200


def upload(server: Server, name: str, file: bytes, status: int = 201) -> dict[str, object]:
    """Send a project; returns the document that came back."""
    edge = b"----edge"
    body = b"--" + edge + b'\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + name.encode() + b"\r\n--" + edge
    body += (
        b'\r\nContent-Disposition: form-data; name="file"; filename="p.ilp"\r\n\r\n'
        + file
        + b"\r\n--"
        + edge
        + b"--\r\n"
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={edge.decode()}"}
    reply = server.ask("/api/v1/projects", method="POST", headers=headers, body=body)
    assert reply.status == status, reply.text
    return reply.document


def test_uploads_are_checked(server_3d: Server, golden_dir: Path) -> None:
    good = (golden_dir / "projects" / "pc_3d_mixed.ilp").read_bytes()
    assert upload(server_3d, "mixed", good)["features"]
    assert upload(server_3d, "mixed", good)["name"] == "mixed"
    upload(server_3d, "mixed", (golden_dir / "projects" / "pc_2d.ilp").read_bytes(), 409)
    upload(server_3d, "pc_3d", good, 409)
    for name in ("../up", "a/b", "", "x" * 101, ".hidden", "a b"):
        upload(server_3d, name, good, 400)
    head = "POST /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    refused = server_3d.send(f"{head}Connection: close\r\nContent-Length: {65 << 20}\r\n\r\n".encode())
    assert refused.split()[1] == b"413"
    assert upload(server_3d, "none", b"not a project", 400)["code"] == "not_hdf5"


def test_damaged_uploads_are_refused_with_their_code(server_3d: Server, golden_dir: Path) -> None:
    for path in sorted((golden_dir / "malformed").glob("*.ilp")):
        code = code_of(path)
        if code is not None:
            document = upload(server_3d, f"bad-{path.stem}", path.read_bytes(), 400)
            assert document["code"] == code, path
            assert "partial" not in str(document["detail"])  # where it lay for a moment is nobody's business
    assert "bad-" not in server_3d.ask("/api/v1/projects").text


def code_of(path: Path) -> str | None:
    """Why a project cannot be used; None for one that can."""
    try:
        open_project(path)
    except ProjectError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{raw}", "--host", "0.0.0.0"), "VOXELFOREST_TOKEN"),
        (("{raw}", "--host", "256.1.1.1"), "256.1.1.1"),
        (("{raw}", "--scheduler", "threds"), "threads"),
        (("{raw}", "--cache", "lots"), "900MiB"),
        (("{raw}", "--cors", "viewer.example"), "https://viewer.example"),
        (("{raw}", "--allow-host", "a b"), "a b"),
        (("{raw}", "--port", "70000"), "65535"),
    ],
)
def test_options_that_are_none(
    raw: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    outcome = run_here(capsys, "serve", "--port", "0", *(argument.format(raw=raw) for argument in arguments))
    assert (outcome.code, outcome.out, len(outcome.err)) == (2, [], 1)
    assert words in outcome.err[0]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((None, None, None), {"axes": "zyx"}, "PROJECT RAW"),
        (("missing.npy", None, None), {}, "missing.npy"),
        (("missing.ilp", "{raw}", None), {}, "missing.ilp"),
        (("{raw}", None, None), {"axes": "zyx"}, "zyx"),
        (("{raw}", None, None), {"max_size": "q=5"}, "x=512"),
        (("{raw}", None, None), {"max_size": "z=5"}, "z"),
        ((None, None, "missing.toml"), {}, "missing.toml"),
        (("{raw}", None, "served.toml"), {}, "--config"),
    ],
)
def test_what_cannot_be_served(
    raw: Path, arguments: tuple[str | None, ...], options: dict[str, str], words: str
) -> None:
    project, volume, config = (argument and argument.format(raw=raw) for argument in arguments)
    with pytest.raises(PipelineError, match=words) as caught:
        open_catalogue(project, volume, config, **options)
    assert caught.value.exit_code == 2


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    arguments = [COMMAND, "serve", "missing.npy", "--port", "0"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("voxelforest: ")
    assert "missing.npy" in line


def test_a_port_that_is_taken(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = run_here(capsys, "serve", raw, "--port", taken.getsockname()[1])
    assert outcome.code == 2
    assert "--port" in outcome.err[-1]


def test_a_scheduler_that_does_not_answer(raw: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "serve", str(raw), "--port", "0", "--scheduler", "tcp://127.0.0.1:9"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "tcp://127.0.0.1:9" in done.stderr


def test_clients_that_send_nothing_or_half_take_no_thread(hasty: Server) -> None:
    with contextlib.ExitStack() as stack:
        for sent in (b"", b"GET /info/dim HTT", b"GET /info/dim HTTP/1.1\r\nHost: localhost\r\nX-A: ") * 4:
            connection = stack.enter_context(socket.create_connection(hasty.address))
            connection.sendall(sent)
        assert hasty.ask("/info/dim").text == "2"


def test_a_head_that_drips_is_cut_off(hasty: Server) -> None:
    with socket.create_connection(hasty.address, timeout=20) as connection:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /info/dim HTTP/1.1\r\nX-A: " + b"a" * 10_000:
                connection.sendall(bytes([byte]))
                time.sleep(0.2)
                if time.monotonic() - began > 15:
                    break
        assert time.monotonic() - began < 15
    assert hasty.ask("/info/dim").text == "2"


def test_a_body_that_does_not_come_is_cut_off(hasty: Server) -> None:
    head = b"POST /threshold/set HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    hasty.send(head, seconds=20)
    assert hasty.ask("/info/dim").text == "2"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /info/dim HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /info/dim HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400),
        (b"GET /info/dim HTTP/1.1\r\nHost: localhost\r\nBad Header: a\r\n\r\n", 400),
        (b"GET /info/dim HTTP/1.1\r\nHost: localhost\r\nX-A: a\r\n b\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /info/dim HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET /info/dim HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: a\r\n" * 99 + b"\r\n", 431),
        (b"POST /threshold/set HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST /threshold/set HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /threshold/set HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /threshold/set HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"BREW /info/dim HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
    ],
)
def test_requests_that_are_none(hasty: Server, request_: bytes, status: int) -> None:
    answer = hasty.send(request_, seconds=20)
    assert answer.split()[1] == str(status).encode(), answer[:300]
    assert b"application/problem+json" in answer
    assert b"Traceback" not in answer


def test_heads_and_unknown_methods(hasty: Server) -> None:
    problem_of(hasty.ask("/info/dim", method="DELETE"), 405)
    assert hasty.ask("/info/dim", method="HEAD").body == b""
