"""A server that gives the answers of a test."""

import contextlib
import http.server
import json
import threading

# The fields of a key, as the service answers them.
KEY = {
    "kid": "a",
    "alg": "ed25519",
    "kty": "OKP",
    "jwk": None,
    "b58": None,
    "multikey": None,
    "did": None,
    "aliases": [],
    "labels": {},
    "operations": [],
    "exportable": False,
    "state": "enabled",
    "created": "2026-01-31T12:00:00.000Z",
    "expires": None,
    "deletes": None,
    "last_used": None,
}


def refusal(slug, status=503, retry_after="0", **members):
    body = {"type": f"urn:minikms:problem:{slug}", "title": "T", "status": status, "detail": "D."}
    body.update(members)
    return status, {"Retry-After": retry_after}, json.dumps(body)


@contextlib.contextmanager
def answering(*answers):
    """A server that gives these answers in turn; None closes the connection without one.

    A function makes its answer from the path and the headers.
    A real service cannot be made to refuse an exact number of calls, or to give bad answers. Gives
    the URL and the received requests.
    """
    left, asked = list(answers), []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, dict(self.headers)))
            answer = left.pop(0)
            if callable(answer):
                answer = answer(self.path, self.headers)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            body = body if isinstance(body, bytes) else body.encode()
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


OK = (200, {}, json.dumps(KEY))
