"""Who may ask: names, tokens, origins; over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.servers import Server, serving
from tests.web.old_boxes import problem_of

TOKEN = "a secret of forty-two characters, at least"
VIEWER = "https://viewer.example"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on all addresses, with a token, for one other origin and one other name."""
    folder = tmp_path_factory.mktemp("guarded")
    np.save(folder / "raw.npy", np.zeros((6, 7), np.uint8))
    arguments = ("--host", "0.0.0.0", "--cors", VIEWER, "--allow-host", "lab.example")
    with serving(folder / "raw.npy", *arguments, folder=folder, environment={"VOXELFOREST_TOKEN": TOKEN}) as server:
        yield server


def test_without_the_token_nothing_but_health_is_told(guarded: Server) -> None:
    for target in (
        "/",
        "/doc",
        "/info/shape",
        "/metrics",
        "/api/v1/volumes",
        "/data/raw/raw/zarr/zarr.json",
        "/nothing",
    ):
        refused = guarded.ask(target)
        problem_of(refused, 401)
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert guarded.ask("/healthz").status == 200
    assert guarded.ask("/readyz").status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"X-VoxelForest-Token": TOKEN}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"X-VoxelForest-Token": "ünïcode".encode().decode("latin-1")}, 401),
        ({"Cookie": f"voxelforest={TOKEN}"}, 401),
        ({"Cookie": "voxelforest="}, 401),
    ],
)
def test_scripts_send_the_token_in_a_header(guarded: Server, headers: dict[str, str], status: int) -> None:
    assert guarded.ask("/info/shape", headers=headers).status == status


def test_the_token_counts_nowhere_in_a_url(guarded: Server) -> None:
    for name in ("token", "access_token", "X-VoxelForest-Token"):
        problem_of(guarded.ask(f"/info/shape?{name}={TOKEN.replace(' ', '+')}"), 401)


def test_a_browser_logs_in_once(guarded: Server) -> None:
    first = guarded.ask("/doc", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (first.status, first.headers["Location"]) == (303, "/login?next=/doc")
    assert "password" in guarded.ask("/login?next=/doc").text
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    wrong = guarded.ask("/login", method="POST", headers=form, body=b"token=guess&next=/doc")
    assert (wrong.status, wrong.headers["Set-Cookie"]) == (403, None)
    body = f"token={TOKEN.replace(' ', '+')}&next=/doc".encode()
    right = guarded.ask("/login", method="POST", headers=form, body=body)
    assert (right.status, right.headers["Location"]) == (303, "/doc")
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert guarded.ask("/doc", headers={"Cookie": cookie.split(";")[0]}).status == 200


@pytest.mark.parametrize("goal", ["//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aSet-Cookie:a=b"])
def test_logging_in_leads_nowhere_else(guarded: Server, goal: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"token={TOKEN.replace(' ', '+')}&next={goal}".encode()
    reply = guarded.ask("/login", method="POST", headers=form, body=body)
    assert (reply.status, reply.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("LAB.example", 200),
        ("10.1.2.3", 200),  # an address cannot be a name that was pointed at us
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("lab.example@evil.example", 400),
        ("", 400),
        ("a b", 400),
    ],
)
def test_the_server_goes_by_its_own_names_alone(guarded: Server, name: str, status: int) -> None:
    reply = guarded.ask("/info/shape", headers={"Host": name, "X-VoxelForest-Token": TOKEN})
    assert reply.status == status


def test_on_loopback_another_address_is_no_name(server_3d: Server) -> None:
    assert server_3d.ask("/healthz", headers={"Host": "localhost"}).status == 200
    for name in ("10.1.2.3", "evil.example", "127.0.0.1.evil.example"):
        problem_of(server_3d.ask("/data/in_3d_u8/raw/zarr/zarr.json", headers={"Host": name}), 403)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{own}"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_changes_come_from_here_or_from_scripts(server_3d: Server, headers: dict[str, str], status: int) -> None:
    sent = {name: value.format(own=server_3d.url) if "{" in value else value for name, value in headers.items()}
    reply = server_3d.ask("/threshold/set", method="POST", headers=sent, body=b'{"value": 0.5}')
    assert reply.status == status


def test_pages_elsewhere_read_if_their_origin_was_named(guarded: Server) -> None:
    known = {"X-VoxelForest-Token": TOKEN}
    for target, status in (("/info/shape", 200), ("/nothing", 404)):
        reply = guarded.ask(target, headers={**known, "Origin": VIEWER})
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (status, VIEWER)
        assert "ETag" in reply.headers["Access-Control-Expose-Headers"]
        other = guarded.ask(target, headers={**known, "Origin": "https://evil.example"})
        assert other.headers["Access-Control-Allow-Origin"] is None
    assert guarded.ask("/info/shape", headers={"Origin": VIEWER}).headers["Access-Control-Allow-Origin"] == VIEWER
    asked = {"Origin": VIEWER, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    preflight = guarded.ask("/info/shape", method="OPTIONS", headers=asked)
    assert preflight.status == 200
    assert "Range" in preflight.headers["Access-Control-Allow-Headers"]


def test_nobody_elsewhere_reads_by_default(server_3d: Server) -> None:
    reply = server_3d.ask("/info/shape", headers={"Origin": VIEWER})
    assert reply.headers["Access-Control-Allow-Origin"] is None
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_token_is_in_no_log_and_no_answer(guarded: Server) -> None:
    guarded.ask(f"/info/shape?token={TOKEN.replace(' ', '+')}", headers={"Authorization": f"Bearer {TOKEN}"})
    log = Path(guarded.log).read_text(encoding="utf-8")
    assert TOKEN not in log
    assert TOKEN.replace(" ", "+") not in log
    assert any(
        line.get("path") == "/info/shape" and line["parameters"] == ["token"]
        for line in guarded.logged()
        if "parameters" in line
    )
