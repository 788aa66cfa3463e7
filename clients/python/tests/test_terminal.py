"""The command `mkms` on a terminal: tables for people, and nothing that steers the terminal."""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from answering import KEY, answering, refusal
from commands import on_a_terminal

from minikms_client.cli.display import visible
from minikms_client.wire import decode, encode

# A colour, a title, a hyperlink, a bell, the same by C1, and marks that turn the order around.
SCOPES = ["keys:read", "keys:write", "sign", "verify", "encrypt", "decrypt", "wrap", "random"]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
HOSTILE = "a\x1b[31m\x1b]0;t\x07\x1b]8;;http://x\x1b\\\x9b31m\x9d0;t\x9c\u202eb\u2066c\u200f\x7f\n"
KID = "k" * 43


def steering(written):
    """The unprintable characters in the output."""
    return {char for char in written if not char.isprintable()} - set("\r\n\t")


def test_a_terminal_is_shown_tables(minikms):
    minikms.generate_key("ed25519", alias="signer", labels={"use": "test"})
    key = on_a_terminal("mkms key show signer", minikms)
    assert "multikey" in key
    assert '{"use": "test"}' in key
    header, row = on_a_terminal("COLUMNS=120 mkms key list", minikms).splitlines()
    assert header.split() == ["kid", "alg", "state", "created", "aliases", "used"]
    assert header.index("aliases") == row.index("signer")
    header, below, *rows = on_a_terminal("mkms key list", minikms).splitlines()
    assert header.split() == ["kid", "alg", "state"]
    assert below.split() == ["created", "aliases", "used"]
    assert below.index("aliases") == rows[1].index("signer")


LISTINGS = (
    "mkms key list",
    "mkms key show signer",
    "mkms due",
    "mkms token list",
    "mkms algorithms",
    "mkms whoami",
    "mkms doctor",
    "mkms context list",
    "mkms key show nobody-has-this-alias-which-is-long",
)


@pytest.mark.parametrize("line", LISTINGS)
@pytest.mark.parametrize("width", [80, 60])
def test_lines_fit_the_terminal(command, minikms, line, width):
    key = minikms.generate_key("ed25519", alias="signer", labels={"use": "a longer text " * 9})
    for n in range(5):
        minikms.associate_alias(key.kid, f"did:example:{n}#key-{n}")
    command(f"mkms key delete {key.kid} --after 7d")
    made = minikms.create_token("an-application", SCOPES, profiles=["default"])
    command(f"mkms context set production --url {minikms.url}")
    try:
        code = 3 if "nobody" in line else 0
        whole = on_a_terminal(f"COLUMNS=1000 {line}", minikms, code=code)
        lines = on_a_terminal(f"COLUMNS={width} {line}", minikms, code=code).splitlines()
    finally:
        minikms.revoke_token(made.record.id)
    assert max(map(len, lines)) <= width
    # Words are whole: as many of each as with room for all.
    words = [Counter(" ".join(each).split()) for each in (lines, whole.splitlines())]
    assert words[0] == words[1]


def test_a_time_has_one_form(command, minikms):
    kid = command("mkms key generate p256 --alias signer --expires 90d")
    command("mkms sign signer hello")
    command(f"mkms key delete {kid} --after 7d")
    for line in ("mkms key list", "mkms key show signer", "mkms due"):
        shown = on_a_terminal(line, minikms)
        times = re.findall(r"\d{4}-\d\d-\d\dT\S*", shown)
        assert len(times) > 1
        assert [each for each in times if not re.fullmatch(TIME, each)] == []
    listed = command("mkms key list")
    assert len(re.findall(TIME, listed)) == len(re.findall(r"\d\dT\d\d", listed)) == 3


@pytest.mark.parametrize("line", ["sign signer", "verify signer --sig AA", "key import -"])
def test_people_are_told_that_their_input_is_read(minikms, line):
    minikms.generate_key("ed25519", alias="signer")
    code = {"sign": 0, "verify": 1, "key": 2}[line.split()[0]]
    written = on_a_terminal(
        f"mkms {line}", minikms, typed="hello\n\x04", after="Control-D", code=code
    )
    assert written.startswith("mkms: ")
    if code == 0:
        [sig] = re.findall(r"[A-Za-z0-9_-]{86}", written)
        assert minikms.verify(b"hello\n", decode(sig), alias="signer")


def test_people_are_told_that_a_file_is_not_read(command, minikms, tmp_path):
    minikms.generate_key("ed25519", alias="signer")
    (tmp_path / "message").write_bytes(b"hello")
    written = on_a_terminal(f"cd {tmp_path}; mkms sign signer message", minikms)
    assert written.startswith("mkms: ")
    assert "--file" in written
    [sig] = re.findall(r"[A-Za-z0-9_-]{86}", written)
    assert minikms.verify(b"message", decode(sig), alias="signer")
    for line in ("sign signer hello", "sign signer --file message"):
        assert "--file" not in on_a_terminal(f"cd {tmp_path}; mkms {line}", minikms)
    command("mkms sign signer message")
    assert command.error == ""


def test_results_that_nobody_sees_have_a_bar(minikms, tmp_path):
    line = f"mkms key generate ed25519 --count 1500 >{tmp_path}/kids"
    assert "Making keys" in on_a_terminal(line, minikms)
    assert len((tmp_path / "kids").read_text().splitlines()) == 1500


ALIASES = [
    "did:key:z6Mk#:smile:",
    "[red]x",
    "x[/oops]",
    "[link=http://x]y",
    "größe-漢",
    f"did:example:{'long' * 100}#key-1",
]


def test_text_is_text_and_is_never_cut(minikms):
    kids = [minikms.generate_key("ed25519", alias=alias).kid for alias in ALIASES]
    listing = on_a_terminal("COLUMNS=40 mkms key list", minikms)
    for text in (*kids, *ALIASES):
        assert text in listing
    assert steering(listing) == set()
    for alias in ALIASES:
        assert alias in on_a_terminal(f"mkms key show '{alias}'", minikms)


def test_a_deletion_that_is_due_is_shown(command, minikms):
    kept, going = (minikms.generate_key("ed25519").kid for _ in range(2))
    command(f"mkms key delete {going} --after 7d")
    deletes = minikms.get_key(going).deletes
    for listing in (
        on_a_terminal("COLUMNS=120 mkms key list", minikms),
        command("mkms key list"),
    ):
        lines = {line[:43]: line for line in listing.splitlines()}
        assert f"disabled, deletes {deletes:%Y-%m-%dT%H:%M}" in lines[going]
        assert "deletes" not in lines[kept]
    assert deletes.strftime("%Y-%m-%d") in on_a_terminal(f"mkms key show {going}", minikms)


def test_a_listing_of_one_state(command, minikms):
    kids = {state: minikms.generate_key("p256").kid for state in ("enabled", "disabled")}
    minikms.update_key(kids["disabled"], state="disabled")
    for state, kid in kids.items():
        found = [
            json.loads(line)
            for line in command(f"mkms key list --state {state} --json").splitlines()
        ]
        assert [key["kid"] for key in found] == [kid]
    assert command("mkms key list --state verify-only") == ""
    assert command("mkms key list --state deletion-scheduled") == ""
    command(f"mkms key delete {kids['enabled']} --after 7d")
    [line] = command("mkms key list --state deletion-scheduled").splitlines()
    assert line.startswith(kids["enabled"])
    command(f"mkms key update {kids['disabled']} --state deletion-scheduled", code=2)


def test_a_listing_shows_last_uses_and_schedules(command, minikms):
    kid = command("mkms key generate p256 --alias signer --rotate-every 90d")
    made = json.loads(command("mkms key show signer --json"))
    assert (made["rotate_every"], made["last_used"]) == (90 * 86_400, None)
    command("mkms sign signer hello")
    used = minikms.get_key(kid).last_used
    assert f"{used:%Y-%m-%dT%H:%M}" in on_a_terminal("mkms key list", minikms)
    assert command("mkms key list --unused 30d") == ""
    command("mkms key list --unused soon", code=2)
    command("mkms key update signer --rotate-every 1d")
    assert minikms.get_key(kid).rotate_every == timedelta(days=1)
    command("mkms key update signer --rotate-every 1d --never-rotate", code=2)
    command("mkms key update signer --never-rotate")
    assert minikms.get_key(kid).rotate_every is None


def test_a_key_is_rotated_in_three_steps(command, minikms):
    given = "--rotate-every 90d --publish-ahead 2d --retire-after 31d"
    old = command(f"mkms key generate p256 --alias signer {given}")
    command("mkms key generate p256 --rotate-every 90d")  # without an alias, it is not rotated
    command("mkms key generate p256 --alias other --rotate-every 89d")

    def due():
        lines = command("mkms key due").splitlines()
        return [(days_until(time), *row) for time, *row in (line.split("\t") for line in lines)]

    def days_until(time):
        return round((datetime.fromisoformat(time) - datetime.now(UTC)) / timedelta(days=1))

    def shown(kid):
        return json.loads(command(f"mkms --json key show {kid}"))

    steps = [(day, event, alias) for day, event, _, _, alias in due()]
    assert steps == [(88, "next key is made", "signer"), (89, "key is rotated", "other")]
    command("mkms key rotate signer --if-published 0s", code=5)
    following = command("mkms key next signer")
    assert command("mkms key next signer") == following
    assert command("mkms key list --state next").split("\t")[0] == following
    assert shown(old)["next"] == following
    assert [each[:2] for each in due()] == [(89, "key is rotated"), (90, "key is rotated")]
    command("mkms key rotate signer --if-published 2d", code=5)
    command("mkms key rotate signer --if-published soon", code=2)
    assert command("mkms key rotate signer --if-published 0s") == following
    [retirement, *_] = due()
    assert retirement == (31, "key retires", minikms.profile, old, "")
    assert "key retires" in command("mkms due")
    command(f"mkms key update {old} --state disabled")
    assert "key retires" not in command("mkms key due")
    command("mkms key update signer --publish-ahead 1d --retire-after none")
    new = shown("signer")
    assert (new["publish_ahead"], new["retire_after"]) == (86_400, None)
    command("mkms key update signer --publish-ahead none")
    assert shown("signer")["publish_ahead"] is None
    command("mkms key update signer --publish-ahead soon", code=2)


def test_a_key_is_made_for_a_time(command):
    kid = command("mkms key generate p256 --delete-after 10m")
    [line] = command("mkms key list --state enabled").splitlines()
    assert re.match(rf"{kid}\tp256\tenabled, deletes 2", line)
    assert kid in command("mkms due")
    command("mkms key generate p256 --delete-after 30s", code=5)
    command("mkms key generate p256 --delete-after 1h --rotate-every 1h", code=5)


def test_people_are_asked_before_a_key_is_deleted(minikms):
    def delete(options="", **on_terminal):
        return on_a_terminal(f"mkms key delete signer {options}", minikms, **on_terminal)

    key = minikms.generate_key("ed25519", alias="signer")
    minikms.associate_alias(key.kid, "[red]\u202eother")
    asked = delete(typed="n\n", code=130)
    assert f"Delete the key {key.kid} (signer, [red]\\u202eother)? [y/N]: " in asked
    assert "Schedule the deletion of" in delete("--after 7d", typed="\n", code=130)
    assert minikms.get_key(key.kid).state == "enabled"
    assert delete(typed="y\n").endswith(f"{key.kid}\r\n")
    key = minikms.generate_key("ed25519", alias="signer")
    for n in range(10):
        minikms.associate_alias(key.kid, f"a{n}")
    assert "and 6 more)" in delete(typed="n\n", code=130)
    assert delete("--yes") == f"{key.kid}\r\n"
    unnamed = minikms.generate_key("ed25519").kid
    asked = on_a_terminal(f"mkms key delete {unnamed}", minikms, typed="n\n", code=130)
    assert f"{unnamed} (no alias)?" in asked


def test_pipes_are_not_asked(minikms, shell):
    for line in ("mkms key delete signer | cat", "echo n | mkms key delete signer"):
        kid = minikms.generate_key("ed25519", alias="signer").kid
        assert on_a_terminal(line, minikms) == f"{kid}\r\n"
    kid = minikms.generate_key("ed25519", alias="signer").kid
    assert shell("mkms key delete signer --yes") == kid


LISTED = {**KEY, "alg": HOSTILE, "state": HOSTILE, "aliases": [HOSTILE]}
SHOWN = {**KEY, "kid": HOSTILE, "labels": {HOSTILE: HOSTILE}}
PLAINTEXT = encode(HOSTILE.encode())
ANSWERS = {
    "key list": [[LISTED]],
    f"key show {KID}": [SHOWN],
    f"key export {KID}": [KEY, {"jwk": {HOSTILE: HOSTILE}}],
    "profile create x": [{"name": HOSTILE}],
    "profile list": [{"profiles": [HOSTILE]}],
    "profile jwks x public": [{"name": HOSTILE, "jwks": HOSTILE}],
    f"token revoke {'0' * 16}": [{"id": HOSTILE}],
    "status": [{"status": HOSTILE}],
    "doctor": [
        {"status": "alive"},
        {"status": "ready", "away": [HOSTILE]},
        {"info": {"version": HOSTILE}},
        {"id": None, "name": HOSTILE, "scopes": [HOSTILE], "profiles": None, "expires": None},
    ],
    "jwks": [{"keys": [{HOSTILE: HOSTILE}]}],
    f"jws sign {KID} x": [{"jws": HOSTILE}],
    f"attest {KID} x": [{"jwt": HOSTILE}],
    f'decrypt {KID} \'{{"ciphertext":""}}\'': [{"plaintext": PLAINTEXT}],
    f"box unseal {KID} ''": [{"plaintext": PLAINTEXT}],
    f"jwe decrypt {KID} x": [{"plaintext": PLAINTEXT, "header": {HOSTILE: HOSTILE}}],
}


@pytest.mark.parametrize("line", ANSWERS)
@pytest.mark.parametrize("options", ["", "--json"])
def test_an_answer_does_not_steer_the_terminal(minikms, line, options):
    answers = [(200, {}, json.dumps(answer)) for answer in ANSWERS[line]]
    with answering(*answers) as (url, _):
        written = on_a_terminal(f"mkms --url {url} {line} {options}", minikms)
    assert steering(written) == set()
    assert "x1b" in written or "u001b" in written


@pytest.mark.parametrize("redirection", ["", "2>&1 | cat"])
def test_nor_does_the_text_of_a_problem(minikms, redirection):
    status, headers, body = refusal("invalid-key", 422)
    body = json.dumps(
        {**json.loads(body), "detail": HOSTILE, "errors": [{"pointer": HOSTILE, "detail": HOSTILE}]}
    )
    with answering((status, headers, body)) as (url, _):
        line = f"set -o pipefail; mkms --url {url} key show {KID} {redirection}"
        written = on_a_terminal(line, minikms, code=5)
    assert steering(written) == set()
    assert r"\x1b" in written


def test_bytes_stay_as_they_are_where_nobody_looks(shell, minikms):
    key = minikms.generate_key("a256gcm", alias="\u202ebox")
    sealed = minikms.encrypt(HOSTILE.encode(), kid=key.kid)
    given = json.dumps(
        {name: encode(getattr(sealed, name)) for name in ("ciphertext", "nonce", "tag")}
    )
    assert shell(f"mkms decrypt {key.kid} '{given}'") == HOSTILE.rstrip("\n")
    assert shell("mkms key list | cut -f5") == "\u202ebox"
    shown = on_a_terminal(f"mkms decrypt {key.kid} '{given}' --output -", minikms)
    assert "\x1b[31m" in shown


def test_visible_characters_stay_unchanged():
    assert visible("did:example:1#2 ö 漢 \\ [x]") == "did:example:1#2 ö 漢 \\ [x]"
    assert visible("\x1b\x9b\u202e\u2028") == r"\x1b\x9b\u202e\u2028"
