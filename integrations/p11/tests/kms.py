"""The service that sidecars use: its calls, profiles and tokens."""

import base64
import contextlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from minikms_processes import Service

ADMIN = "mkms_504cacd0b2ddb4c3_2qCJLc6NjLDNti229Rsh9NeZrro2rM9FSRRWeg1BMgSiLxVwJc"  # a test's
SCOPES = [
    *("keys:read", "keys:write", "keys:delete", "sign", "verify", "encrypt", "decrypt"),
    *("derive", "mac", "random"),
]


class Kms:
    """A running service whose admin token is `ADMIN`; each call has a connection of its own."""

    def __init__(self, service: Service, port: int, audit_log: Path):
        self.service, self.port, self.audit_log = service, port, audit_log
        self.url = f"http://127.0.0.1:{port}"
        self._profiles = 0

    def is_ready(self):
        assert self.service.process.poll() is None, self.service.process.stderr.read()
        with contextlib.suppress(OSError):
            return self.answer("GET", "/readyz")[0] == 200
        return False

    def answer(self, method, path, body=None, *, token=ADMIN, profile="default"):
        """The status and the body of an answer."""
        headers = {"Authorization": f"Bearer {token}", "X-Profile": profile}
        content = None if body is None else json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def call(self, method, path, body=None, **options):
        """The body of an answer to a call that succeeds."""
        status, answer = self.answer(method, path, body, **options)
        assert status == 200, answer
        return answer

    def profile(self):
        """A new profile."""
        self._profiles += 1
        profile = Profile(self, f"tenant-{self._profiles}")
        self.call("POST", "/profile", {"name": profile.name})
        return profile

    def token(self, profile, scopes=SCOPES, name="program"):
        """A new token for a profile: its text, and the id that revokes it."""
        body = {"name": name, "scopes": scopes, "profiles": [profile]}
        made = self.call("POST", "/tokens", body)
        return made["token"], made["record"]["id"]

    def revoke(self, token_id):
        self.call("DELETE", f"/tokens/{token_id}")

    def events(self, operation):
        """The lines of the audit log about an operation."""
        lines = map(json.loads, self.audit_log.read_text().splitlines())
        return [line for line in lines if line.get("operation") == operation]


class Profile:
    """A profile of the service, by the admin's token."""

    def __init__(self, kms: Kms, name: str):
        self.kms, self.name = kms, name

    def call(self, method, path, body=None):
        return self.kms.call(method, path, body, profile=self.name)

    def generate(self, alg="p256", **options):
        return self.call("POST", "/key/generate", {"alg": alg, **options})

    def key(self, kid):
        return self.call("GET", f"/key/{kid}")

    def named(self, alias):
        return self.call("GET", f"/key?alias={quote(alias, safe='')}")

    def certify(self, key, subject="CN=web", **options):
        """Give a key a self-signed certificate; return its text."""
        body = {"kid": key["kid"], "profile": "self-signed", "subject": subject, "days": 30}
        made = self.call("POST", "/certificate", {**body, **options})["certificate"]
        self.call("PUT", f"/key/{key['kid']}/certificates", {"certificates": [made]})
        return made


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_):
        """Callers may end before their answers."""


class HeldService:
    """A service that holds the answers to all POSTs, `body`, until it is told.

    The status None is a connection that is closed without an answer. It answers no DELETE.
    """

    def __init__(self):
        self.waiting, self.status, self.body = 0, 200, {"bytes": _base64(b"x" * 16)}
        self.deleted = []  # the paths of calls
        self._lock = threading.Lock()
        self._answered, self._closed = threading.Event(), threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, status=200):
        """Answer all calls, from now on at once."""
        self.status = status
        self._answered.set()

    def close(self):
        self.answer()
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                with service._lock:
                    service.waiting += 1
                service._answered.wait()
                if service.status is None:
                    self.close_connection = True
                    return
                unauthenticated = {"type": "urn:minikms:problem:unauthenticated"}
                self.send(
                    service.status, unauthenticated if service.status == 401 else service.body
                )

            def do_DELETE(self):
                service.deleted.append(self.path)
                service._closed.wait()
                self.send(200, {})

            def do_GET(self):  # tokens/self
                self.send(200, {"profiles": None})

            def send(self, status, body):
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        return Handler


def _base64(content):
    return base64.b64encode(content).decode()


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_key(key):
    """The public key of a key object."""
    jwk = key["jwk"]
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
    if jwk["kty"] == "OKP":
        return ed25519.Ed25519PublicKey.from_public_bytes(unbase64(jwk["x"]))
    curve = _CURVES[jwk["crv"]]()
    return ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), curve).public_key()


def _number(text):
    return int.from_bytes(unbase64(text), "big")


_CURVES = {
    **{"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1},
    "secp256k1": ec.SECP256K1,
}
