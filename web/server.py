"""The server process: gunicorn over the app, from a bound socket to a clean stop.

The first process only watches; each answering process makes its app, its engine and its Dask client after the fork,
since threads and connections do not survive one. It is ready when its kernels are compiled: no request waits for that.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from pipeline import console
from pipeline.errors import ClusterError, PipelineError
from pipeline.serving.engine import Engine
from web import create_app, logs
from web.job_runner import JobRunner, Watcher
from web.options import Options

STOP_SECONDS = 30  # for answers that are under way when the server is told to stop
KEEP_ALIVE_SECONDS = 15
CONNECTIONS = 2000  # of one process, idle ones included
LONGEST_LINE = 8190  # bytes of a request line, and of each header
MOST_HEADERS = 60
# With these codes of an answering process gunicorn gives up rather than try again.
BAD_INPUT = Arbiter.APP_LOAD_ERROR
CODES: dict[object, int] = {None: 0, 0: 0, BAD_INPUT: 2, Arbiter.WORKER_BOOT_ERROR: 1}
LOG = logging.getLogger("web")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Server:
    """A server that has not been started.

    Parameters
    ----------
    make_engine : callable
        Called once in each answering process, with a function that takes sentences for whoever started the server.
    options : Options
    listener : socket
        Bound, and listening for nobody yet.
    processes, threads : int
        Answering processes, and threads in each.
    scheduler : str
        Where jobs are computed, as in `pipeline.cluster.connect`.
    workers : int, optional
        Threads or processes that compute a job, where they are started here.
    as_json : bool
        Whether what it says is for programs.
    """

    make_engine: Callable[[Tell], Engine]
    options: Options
    listener: socket.socket
    processes: int
    threads: int
    scheduler: str = "threads"
    workers: int | None = None
    as_json: bool = False

    def run(self) -> int:
        """Serve until told to stop; returns the exit code, of an error that has been printed."""
        logs.configure()
        try:
            _Application(self).run()
        except SystemExit as error:
            return CODES.get(error.code, 1)
        return 0


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 takes a free one.

    Raises
    ------
    OSError
        If the address is not ours, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
    except OSError:
        listener.close()
        raise
    return listener


class _Application(BaseApplication):
    """What gunicorn asks for."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # One byte, which the first process takes: it speaks to the person, the others keep quiet.
        self._turn, turn_in = os.pipe()
        os.set_blocking(self._turn, False)
        os.write(turn_in, b"1")
        os.close(turn_in)
        self._speaks = False
        self._again = False  # whether this process stands in for one that died
        self._code: int | None = None
        self._engine: Engine | None = None
        host, port = server.listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._descriptor = server.listener.detach()  # gunicorn makes a socket of its own of it, and closes it
        super().__init__()

    def run(self) -> None:
        """Watch those who answer, and whoever runs jobs, until told to stop."""
        Watcher(self, JobRunner(self._server.scheduler, self._server.workers, self._url)).run()

    def load_config(self) -> None:
        """Settings of gunicorn; nothing is read from its own files or variables."""
        chosen: dict[str, Any] = {
            "bind": f"fd://{self._descriptor}",
            "workers": self._server.processes,
            "threads": self._server.threads,
            "worker_class": "web.worker.Worker",
            "worker_connections": CONNECTIONS,
            "keepalive": KEEP_ALIVE_SECONDS,
            "graceful_timeout": STOP_SECONDS,
            "timeout": 0,  # kernels may compile for minutes; a loop that hangs is not known to happen
            "limit_request_line": LONGEST_LINE,
            "limit_request_field_size": LONGEST_LINE,
            "limit_request_fields": MOST_HEADERS,
            "post_fork": self._begin,
            "post_worker_init": self._announce,
            "worker_exit": self._leave,
            "control_socket_disable": True,
            "errorlog": os.devnull,  # ours is attached to the same logger
            "loglevel": "warning",
            "proc_name": "voxelforest",
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The app of one answering process, ready to answer."""
        logs.configure()
        self._speaks = self._take_turn()
        try:
            self._engine = self._server.make_engine(self._tell)
            self._prepare(self._engine)
            app = create_app(self._engine, self._server.options)
        except PipelineError as error:
            if self._speaks or self._again:
                console.show_error(error.message, error.exit_code, self._server.as_json, error.code)
            self._code = BAD_INPUT if error.exit_code == 2 else Arbiter.WORKER_BOOT_ERROR
            sys.exit(self._code)
        gc.collect()
        gc.freeze()  # to look through 270,000 objects of libraries for garbage takes 0.1 s of somebody's first slice
        return app

    def _prepare(self, engine: Engine) -> None:
        """Make ready; gunicorn stops all processes when one cannot begin, which is right at the start alone."""
        try:
            engine.prepare()
        except ClusterError:
            if not self._again:
                raise
            LOG.warning("there is no scheduler; requests are told to come again until there is", exc_info=True)

    def _begin(self, arbiter: Any, worker: Any) -> None:
        self._again = worker.age > arbiter.num_workers

    def _tell(self, text: str) -> None:
        if self._speaks:
            console.show_note(text, self._server.as_json)

    def _take_turn(self) -> bool:
        try:
            return bool(os.read(self._turn, 1))
        except BlockingIOError:
            return False

    def _announce(self, _worker: Any) -> None:
        if self._speaks:
            document = json.dumps({"listening": self._url})
            print(document if self._server.as_json else f"listening on {self._url}", flush=True)

    def _leave(self, _arbiter: Any, worker: Any) -> None:
        """Called in a process that ends: no thread is waited for, none is torn down in native code."""
        try:
            if self._engine is not None:
                self._engine.close()
        except Exception:
            LOG.exception("the engine did not close")
        sys.stdout.flush()
        sys.stderr.flush()
        failed = not worker.booted and worker.alive
        os._exit(self._code if self._code is not None else Arbiter.WORKER_BOOT_ERROR if failed else 0)
