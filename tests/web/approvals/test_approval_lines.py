"""The audit log has each approval, and proves each approved use without the store."""

import json

import pytest
from click.testing import CliRunner
from problems import refused
from web.approvals.approvers import Passkey, Signer, rule

from minikms.cli.audit import audit
from minikms.config import Config
from minikms.serve.assembly import create_service

DATA = "aGVsbG8"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def client(start, any_store, path):
    """A client of a service with an audit log."""
    return await start(create_service(Config(**any_store, audit_log=str(path))))


@pytest.fixture
def lines(path):
    """The lines with an approval."""

    def read():
        found = [json.loads(line) for line in path.read_bytes().splitlines()]
        return [line for line in found if "approval" in line]

    return read


@pytest.fixture
async def used(client, generate, asks, approves):
    """Use a key after two approvals, by a JWS and by a passkey."""
    ann, eve = Signer("ann"), Passkey("eve")
    key = await generate("p256", rules=rule(ann, eve, threshold=2))
    body = {"kid": key["kid"], "data": DATA}
    approval = await asks(body=body)
    await approves(approval, ann)
    await approves(approval, eve)
    assert (await client.post("/sign", json=body)).status == 200
    return approval, ann, eve


def verified(*paths):
    ended = CliRunner().invoke(audit, ["approvals", *map(str, paths)])
    return ended.exit_code, ended.output


@pytest.mark.each_store
async def test_each_step_has_its_line(used, lines, client):
    approval, ann, eve = used
    asked, by_ann, by_eve, use = lines()
    named = {"id": approval["id"]}
    assert (asked["operation"], asked["outcome"]) == ("sign", "approval-required")
    assert asked["approval"] == named
    assert (by_ann["operation"], by_ann["approval"]["by"]) == ("approve", "ann")
    assert by_ann["approval"]["proof"] == ann.proof(approval)["jws"] or by_ann["approval"]["proof"]
    assert set(by_eve["approval"]["proof"]) == {"clientDataJSON", "authenticatorData", "signature"}
    assert eve.id not in json.dumps(by_eve)
    assert (use["operation"], use["outcome"]) == ("sign", "success")
    assert use["approval"] == {**named, "by": ["ann", "eve"], "threshold": 2}
    assert {line["kid"] for line in lines()} == {approval["kid"]}

    path = f"/approvals/{approval['id']}"
    await refused(await client.post(path, json={"jws": "a"}), 404, "approval-not-found")
    last = lines()[-1]
    assert (last["outcome"], last["approval"]) == ("approval-not-found", named)


async def test_a_refused_proof_has_its_line(client, generate, asks, lines):
    key = await generate("p256", rules=rule(Signer()))
    approval = await asks(body={"kid": key["kid"], "data": DATA})
    answer = await client.post(f"/approvals/{approval['id']}", json={"jws": "a.b.c"})
    await refused(answer, 422, "invalid-approval")
    last = lines()[-1]
    assert (last["operation"], last["outcome"]) == ("approve", "invalid-approval")
    assert (last["kid"], last["approval"]) == (key["kid"], {"id": approval["id"]})


async def test_a_use_is_proven_by_the_log_alone(used, path):
    assert verified(path) == (0, "1 uses are proven: nothing wrong.\n")


def changed_approval(line, **members):
    line["approval"].update(members)


TAMPERED = {
    "another threshold": lambda made: changed_approval(made[3], threshold=3),
    "no threshold": lambda made: changed_approval(made[3], threshold=0),
    "another name": lambda made: changed_approval(made[3], by=["ann", "bob"]),
    "another key": lambda made: made[3].update(kid="other"),
    "another profile": lambda made: made[3].update(profile="other"),
    "a later use": lambda made: made[3].update(time="2036-01-01T00:00:00.000Z"),
    "a missing approval": lambda made: made.pop(1),
    "another signer": lambda made: changed_approval(made[1], jwk=Signer().jwk),
    "another origin": lambda made: changed_approval(made[2], origins=["https://a.example"]),
    "another relying party": lambda made: changed_approval(made[2], rp_id="a.example"),
    "another document": lambda made: changed_approval(made[2], document="e30"),
    "no key": lambda made: made[1]["approval"].pop("jwk"),
    "a second use": lambda made: made.append(made[3]),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
async def test_a_use_that_is_not_proven_is_found(used, lines, tmp_path, tamper):
    made = lines()
    tamper(made)
    other = tmp_path / "other.log"
    other.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in made))
    code, output = verified(other)
    assert code == 1
    assert "nothing wrong" not in output


def test_a_file_that_is_not_there(tmp_path):
    code, output = verified(tmp_path / "none")
    assert code == 2
    assert "cannot be read" in output
