"""Bodies in JSON, within the same bounds as the API's own."""

from typing import Any

import orjson

from minikms.encodings import require_memory
from minikms.http.body_bounds import SMALL_BODY, BodyBound


def parse_json(body: bytes) -> Any:
    """Parse JSON; raises JSONDecodeError, and BodyTooLarge for a large body with many values.

    Raises MemoryError if memory runs out.
    """
    if len(body) > SMALL_BODY:
        BodyBound(len(body)).add(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        require_memory(exc)
        raise
