"""The HEALTHCHECK of the image: exit with 0 if the service configured by its variables answers."""

import http.client
import os
import ssl
import sys

HOST, TIMEOUT = "127.0.0.1", 2.0


def is_healthy() -> bool:
    """Call `/healthz`, by TLS if the service has a certificate.

    For a service that requires client certificates, a handshake is enough.
    """
    port = int(os.environ["MINIKMS_PORT"])
    if not os.environ.get("MINIKMS_TLS_CERT"):
        return answers(http.client.HTTPConnection(HOST, port, timeout=TIMEOUT))
    # The certificate is for the name that callers use; this connection stays in the container.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    service = http.client.HTTPSConnection(HOST, port, timeout=TIMEOUT, context=context)
    service.connect()
    return bool(os.environ.get("MINIKMS_TLS_CLIENT_CA")) or answers(service)


def answers(service: http.client.HTTPConnection) -> bool:
    """Tell whether the process answers that it is alive."""
    service.request("GET", "/healthz")
    return service.getresponse().status == 200


if __name__ == "__main__":
    sys.exit(not is_healthy())
