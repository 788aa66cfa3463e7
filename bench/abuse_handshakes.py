"""Abuse of TLS: very many connections that begin a handshake, but never finish it.

They come from many addresses of the loopback range, since each address has a limit.
"""

import asyncio
import contextlib
import datetime
import ipaddress
from collections import Counter
from pathlib import Path

from abusers import Abuse
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from minikms.http.places import raise_descriptor_limit

HANDSHAKES = 9_000
OF_ONE = 60  # connections per address
TOGETHER = 200
HELD = 5.0  # seconds

# The first bytes of a record with a ClientHello (RFC 8446 section 5.1); the rest is never sent.
BEGIN = bytes.fromhex("160301020001")


def certificate(
    folder: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None
) -> tuple[str, ...]:
    """Make a certificate for 127.0.0.1, of P-256 by default; return the options of a service."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    file = Path(folder, "certificate.pem")
    file.write_bytes(made.public_bytes(pem) + written)
    return "--tls-cert", str(file)


async def unfinished_handshakes(url: str, file: str) -> Counter[str]:
    """Begin handshakes, and keep the connections open for a while."""
    raise_descriptor_limit()
    host, port = url.removeprefix("https://").split(":")
    opened: list[asyncio.StreamWriter] = []
    found: Counter[str] = Counter()

    async def begin(number: int) -> None:
        source = f"127.0.{1 + number // OF_ONE // 200}.{2 + number // OF_ONE % 200}"
        try:
            _, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
            writer.write(BEGIN)
            await writer.drain()
        except OSError as exc:
            found[type(exc).__name__] += 1
        else:
            opened.append(writer)
            found["begun"] += 1

    try:
        for start in range(0, HANDSHAKES, TOGETHER):
            numbers = range(start, min(start + TOGETHER, HANDSHAKES))
            await asyncio.gather(*map(begin, numbers))
        await asyncio.sleep(HELD)
    finally:
        for writer in opened:
            with contextlib.suppress(OSError):
                writer.close()
    return found


ABUSE: dict[str, Abuse] = {f"{HANDSHAKES} unfinished handshakes": unfinished_handshakes}
