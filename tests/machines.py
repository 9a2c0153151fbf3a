"""EC2 on this machine: moto answers the calls, and each machine it makes is a process that obeys its user data.

Nothing of ours is replaced. A thread watches moto's machines: one that runs is booted, which is to say that the
commands of its cloud-init are run with a ``docker`` that runs what the container would, at the machine's own loopback
address, and a ``shutdown`` that takes a minute for as long as a test says; one that is terminated is killed at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

import dask.config
import pytest
import yaml

from pipeline.config import settings

REGION = "eu-west-1"
# Linux answers at every address of 127/8; another run of the tests beside this one has another part of it.
NEIGHBOURS = f"127.{1 + os.getpid() % 250}"
NETWORK = f"{NEIGHBOURS}.77.0/24"
ACCOUNT = "123456789012"
ALIVE = ("pending", "running", "stopping", "stopped")

DOCKER = """import json, os, sys
words, address = sys.argv[2:], os.environ["MACHINE_ADDRESS"]
while words[0].startswith("-"):
    if words.pop(0) == "-e":
        name, _, value = words.pop(0).partition("=")
        os.environ[name] = value
image, *command = words
command = [sys.executable if word == "python" else word for word in command]
if "--spec" in command:
    at = command.index("--spec") + 1
    spec = json.loads(command[at])
    spec["opts"]["host"] = address
    command[at] = json.dumps(spec)
else:
    command += ["--host", address]
os.environ["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] = "5s"
os.execvp(command[0], command)
"""
SHUTDOWN = """import os, sys, time
text = sys.argv[-1]
minutes = 0 if text == "now" else int(text.removeprefix("+"))
at = time.time() + minutes * float(os.environ["MACHINE_MINUTE"])
with open(os.environ["MACHINE_OFF"], "a") as file:
    file.write(f"{at}\\n")
"""


class Faults:
    """WSGI middleware: calls of EC2 that fail as Amazon's do; objects of S3 with ``denied`` in their keys are denied.

    Parameters
    ----------
    app : callable
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.throttle = 0  # every so many calls
        self.refused: dict[str, tuple[str, Callable[[dict[str, list[str]]], bool]]] = {}  # action -> code, which
        self.seen: Counter[str] = Counter()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        if "denied" in environ["PATH_INFO"]:
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>told by the test</Message></Error>"]
        kind = environ.get("CONTENT_TYPE", "")
        if environ["REQUEST_METHOD"] != "POST" or "form" not in kind:
            return self._app(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        asked = parse_qs(body.decode())
        action = asked.get("Action", [""])[0]
        self.seen["all"] += 1
        self.seen[action] += 1
        if self.throttle and self.seen["all"] % self.throttle == 0:
            self.seen["throttled"] += 1
            return self._fail(start_response, "503 Busy", "RequestLimitExceeded")
        code, applies = self.refused.get(action, ("", lambda asked: False))
        if applies(asked):
            self.seen["refused"] += 1
            return self._fail(start_response, "400 Bad", code)
        return self._app(environ, start_response)

    def _fail(self, start_response: StartResponse, status: str, code: str) -> list[bytes]:
        error = f"<Errors><Error><Code>{code}</Code><Message>told by the test</Message></Error></Errors>"
        body = f"<Response>{error}<RequestID>1</RequestID></Response>".encode()
        start_response(status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
        return [body]


@dataclass
class Machines:
    """What moto's EC2 has, and the processes that stand for it.

    Parameters
    ----------
    url : str
    faults : Faults
    folder : Path
        For what machines write.
    """

    url: str
    faults: Faults
    folder: Path
    minute: float = 60.0
    boots: bool = True
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    user_data: dict[str, str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def backend(self) -> Any:
        """moto's model of the region."""
        from moto.ec2 import ec2_backends

        return ec2_backends[ACCOUNT][REGION]

    def listed(self, *states: str) -> list[Any]:
        """moto's machines, all or of some states."""
        everything = [found for reservation in self.backend.all_reservations() for found in reservation.instances]
        return [machine for machine in everything if not states or machine.state in states]

    def alive(self) -> list[Any]:
        """Machines that would cost money."""
        return self.listed(*ALIVE)

    def groups(self) -> list[str]:
        """Names of security groups that clusters have made."""
        return [group.name for group in self.backend.describe_security_groups() if "voxelforest" in group.name]

    def role(self, machine: Any) -> str:
        """Scheduler or worker."""
        return {tag["key"]: tag["value"] for tag in machine.get_tags()}.get("voxelforest-role", "")

    def of_role(self, role: str) -> list[Any]:
        """Machines of a role that run."""
        return [machine for machine in self.alive() if self.role(machine) == role]

    def end(self, machine: Any) -> None:
        """Terminate a machine, as Amazon does with spot machines, or a colleague."""
        self.backend.terminate_instances([machine.id])

    def watch(self) -> None:
        """Boot what runs, kill what does not, until told to stop."""
        while not self._stop.wait(0.1):
            for machine in self.listed():
                process = self.started.get(machine.id)
                if machine.state == "running" and process is None and self.boots:
                    self.started[machine.id] = self._boot(machine)
                elif machine.state not in ("pending", "running") and process is not None:
                    self._kill(process)
                elif process is not None and self._is_off(machine):
                    assert machine.instance_initiated_shutdown_behavior == "terminate"
                    self.end(machine)

    def stop(self) -> None:
        """Kill all that is left."""
        self._stop.set()
        for process in self.started.values():
            self._kill(process)

    def _boot(self, machine: Any) -> subprocess.Popen[bytes]:
        text = str(machine.user_data.decode())
        self.user_data[machine.id] = text
        commands = yaml.safe_load(text)["runcmd"]
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]]),
            "MACHINE_ADDRESS": machine.private_ip,
            "MACHINE_MINUTE": str(self.minute),
            "MACHINE_OFF": str(self.folder / f"{machine.id}.off"),
        }
        with (self.folder / f"{machine.id}.log").open("wb") as log:
            return subprocess.Popen(
                ["sh", "-c", "\n".join(commands)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def _is_off(self, machine: Any) -> bool:
        path = self.folder / f"{machine.id}.off"
        return path.exists() and min(map(float, path.read_text().split()), default=time.time() + 1) <= time.time()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    """EC2 with a network and an image, the environment that leads to it, and the settings of a cluster on it."""
    import boto3
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *args: Any) -> None:
            pass

    _write_commands(folder / "bin")
    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found = Machines(f"http://127.0.0.1:{server.server_port}", faults, folder)
    watching = threading.Thread(target=found.watch, daemon=True)
    lost = {"distributed.deploy.lost-worker-timeout": "1s"}  # read from the environment by other processes alone
    with pytest.MonkeyPatch.context() as patch, dask.config.set(lost):
        for name, value in _environment(found.url, folder).items():
            patch.setenv(name, value)
        settings.cache_clear()
        ec2 = boto3.client("ec2")
        network = ec2.create_vpc(CidrBlock=f"{NEIGHBOURS}.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=network, CidrBlock=NETWORK)["Subnet"]["SubnetId"]
        images = ec2.describe_images(Owners=["amazon"])["Images"]
        image = next(row["ImageId"] for row in images if row["RootDeviceName"] == "/dev/sda1")
        patch.setenv("VOXELFOREST_EC2_SUBNET", subnet)
        patch.setenv("VOXELFOREST_EC2_IMAGE", image)
        watching.start()
        try:
            yield found
        finally:
            found.stop()
            watching.join()
            for machine in found.alive():
                found.end(machine)
            server.shutdown()
            thread.join()
            server.server_close()
    settings.cache_clear()


def _environment(url: str, folder: Path) -> dict[str, str]:
    amazon = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    ours = {
        "EC2_CONTAINER": "example/voxelforest:1.0",
        "EC2_WORKER_TYPE": "c6i.large",
        "EC2_PRIVATE": "1",
        "EC2_START_SECONDS": "120",
        "EC2_IDLE_SECONDS": "120",
        "EC2_ORPHAN_SECONDS": "60",
        "SCALING_SECONDS": "0.5",
        "CONNECT_SECONDS": "20",
        "DATA_DIR": str(folder / "data"),
    }
    dask = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s"}
    return {**amazon, **{f"VOXELFOREST_{name}": value for name, value in ours.items()}, **dask}


def _write_commands(folder: Path) -> None:
    folder.mkdir()
    for name, text in (("docker", DOCKER), ("shutdown", SHUTDOWN)):
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.1)
