"""A scheduler that somebody else started, reached by its address; with certificates where it wants them."""

from __future__ import annotations

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from distributed import Client, Security, rpc
from distributed.versions import VersionMismatchWarning

from pipeline.config import settings
from pipeline.errors import ClusterError

TLS = "tls://"


def remote_client(address: str, security: Security | None = None) -> Client:
    """A client of the scheduler at an address.

    Parameters
    ----------
    address : str
        ``tcp://host:port`` or ``tls://host:port``.
    security : Security, optional
        Certificates; for ``tls://`` those of the settings by default, else those of Dask's own configuration.

    Raises
    ------
    ClusterError
        If there is no such scheduler, it does not answer, or does not take the certificates.
    """
    security = security or certificates_of_settings(address) or Security()
    # Asked beforehand, since a Client that fails to connect leaves its thread behind, and Dask's clean-up of that at
    # some later garbage collection can block any other loop. In a thread, because a notebook's own loop runs in ours.
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(asyncio.run, _ask_identity(address, security)).result()
        except (OSError, ValueError, TypeError, RuntimeError) as error:  # TypeError: tls:// without certificates
            raise ClusterError(f"No Dask scheduler can be used at {address}: {_reason(error)}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)  # versions are compared later, in our own words
        try:
            return Client(address, security=security, timeout=settings().connect_seconds, set_as_default=False)
        except OSError as error:  # gone since it was asked
            raise ClusterError(f"The Dask scheduler at {address} went away: {_reason(error)}") from error


def certificates_of_settings(address: str) -> Security | None:
    """The certificates that the settings name; None if none are named or the address needs none.

    Raises
    ------
    ClusterError
        With the code ``tls``, if some are named and others not, or a file is not there.
    """
    files = {"CA": settings().tls_ca, "CERTIFICATE": settings().tls_certificate, "KEY": settings().tls_key}
    if not address.startswith(TLS) or not any(files.values()):
        return None
    missing = [name for name, path in files.items() if path is None]
    if missing:
        raise ClusterError(
            f"VOXELFOREST_TLS_{missing[0]} is missing: {address} needs VOXELFOREST_TLS_CA, _CERTIFICATE and _KEY, all "
            "three as files in PEM format.",
            code="tls",
        )
    for name, path in files.items():
        if path is not None and not _is_readable(path):
            raise ClusterError(f"VOXELFOREST_TLS_{name}={path} cannot be read; it has to be a PEM file.", code="tls")
    ca, certificate, key = map(str, files.values())
    return Security(tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)


def wait_for_workers(client: Client, address: str, wanted: int) -> None:
    """Wait until so many workers are connected.

    Raises
    ------
    ClusterError
        If they are not after `settings().connect_seconds`.
    """
    try:
        client.wait_for_workers(wanted, timeout=settings().connect_seconds)
    except TimeoutError:
        found = len(client.nthreads())
        raise ClusterError(
            f"The scheduler at {address} has {found} of {wanted} workers after {settings().connect_seconds:g} s. "
            f"Start one with: dask worker {address}; where workers come with the work, use --workers 0..{wanted}"
        ) from None


async def _ask_identity(address: str, security: Security) -> None:
    arguments = security.get_connection_args("client")
    async with asyncio.timeout(settings().connect_seconds), rpc(address, connection_args=arguments) as scheduler:
        await scheduler.identity()


def _reason(error: Exception) -> str:
    if isinstance(error, TypeError) and "ssl_context" in str(error):
        return (
            "tls:// needs certificates, a Dask ssl_context; set VOXELFOREST_TLS_CA, _CERTIFICATE and _KEY to PEM files"
        )
    return str(error).strip().split("\n")[0] or f"no answer in {settings().connect_seconds:g} s"


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"-----BEGIN" in file.read(1 << 16)
    except OSError:
        return False
