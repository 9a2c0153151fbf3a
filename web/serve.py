"""The command ``voxelforest serve``; it joins the others through the entry-point group ``voxelforest.commands``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.options import AsJson, Axes, Dataset, Level

if TYPE_CHECKING:
    import socket

    from pipeline.serving.catalogue import Catalogue
    from pipeline.serving.engine import Engine
    from web.options import Options

ProjectPath = Annotated[str | None, typer.Argument(metavar="PROJECT", help="ilastik project (.ilp).")]
RawPath = Annotated[str | None, typer.Argument(metavar="RAW", help="Volume; alone, raw data is served.")]
Config = Annotated[str | None, typer.Option(help="File in TOML that names volumes and projects, in place of both.")]
Host = Annotated[str, typer.Option(help="Address to listen on; any but loopback needs VOXELFOREST_TOKEN.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
Scheduler = Annotated[str, typer.Option(help="threads, local (processes), tcp://host:port or tls://host:port.")]
Cache = Annotated[str | None, typer.Option(help="Computed blocks that are kept, as 900MiB.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Threads or processes that compute; with tcp://, processes that answer."),
]
Threads = Annotated[int, typer.Option(min=1, max=1024, help="Requests that one process answers at a time.")]
Cors = Annotated[list[str] | None, typer.Option(help="Origin whose pages may read, as https://viewer.example; or *.")]
AllowHost = Annotated[list[str] | None, typer.Option(help="Further name that requests may call the server by.")]
MaxSize = Annotated[str | None, typer.Option(help="Serve the first part alone, at most as long as x=512,y=512.")]
NoAuth = Annotated[bool, typer.Option("--no-auth", help="Let everybody in who can reach the address.")]


def join(app: typer.Typer) -> None:
    """Add the command to the others."""
    app.command()(serve)


def serve(
    project: ProjectPath = None,
    raw: RawPath = None,
    config: Config = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    scheduler: Scheduler = "threads",
    cache: Cache = None,
    workers: Workers = None,
    threads: Threads = 64,
    cors: Cors = None,
    allow_host: AllowHost = None,
    no_auth: NoAuth = False,
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    max_size: MaxSize = None,
    as_json: AsJson = False,
) -> None:
    """Serve volumes and what projects make of them: a page, viewers' formats, an API."""
    from pipeline.cluster import EC2, LOCAL_NAMES, check_scheduler
    from pipeline.errors import PlanError
    from web.server import Server

    if scheduler == EC2:
        raise PlanError(
            "serve rents no machines: start `voxelforest cluster up`, then serve with the --scheduler tls://… it names",
            code="scheduler",
        )
    embedded = check_scheduler(scheduler) in LOCAL_NAMES
    processes, own = (1, workers) if embedded else (workers or 1, None)
    cache_bytes = _parse_bytes(cache)
    options = make_options(host, cors or [], allow_host or [], no_auth)

    def make_engine(tell: Callable[[str], None]) -> Engine:
        from pipeline.serving.engine import Engine

        catalogue = open_catalogue(project, raw, config, dataset=dataset, axes=axes, level=level, max_size=max_size)
        if not catalogue.volumes:
            tell("no volumes are named, so there are jobs alone, at /jobs")
        for served in catalogue.volumes.values():
            tell(f"{served.name}: {served.volume.url}: {served.volume.axes_reason}")
        tell("making ready; the first start on a machine compiles kernels, which takes about a minute")
        return Engine(catalogue, scheduler=scheduler, workers=own, cache_bytes=cache_bytes)

    server = Server(make_engine, options, _bind(host, port), processes, threads, scheduler, own, as_json)
    raise typer.Exit(server.run())


def make_options(host: str, cors: list[str], allow_host: list[str], no_auth: bool) -> Options:
    """How the server presents itself.

    Raises
    ------
    PlanError
        If it would be open to a network without a token, or an origin or a name is none.
    """
    from urllib.parse import urlsplit

    from pipeline.config import settings
    from pipeline.errors import PlanError
    from web.options import Options, is_loopback
    from web.security import host_name, origin_host

    secret = settings().token
    token = None if secret is None or no_auth else secret.get_secret_value().strip() or None
    if token is None and not no_auth and not is_loopback(host):
        raise PlanError(
            f"{host} can be reached from elsewhere: set VOXELFOREST_TOKEN to what requests have to show, "
            "or let everybody in with --no-auth",
            code="token",
        )
    for origin in cors:
        if origin != "*" and origin_host(origin) is None:
            raise PlanError(f"--cors {origin!r} is no origin; write it as https://viewer.example, or *", code="cors")
    for name in allow_host:
        if host_name(name) is None:
            raise PlanError(f"--allow-host {name!r} is no name of a host, such as lab.example", code="host")
    public = host_name(urlsplit(settings().public_url or "").netloc)  # where links in mails lead
    known = (*allow_host, public) if public else tuple(allow_host)
    return Options(host, known, tuple(origin.rstrip("/") for origin in cors), token)


def open_catalogue(project: str | None, raw: str | None, config: str | None, **options: Any) -> Catalogue:
    """What the command line, or the file that it names, says is to be served.

    Parameters
    ----------
    project, raw, config : str, optional
        Paths.
    options
        Of the volume: those of `pipeline.serving.configuration.configure`.

    Raises
    ------
    PipelineError
        If it names nothing, too much, or something that cannot be opened.
    """
    from pipeline.errors import CatalogueError
    from pipeline.serving.catalogue import Catalogue
    from pipeline.serving.configuration import configure, read_configuration
    from pipeline.serving.uploads import open_uploads

    if config is not None:
        if project is not None or any(options.values()):
            raise CatalogueError("--config names what is served; leave out PROJECT, RAW and the options of a volume")
        return Catalogue.open(read_configuration(config), open_uploads())
    if raw is None and project is not None and not project.lower().endswith(".ilp"):
        project, raw = None, project
    if raw is None and project is None and not any(options.values()):
        return Catalogue([], {}, open_uploads())
    if raw is None:
        raise CatalogueError(
            "name what is to be served: PROJECT RAW, RAW alone, or --config FILE; nothing at all for jobs"
        )
    return Catalogue.open(configure(project, raw, **options), open_uploads())


def _parse_bytes(text: str | None) -> int | None:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from pipeline.errors import PlanError

    if text is None:
        return None
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except (ValidationError, OverflowError):
        size = -1
    if size < 0:
        raise PlanError(f"--cache {text!r} is no size; write it as 900MiB or 1.5GB", code="cache")
    return size


def _bind(host: str, port: int) -> socket.socket:
    from pipeline.errors import PlanError
    from web.server import bind

    try:
        return bind(host, port)
    except OSError as error:
        why = error.strerror or str(error)
        raise PlanError(f"cannot listen on {host} port {port}: {why}; choose another --port, or 0", "address") from None
