"""Certificates for one cluster and for as long as it may live: an authority whose key nobody keeps, and three roles.

Elliptic curves, since the certificates travel in the 16 KiB that a machine is given to start with: a role takes 1.4 KiB
where RSA takes 4.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from distributed import Security

ROLES = ("scheduler", "worker", "client")
FILES = {"ca": "ca.pem", "certificate": "client.pem", "key": "client-key.pem"}
EARLY = datetime.timedelta(hours=1)  # clocks differ


@dataclass(frozen=True, repr=False)
class Certificates:
    """What the members of a cluster show each other; nothing of it is printed.

    Parameters
    ----------
    ca : str
        Certificate of the authority, PEM.
    certificates, keys : mapping of str to str
        PEM, for each of `ROLES`.
    """

    ca: str
    certificates: Mapping[str, str]
    keys: Mapping[str, str]

    @property
    def client(self) -> Security:
        """What a client of this process shows."""
        return Security(
            tls_ca_file=self.ca,
            tls_client_cert=self.certificates["client"],
            tls_client_key=self.keys["client"],
            require_encryption=True,
        )

    def configuration(self, role: str) -> dict[str, Any]:
        """Dask's configuration of a scheduler or a worker: its own key, and no other."""
        tls = {"ca-file": self.ca, role: {"cert": self.certificates[role], "key": self.keys[role]}}
        return {"distributed": {"comm": {"default-scheme": "tls", "require-encryption": True, "tls": tls}}}

    def write_client(self, folder: Path) -> dict[str, Path]:
        """Write what a client needs into a folder that only its owner can enter; returns the files by their use."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        texts = {"ca": self.ca, "certificate": self.certificates["client"], "key": self.keys["client"]}
        for use, text in texts.items():
            path = folder / FILES[use]
            path.touch(mode=0o600)
            path.write_text(text, encoding="ascii")
        return {use: folder / name for use, name in FILES.items()}


def make_certificates(name: str, expires: datetime.datetime) -> Certificates:
    """New certificates for a cluster of this name, good until it has to end.

    Parameters
    ----------
    name : str
    expires : datetime
        With a time zone.
    """
    authority = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} authority")
    ca = _begin(subject, subject, authority, expires).add_extension(x509.BasicConstraints(True, 0), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    root = ca.add_extension(usage, critical=True).sign(authority, hashes.SHA256())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    certificates, keys = {}, {}
    for role in ROLES:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _begin(_name(f"{name} {role}"), subject, key, expires)
        made = made.add_extension(x509.BasicConstraints(False, None), critical=True)
        made = made.add_extension(both, critical=False).add_extension(issuer, critical=False)
        certificates[role] = _pem(made.sign(authority, hashes.SHA256()))
        keys[role] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    return Certificates(_pem(root), certificates, keys)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, expires: datetime.datetime
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - EARLY)
    builder = builder.not_valid_after(expires + EARLY)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
