"""Doors of another package that fail, or cannot be used."""

import re

import orjson
import pytest

from minikms.access.callers import SCOPES
from minikms.doors.registry import installed_doors
from minikms.errors import RouteNotFound
from minikms.startup_errors import PluginError


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError"),
        ("class Mine: pass", "is not a subclass of Door"),
        ("from minikms.doors import Door\nclass Mine(Door): pass", "lacks: answer"),
        (
            "from minikms_plain import PlainDoor\nclass Mine(PlainDoor):\n    name = 'No'",
            "has a name with other characters than a-z and 0-9",
        ),
        (
            "from minikms_plain import PlainDoor\nclass Mine(PlainDoor):\n    title = ''",
            "does not state: title",
        ),
        (
            "from minikms_plain import PlainDoor\nclass Mine(PlainDoor): alias_prefixes = 'x:'",
            "has alias_prefixes other than a tuple of strings",
        ),
        ("from minikms_plain import PlainDoor as Mine", "Two doors have the name 'plain'"),
        *(
            (
                "from minikms_plain import PlainDoor, DoorOption\nclass Mine(PlainDoor):\n"
                f"    options = (DoorOption({name!r}, ''), DoorOption('twice', ''))",
                f"has options with forbidden or repeated names: {name!r}.",
            )
            for name in ("port", "host", "twice", "key-file", "")
        ),
    ],
)
def test_a_door_that_cannot_be_used(install, source, fault):
    install(source)
    with pytest.raises(PluginError, match=re.escape(fault)):
        installed_doors()


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (
            "name = 'metrics'",
            "A door has options that the service already has: --metrics-port, --metrics-host.",
        ),
        (
            "name = 'store'\n    options = (DoorOption('key', ''),)",
            "A door has options that the service already has: --store-key.",
        ),
        (
            "name = 'mine'\n    def __init__(self, *args): raise ValueError('no  room')",
            "The door mine cannot be made: ValueError: no room.",
        ),
        (
            "name = 'mine'\n    def __init__(self, *args):\n"
            "        from minikms.doors import SetupError\n"
            "        raise SetupError('There is no room.')",
            "There is no room.",
        ),
        (
            "name = 'mine'\n    routes = [DoorRoute('sign', 'sign', None)] * 2",
            "Two routes have the name mine:sign.",
        ),
        (
            "name = 'mine'\n    routes = [DoorRoute('sign', 'sign', None, ('open',))]",
            "The route mine:sign has the unknown scope 'open'. The scopes are: "
            f"{', '.join(SCOPES)}.",
        ),
    ],
    ids=["name", "variable", "init", "option", "routes", "scope"],
)
def test_a_door_that_fails_at_the_start(install, run, source, fault):
    install(f"from minikms_plain import *\n\n\nclass Mine(PlainDoor):\n    {source}\n")
    done = run("serve", "--port", "0", "--mine-port", "0")
    assert (done.returncode, done.stderr) == (2, f"minikms: {fault}\n")


FAULTS = [ValueError("secret text"), RouteNotFound("secret text")]


@pytest.mark.parametrize("fault", FAULTS, ids=["any", "kms"])
@pytest.mark.parametrize("member", ["token", "profile"])
async def test_a_door_that_fails_is_recorded(opened, tmp_path, admin, monkeypatch, member, fault):
    log = tmp_path / "audit.log"
    _, door = await opened(auth="token", admin_token_file=admin[1], audit_log=str(log))

    def fail(*args):
        raise fault

    monkeypatch.setattr(installed_doors()["plain"], member, fail)
    slug = getattr(fault, "slug", "internal-error")
    refused = await door.post("/sign", headers={"Key": "mine", "Token": admin[0]}, data=b"hello")
    assert (await refused.text()).startswith(slug)
    line = orjson.loads(log.read_text().splitlines()[-1])
    assert (line["operation"], line["outcome"]) == ("plain:sign", slug)


def raise_error():
    raise ValueError


@pytest.mark.parametrize("answer", [raise_error, lambda: (400, "text"), lambda: (400, 1, {})])
async def test_a_door_that_has_no_answer(opened, monkeypatch, caplog, answer):
    _, door = await opened()

    def fail(*args):
        return answer()

    monkeypatch.setattr(installed_doors()["plain"], "answer", fail)
    for _ in range(2):
        async with door.post("/nowhere") as response:
            assert (response.status, await response.read()) == (500, b"")
    assert "the door plain cannot answer an error" in caplog.text
    monkeypatch.undo()


@pytest.mark.parametrize("answer", ["text", None, 1])
async def test_a_handler_that_gives_no_bytes(opened, tmp_path, monkeypatch, caplog, answer):
    async def make(*args):
        return answer

    monkeypatch.setattr(installed_doors()["plain"], "_make", make)
    log = tmp_path / "audit.log"
    _, door = await opened(audit_log=str(log))
    refused = await door.post("/keys", headers={"Key": "mine"})
    assert (refused.status, (await refused.text()).split(":")[0]) == (500, "internal-error")
    assert "The handler of plain:makeKey returns neither bytes nor a DoorAnswer." in caplog.text
    line = orjson.loads(log.read_text().splitlines()[-1])
    assert (line["operation"], line["outcome"]) == ("plain:makeKey", "internal-error")
