"""Calls at the three ports of a service, whose answers a store of an older layout has to keep."""

import json
from http.client import HTTPConnection

TIMES = frozenset({"last_used", "request_id"})  # members that differ from call to call


def send(service, call):
    """Send a call to a service; return the status and the content of the answer.

    `service` has the address of each port, and the token. `call` is the port, the method, the path,
    the body, and the profile.
    """
    port, method, path, body, profile = call
    headers = {
        "rest": {"Authorization": f"Bearer {service['token']}", "X-Profile": profile},
        "vault": {"X-Vault-Token": service["token"]},
        "aws": {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"TrentService.{path}",
            "X-Amz-Security-Token": service["token"],
        },
    }[port]
    connection = HTTPConnection(service[port])
    text = None if body is None else json.dumps(body)
    connection.request(method, "/" if port == "aws" else path, text, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return [response.status, _lasting(json.loads(answer or b"null"))]


def _lasting(answer):
    """An answer without the members that differ from call to call."""
    if isinstance(answer, dict):
        return {name: _lasting(value) for name, value in answer.items() if name not in TIMES}
    return [_lasting(each) for each in answer] if isinstance(answer, list) else answer
