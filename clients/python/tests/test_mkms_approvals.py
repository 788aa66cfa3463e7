"""`mkms approve` and `mkms approver`: what is asked in words, and signatures of people."""

import json
import re
import uuid

import pytest
from approving import private_jwk, rules
from commands import on_a_terminal

from minikms_client import ApprovalRequired, Client
from minikms_client.wire import encode


@pytest.fixture
def people(tmp_path):
    """The private JWKs of Ann and Bob, also in files."""
    found = {"ann": private_jwk("Ed25519"), "bob": private_jwk("P-384")}
    for name, jwk in found.items():
        (tmp_path / f"{name}.jwk").write_text(json.dumps(jwk))
    return found


def ask(call, *args, **options):
    with pytest.raises(ApprovalRequired) as error:
        call(*args, **options)
    return error.value.approval["id"]


def jws_of(**claims):
    """The claims of a credential, as bytes."""
    return json.dumps({"iss": "https://issuer.example", **claims}).encode()


def test_two_people_approve_a_signature(shell, minikms, people):
    kid = minikms.generate_key("p256", alias="root", rules=rules(2, **people)).kid
    named = ask(minikms.sign, b"hello", kid=kid)
    line = f"sign with root ({kid}): the text hello"
    assert shell("mkms approve").split("\t")[::4] == [named, line]
    asked, more = shell(f"mkms approve {named}").splitlines()
    assert asked == line
    assert re.fullmatch(r"asked by anybody; 0 of 2 approvals: nobody; expires 2\S+Z", more)
    assert shell(f"mkms approve {named} --jwk-file ann.jwk") == f"{named}\tpending\t1 of 2"
    assert line in shell.error
    assert shell(f"mkms approve {named} --jwk-file ann.jwk") == f"{named}\tpending\t1 of 2"
    assert shell(f"mkms approve {named} --jwk-file bob.jwk") == f"{named}\tapproved\t2 of 2"
    shown = json.loads(shell(f"mkms approve {named} --json"))
    assert (shown["state"], shown["words"][0]) == ("approved", line)
    signature = minikms.sign(b"hello", kid=kid).sig
    assert minikms.verify(b"hello", signature, kid=kid)


def test_a_key_of_another_service_approves(shell, minikms, guarded_url, admin_token, tmp_path):
    profile = f"approvals-{uuid.uuid4().hex}"
    with Client(guarded_url, token=admin_token) as admin:
        admin.create_profile(profile)
    (tmp_path / "token").write_text(admin_token)
    with Client(guarded_url, token=admin_token, profile=profile) as other:
        ann = other.generate_key("ed25519", alias="ann")
        shell(
            f"mkms context set {profile} --url {guarded_url} --token-file token --profile {profile}"
        )
        approver = {"name": "ann", "jwk": ann.jwk}
        kid = minikms.generate_key("p256", rules={"approval": {"approvers": [approver]}}).kid
        named = ask(minikms.sign, b"hello", kid=kid)
        for name in ("ann", ann.kid):
            done = shell(f"mkms approve {named} --key {name} --key-context {profile}")
            assert done == f"{named}\tapproved\t1 of 1"
        shell(f"mkms approve {named} --key nobody --key-context {profile}", code=3)
        minikms.sign(b"hello", kid=kid)
        other.generate_key("ed25519", alias="eve")
        named = ask(minikms.sign, b"hello", kid=kid)
        shell(f"mkms approve {named} --key eve --key-context {profile}", code=5)
        assert "No approver of the key" in shell.error
    shell(f"mkms context delete {profile}")


def test_an_own_key_approves(shell, minikms):
    ann = minikms.generate_key("p256", alias="ann")
    approval = {"approvers": [{"name": "ann", "jwk": ann.jwk}]}
    kid = minikms.generate_key("p256", rules={"approval": approval}).kid
    named = ask(minikms.sign, b"hello", kid=kid)
    assert shell(f"mkms approve {named} --key ann").endswith("1 of 1")


def test_what_is_asked_is_in_words(shell, minikms, people):
    kid = minikms.generate_key(
        "p256", alias="issuer", exportable=True, rules=rules(ann=people["ann"])
    ).kid
    key = f"issuer ({kid})"

    def words(call, *args, **options):
        named = ask(call, *args, **options)
        return shell(f"mkms approve {named}").splitlines()[:-1]

    claims = jws_of(vct="https://issuer.example/id", exp=1893456000)
    header = {"typ": "dc+sd-jwt"}
    assert words(minikms.sign_jws, claims, kid=kid, header=header) == [
        f"sign with {key}: JWS of type dc+sd-jwt, iss https://issuer.example,"
        " vct https://issuer.example/id, exp 2030-01-01T00:00:00Z"
    ]
    assert words(minikms.sign_jws, b"hello", kid=kid) == [
        f"sign with {key}: JWS, 5 bytes with the SHA-256"
        " LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
    ]
    # Text that could pass for other members is shown as JSON.
    assert words(minikms.sign_jws, jws_of(sub="a, exp never"), kid=kid) == [
        f'sign with {key}: JWS, iss https://issuer.example, sub "a, exp never"'
    ]
    assert words(minikms.sign, b"a\x1b[31m", kid=kid) == [
        rf'sign with {key}: the text "a\u001b[31m"'
    ]
    assert words(minikms.sign, bytes([255] * 32), kid=kid)[0].startswith(
        f"sign with {key}: 32 bytes with the SHA-256 "
    )
    digest = bytes(32)
    assert words(minikms.sign, digest, kid=kid, prehashed=True) == [
        f"sign with {key}: the digest {encode(digest)}"
    ]
    assert words(minikms.sign, bytes(20_000), kid=kid)[0].startswith(
        f"sign with {key}: bytes with the SHA-256 "
    )
    assert words(minikms.sign_cose, b"hello", kid=kid)[0].startswith(
        f"sign with {key}: COSE_Sign1, "
    )
    assert words(minikms.sign_batch, [b"one", b"two"], kid=kid) == [
        f"sign with {key}, 2 times:",
        "  the text one",
        "  the text two",
    ]
    subject = {"kid": kid, "subject": "CN=a"}
    (line,) = words(minikms.issue_certificate, "self-signed", 30, **subject)
    assert line.startswith(f"sign with {key}: certificate: profile self-signed, days 30, ")
    assert "subject CN=a" in line
    assert words(minikms.export_key, kid) == [f"export the private key of {key}"]
    looser = rules(**people)
    (line,) = words(minikms.update_key, kid, rules=looser)
    assert line.startswith(f"change the approvers of {key}: 1 of ann, bob; ")
    assert people["bob"]["x"] in line


def test_words_of_macs_and_deletions(shell, minikms, people):
    rule = rules(ann=people["ann"])
    rule["approval"]["delete"] = True
    kid = minikms.generate_key("hs256", rules=rule).kid
    named = ask(minikms.mac, b"hello", kid=kid)
    line = f"make a MAC with {kid}: the text hello"
    assert shell(f"mkms approve {named}").splitlines()[0] == line
    named = ask(minikms.delete_key, kid)
    assert shell(f"mkms approve {named}").splitlines()[0] == f"delete {kid}"
    shell(f"mkms approve {named} --jwk-file ann.jwk")
    minikms.delete_key(kid)


def test_a_use_is_withdrawn(shell, minikms, people):
    kid = minikms.generate_key("p256", rules=rules(ann=people["ann"])).kid
    named = ask(minikms.sign, b"hello", kid=kid)
    assert shell(f"mkms approve {named} --withdraw") == named
    assert shell("mkms approve") == ""
    shell(f"mkms approve {named}", code=3)


def test_a_terminal_asks_before_it_signs(minikms, people, tmp_path):
    kid = minikms.generate_key("p256", rules=rules(ann=people["ann"])).kid
    named = ask(minikms.sign, b"hello", kid=kid)
    line = f"mkms approve {named} --jwk-file {tmp_path}/ann.jwk"
    shown = on_a_terminal(line, minikms, typed="n\n", after="Approve it?", code=130)
    assert shown.index("the text hello") < shown.index("Approve it?")
    assert minikms.get_approval(named).state == "pending"
    on_a_terminal(line, minikms, typed="y\n", after="Approve it?")
    assert minikms.get_approval(named).state == "approved"
    assert "the text hello" in on_a_terminal("mkms approve", minikms).replace("\r\n ", "")


def test_approvers_are_added(shell, minikms, people):
    kid = minikms.generate_key("p256", alias="root").kid
    assert shell("mkms approver add root ann=ann.jwk --expires-in 10m --wait 1s") == kid
    rule = minikms.get_key(kid).rules["approval"]
    shown = {**rules(ann=people["ann"])["approval"], "expires_in": 600, "wait": 1, "delete": False}
    assert rule == shown
    both = "mkms approver add root bob=bob.jwk --threshold 2 --delete"
    shell(both, code=4)
    (waiting,) = minikms.list_approvals()
    assert waiting.id in shell.error
    shell(f"mkms approve {waiting.id} --jwk-file ann.jwk")
    shell(both)
    changed = minikms.get_key(kid).rules["approval"]
    assert [each["name"] for each in changed["approvers"]] == ["ann", "bob"]
    assert (changed["threshold"], changed["delete"]) == (2, True)
    assert people["bob"]["d"] not in json.dumps(changed)
    named = ask(minikms.delete_key, kid)
    for name in people:
        shell(f"mkms approve {named} --jwk-file {name}.jwk")
    minikms.delete_key(kid)


def test_a_passkey_is_added(shell, minikms, people, tmp_path):
    jwk = rules(ann=people["bob"])["approval"]["approvers"][0]["jwk"]
    passkey = {"id": "AAAA", "rp_id": "kms.example", "origins": ["https://kms.example"]}
    file = {"name": "of the console", "jwk": jwk, "passkey": passkey}
    (tmp_path / "passkey.json").write_text(json.dumps(file))
    kid = minikms.generate_key("p256", alias="root").kid
    shell("mkms approver add root eve=passkey.json")
    (approver,) = minikms.get_key(kid).rules["approval"]["approvers"]
    assert approver == {**file, "name": "eve"}


@pytest.mark.parametrize(
    "options",
    [
        "--jwk-file ann.jwk",
        "ID --jwk-file ann.jwk --key ann",
        "ID --key-context there",
        "ID --withdraw --key ann",
        "ID --jwk-file nothing.jwk",
        "ID --jwk-file public.jwk",
        "ID --jwk-file text",
        "ID --jwk-file list",
    ],
)
def test_a_wrong_command_is_refused_by_a_sentence(shell, minikms, people, tmp_path, options):
    (tmp_path / "public.jwk").write_text(json.dumps({**people["ann"], "d": None}))
    (tmp_path / "text").write_text("ann")
    (tmp_path / "list").write_text("[]")
    kid = minikms.generate_key("p256", rules=rules(ann=people["ann"])).kid
    named = ask(minikms.sign, b"hello", kid=kid)
    shell(f"mkms approve {options.replace('ID', named)}", code=2)
    assert people["ann"]["x"] not in shell.error
    for given in ("ann", "ann=", "ann=nothing.jwk", "ann=text", "ann=list"):
        shell(f"mkms approver add {kid} {given}", code=2)
    assert minikms.get_approval(named).state == "pending"
