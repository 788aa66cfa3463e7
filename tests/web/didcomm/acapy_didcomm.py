"""Packs and unpacks by acapy-agent, in a Python that has it: a line of JSON comes, one goes.

acapy-agent needs marshmallow 3, so it has an environment of its own (test_didcomm_acapy.py).
"""

import asyncio
import base64
import json
import sys

from acapy_agent.askar.didcomm.v1 import pack_message, unpack_message
from aries_askar import Key, KeyAlg, Store
from base58 import b58encode


async def answer(session, call):
    if call["do"] == "make":
        key = Key.generate(KeyAlg.ED25519)
        verkey = b58encode(key.get_public_bytes()).decode()
        await session.insert_key(verkey, key)
        return verkey
    if call["do"] == "pack":
        sender = None if call["from"] is None else (await session.fetch_key(call["from"])).key
        return json.loads(pack_message(call["to"], sender, base64.b64decode(call["message"])))
    message, to, sender = await unpack_message(session, json.dumps(call["packed"]).encode())
    return {"message": base64.b64encode(message).decode(), "to": to, "from": sender}


async def main():
    store = await Store.provision("sqlite://:memory:", "raw", Store.generate_raw_key())
    async with store.session() as session:
        for line in sys.stdin:
            print(json.dumps(await answer(session, json.loads(line))), flush=True)
    await store.close()


asyncio.run(main())
