"""Clients that change and use the keys, aliases and tokens of services, at random."""

import asyncio
import random
from collections import defaultdict
from contextlib import AbstractAsyncContextManager, nullcontext
from copy import copy
from typing import Any
from zlib import crc32

from serve.history import Call, History, Target

KEYS = 6  # whose state changes
ROOM = 6  # max_keys of the profile `room`
DAY = 100  # per_day of some keys
STATES = "enabled", "disabled"
DATA = "aGVsbG8="
WITHOUT_LINE = "state of a door"


class Load:
    """Objects that exist, and calls that change or use one of them.

    The changes of half of the objects follow each other, so that the model knows their order.
    """

    def __init__(self, history: History, targets: list[Target], chance: random.Random) -> None:
        self._history, self._targets, self._chance = history, targets, chance
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._keys: list[str] = []
        self._gone: list[str] = []  # deleted, if the call was not refused
        self._aliases: dict[str, list[str]] = {}
        self._rotated: dict[str, list[str]] = {}  # aliases, and the keys that may have them
        self._next: dict[str, str] = {}
        self._counted: list[str] = []
        self._in_room: list[str] = []
        self._tokens: list[tuple[str, str]] = []
        self._revocable: list[str] = []

    def at(self, target: Target, parts: int = 0) -> "Load":
        """Call only `target`; with `parts`, call all services, and `target` more often."""
        here = copy(self)
        here._targets = [target] * parts + self._targets if parts else [target]
        return here

    async def make_all(self) -> None:
        """Make the objects."""
        await self._call("", "POST", "/profile", {"name": "room"})
        await self._call("", "PATCH", "/profile/room", {"max_keys": ROOM})
        for _ in range(KEYS):
            await self.make_key()
        for name in "abcd":
            self._aliases[name] = [await self._generate() for _ in range(4)]
            await self.move_alias(name)
        for name in "xyz":
            body = {"alg": "ed25519", "alias": name, "retire_after": 60}
            call = await self._call(f"alias {name}", "POST", "/key/generate", body)
            call.writes = call.answer["kid"]
            self._rotated[name] = [call.writes]
            await self.rotate(name)
        for _ in range(2):
            self._counted.append(await self._generate(rules={"per_day": DAY}))
        for _ in range(3):
            await self.make_token()

    async def client(self, stop: asyncio.Event, changing: float) -> None:
        """Call until `stop`; `changing` is the share of calls that change something."""
        changes = [self.set_state] * 4 + [self.move_alias] * 4 + [self.make_in_room] * 3
        changes += [self.delete_in_room] * 3 + [self.replace_key, self.make_token, self.revoke]
        changes += [self.rotate] * 2
        uses = [self.sign_by_alias, self.sign_by_key, self.sign_counted, self.use_token]
        uses += [self.sign_by_next_key]
        uses += [self.ask_door, self.ask_door_without_line]
        while not stop.is_set():
            await self._chance.choice(changes if self._chance.random() < changing else uses)()
            await asyncio.sleep(self._chance.uniform(0, 0.05))

    async def read_all(self) -> None:
        """See each object."""
        for kid in self._keys + self._gone:
            await self.sign_by_key(kid)
        for name in (*self._aliases, *self._rotated):
            await self.sign_by_alias(name)
        for token in self._tokens:
            await self.use_token(token)

    # Keys and their states

    async def make_key(self) -> None:
        call = await self._call("", "POST", "/key/generate", {"alg": "ed25519"})
        if call.is_done:
            kid = call.answer["kid"]
            call.about, call.writes = f"key {kid}", "enabled"
            self._keys.append(kid)

    async def set_state(self) -> None:
        kid, state = self._chance.choice(self._keys), self._chance.choice(STATES)
        async with self._in_turn(about := f"key {kid}"):
            await self._call(about, "PATCH", f"/key/{kid}", {"state": state}, writes=state)

    async def replace_key(self) -> None:
        await self.make_key()
        if len(self._keys) > KEYS:
            kid = self._keys.pop(0)
            self._gone.append(kid)
            del self._gone[:-3]
            async with self._in_turn(about := f"key {kid}"):
                await self._call(about, "DELETE", f"/key/{kid}", writes="gone")

    async def sign_by_key(self, kid: str = "") -> None:
        kid = kid or self._chance.choice(self._keys + self._gone)
        call = await self._call(f"key {kid}", "POST", "/sign", {"kid": kid, "data": DATA})
        shown = {"": "enabled", "key-not-usable": "disabled", "key-not-found": "gone"}
        call.shows = shown.get(call.slug) if call.status else None

    # Aliases

    async def move_alias(self, name: str = "") -> None:
        name = name or self._chance.choice(list(self._aliases))
        kid = self._chance.choice(self._aliases[name])
        async with self._in_turn(about := f"alias {name}"):
            path = f"/key/{kid}/associate"
            await self._call(about, "POST", path, {"alias": name}, writes=kid)

    async def sign_by_alias(self, name: str = "") -> None:
        name = name or self._chance.choice([*self._aliases, *self._rotated])
        call = await self._call(f"alias {name}", "POST", "/sign", {"alias": name, "data": DATA})
        call.shows = call.answer.get("kid")

    # Next keys, and the rotations to them

    async def rotate(self, name: str = "") -> None:
        """Make the next key of an alias's key, by two calls, and let it take the key's place."""
        name = name or self._chance.choice(list(self._rotated))
        async with self._locks[name]:
            for kid in self._rotated[name]:
                path = f"/key/{kid}/next"
                asked = [self._call(f"next {kid}", "POST", path) for _ in range(2)]
                made = {call.answer["kid"] for call in await asyncio.gather(*asked) if call.is_done}
                if made:
                    break
            else:
                return
            self._next[name] = following = made.pop()
            await asyncio.sleep(self._chance.uniform(0, 0.2))
            path = f"/key/{kid}/rotate?if_published=0"
            call = await self._call(f"alias {name}", "POST", path, writes=following)
            self._rotated[name] = [
                *(() if call.is_done else (kid,)),
                *((following,) if call.may_be_done else ()),
            ]

    async def sign_by_next_key(self) -> None:
        """Sign with a key that is a next key, or was one."""
        kid = self._chance.choice(list(self._next.values()))
        await self._call(f"early {kid}", "POST", "/sign", {"kid": kid, "data": DATA})

    # The number of keys, and of uses

    async def make_in_room(self) -> None:
        call = await self._call("room", "POST", "/key/generate", {"alg": "ed25519"}, profile="room")
        if call.is_done:
            self._in_room.append(call.answer["kid"])

    async def delete_in_room(self) -> None:
        if self._in_room:
            kid = self._in_room.pop(self._chance.randrange(len(self._in_room)))
            call = await self._call("room", "DELETE", f"/key/{kid}", profile="room", writes=kid)
            if not call.may_be_done:
                self._in_room.append(kid)

    async def sign_counted(self) -> None:
        kid = self._chance.choice(self._counted)
        await self._call(f"counted {kid}", "POST", "/sign", {"kid": kid, "data": DATA})

    # Tokens

    async def make_token(self) -> None:
        call = await self._call("", "POST", "/tokens", {"name": "it", "scopes": ["keys:read"]})
        if call.is_done:
            token = call.answer["record"]["id"]
            call.about, call.writes = f"token {token}", "valid"
            self._tokens.append((token, call.answer["token"]))
            self._revocable.append(token)
            del self._tokens[:-8]

    async def revoke(self) -> None:
        if self._revocable:
            token = self._revocable.pop(0)
            about = f"token {token}"
            call = await self._call(about, "DELETE", f"/tokens/{token}", writes="revoked")
            if not call.may_be_done:
                self._revocable.append(token)

    async def use_token(self, token: tuple[str, str] = ("", "")) -> None:
        token_id, secret = token if token[0] else self._chance.choice(self._tokens)
        call = await self._call(f"token {token_id}", "GET", "/tokens/self", token=secret)
        shown = {"": "valid", "unauthenticated": "revoked"}
        call.shows = shown.get(call.slug) if call.status else None

    # The Vault door, beside whose calls come others that the audit log omits

    async def ask_door(self) -> None:
        await self._ask_door("door", "auth/token/lookup-self")

    async def ask_door_without_line(self) -> None:
        await self._ask_door(WITHOUT_LINE, "sys/init")

    async def _ask_door(self, about: str, path: str) -> None:
        target = self._chance.choice(self._targets)
        at = f"http://127.0.0.1:{target.vault_port}"
        await asyncio.gather(
            *(self._history.call(target, about, "GET", f"/v1/{path}", at=at) for _ in range(4))
        )

    async def _generate(self, **body: Any) -> str:
        call = await self._call("", "POST", "/key/generate", {"alg": "ed25519", **body})
        return str(call.answer["kid"])

    async def _call(self, about: str, method: str, path: str, *args: Any, **options: Any) -> Call:
        target = self._chance.choice(self._targets)
        return await self._history.call(target, about, method, path, *args, **options)

    def _in_turn(self, about: str) -> AbstractAsyncContextManager[Any]:
        return self._locks[about] if crc32(about.encode()) % 2 else nullcontext()
