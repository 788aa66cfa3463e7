"""When a document is made."""

import asyncio
import threading

from minikms.web.state import Document


async def test_a_document_is_made_once_though_its_first_caller_left():
    made, go_on = [], threading.Event()

    def make():
        made.append(b"it")
        assert go_on.wait(60)
        return b"it"

    document = Document(make)
    assert made == []
    asked = asyncio.create_task(document.content())
    await asyncio.sleep(0)
    asked.cancel()
    others = asyncio.gather(document.content(), document.content())
    go_on.set()
    assert await others == [b"it", b"it"] == [await document.content()] * 2
    assert made == [b"it"]
    assert asked.cancelled()
