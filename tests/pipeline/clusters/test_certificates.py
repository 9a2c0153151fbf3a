"""Certificates: one authority, three roles, and files that only their owner reads."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.clusters.certificates import ROLES, make_certificates

SOON = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)


def test_roles_are_signed_and_end_with_the_cluster() -> None:
    made = make_certificates("abc", SOON)
    authority = x509.load_pem_x509_certificate(made.ca.encode())
    for role in ROLES:
        certificate = x509.load_pem_x509_certificate(made.certificates[role].encode())
        certificate.verify_directly_issued_by(authority)
        longer = certificate.not_valid_after_utc - SOON
        assert datetime.timedelta(seconds=-1) <= longer < datetime.timedelta(hours=2)
    assert len(set(made.keys.values())) == 3
    assert "PRIVATE" not in repr(made)
    assert isinstance(authority.public_key(), ec.EllipticCurvePublicKey)


def test_strict_verification_is_passed(tmp_path: Path) -> None:
    files = make_certificates("abc", SOON).write_client(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    context = ssl.create_default_context(cafile=str(files["ca"]))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(files["certificate"], files["key"])


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_a_role_is_told_its_own_key_alone(role: str) -> None:
    made = make_certificates("abc", SOON)
    text = str(made.configuration(role))
    assert [made.keys[other].splitlines()[1] in text for other in ROLES] == [other == role for other in ROLES]
