"""The files that the demo keeps between runs: the secret of the sessions, and the certificate for https."""

import os
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

CERTIFICATE_DAYS = 90
RENEW_BEFORE = timedelta(days=1)


def load_secret(directory: Path) -> str:
    """Return the secret that signs the session cookies; it is kept, so sessions survive a restart."""
    path = directory / "secret"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(48).encode())
    return path.read_text(encoding="ascii").strip()


def load_tls(directory: Path) -> ssl.SSLContext:
    """Return the TLS context, with a self-signed certificate for this machine only."""
    path = directory / "localhost.pem"
    if not _is_valid(path):
        _write_private(path, _make_certificate())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


def _is_valid(path: Path) -> bool:
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)


def _make_certificate() -> bytes:
    """Return a self-signed certificate for localhost, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=localhost")
    now = datetime.now(UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        # A browser that trusts this certificate trusts one server, not an authority for other names.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def _write_private(path: Path, content: bytes) -> None:
    """Write a file atomically; only its owner may read it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
