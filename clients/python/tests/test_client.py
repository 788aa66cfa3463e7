"""Both clients, call by call, against a real server; other libraries verify the results."""

import hmac
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from answering import KEY, answering
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from minikms_client import (
    AliasNotFound,
    Client,
    Conflict,
    DecryptionFailed,
    InvalidCose,
    KeyExists,
    KeyNotFound,
    KeyNotUsable,
    NotFound,
    RulesLoosened,
    RuleViolated,
    TooEarly,
    UnexpectedAnswer,
    UnsupportedOption,
    ValidationFailed,
)
from minikms_client.pytest_plugin import serve
from minikms_client.wire import decode

EXAMPLE = "did:example:123#key-1"


def test_the_example_of_the_readme(minikms):
    key = minikms.generate_key("ed25519", alias=EXAMPLE)
    signed = minikms.sign(b"hello", alias=EXAMPLE)
    assert (signed.alg, signed.kid) == ("EdDSA", key.kid)
    assert minikms.verify(b"hello", signed.sig, kid=key.kid)
    assert not minikms.verify(b"hallo", signed.sig, kid=key.kid)
    assert [one.kid for one in minikms.keys(alg="ed25519")] == [key.kid]
    Ed25519PublicKey.from_public_bytes(decode(key.jwk["x"])).verify(signed.sig, b"hello")


async def test_the_public_key_in_pem(kms, minikms):
    key = minikms.generate_key("ed25519", alias=EXAMPLE)
    pem = minikms.get_pem(kid=key.kid)
    public = load_pem_public_key(pem.encode())
    assert public.public_bytes_raw() == decode(key.jwk["x"])
    assert minikms.get_pem(alias=EXAMPLE) == await kms.get_pem(alias=EXAMPLE) == pem
    with pytest.raises(UnsupportedOption):
        minikms.get_pem(kid=minikms.generate_key("a256gcm").kid)
    with pytest.raises(AliasNotFound):
        minikms.get_pem(alias="nope")
    for given in {}, {"kid": key.kid, "alias": EXAMPLE}:
        with pytest.raises(TypeError):
            minikms.get_pem(**given)


@pytest.mark.parametrize("body", [json.dumps(KEY), b"\xff", ""])
def test_an_answer_that_is_not_pem_is_unexpected(body):
    with (
        answering((200, {}, body)) as (url, _),
        Client(url, token="") as client,
        pytest.raises(UnexpectedAnswer),
    ):
        client.get_pem(kid="a")


async def test_the_same_for_asyncio(kms):
    key = await kms.generate_key("ed25519", alias=EXAMPLE)
    signed = await kms.sign(b"hello", alias=EXAMPLE)
    assert await kms.verify(b"hello", signed.sig, jwk=key.jwk)
    assert [one async for one in kms.keys(alg="ed25519")] == [key]
    with pytest.raises(NotFound):
        await kms.get_key("nobody")


def test_a_key_has_all_of_its_options(minikms):
    expires = datetime(2090, 1, 31, 12, tzinfo=UTC)
    key = minikms.generate_key(
        "p256", labels={"a": "b"}, operations=["sign"], exportable=True, expires=expires
    )
    assert key.labels == {"a": "b"}
    assert key.operations == ("sign",)
    assert (key.exportable, key.expires, key.state) == (True, expires, "enabled")
    assert key.created.tzinfo is not None
    assert minikms.get_key(key.kid) == key
    assert minikms.export_key(key.kid)["x"] == key.jwk["x"]


def test_a_key_is_changed_named_rotated_and_deleted(minikms):
    key = minikms.generate_key("ed25519", expires=datetime(2090, 1, 1, tzinfo=UTC))
    assert minikms.associate_alias(key.kid, EXAMPLE).kid == key.kid
    assert minikms.find_key(EXAMPLE).aliases == (EXAMPLE,)
    assert minikms.update_key(key.kid, labels={"x": "y"}).expires is not None
    assert minikms.update_key(key.kid, expires=None).expires is None
    assert minikms.update_key(key.kid, state="disabled").state == "disabled"
    minikms.update_key(key.kid, state="enabled")
    new = minikms.rotate_key(key.kid)
    assert minikms.find_key(EXAMPLE).kid == new.kid
    assert minikms.dissociate_alias(new.kid, EXAMPLE).alias == EXAMPLE
    with pytest.raises(AliasNotFound):
        minikms.find_key(EXAMPLE)
    assert minikms.delete_key(new.kid, after=timedelta(days=7)).deletes > datetime.now(UTC)
    assert minikms.restore_key(new.kid).deletes is None
    assert minikms.delete_key(new.kid).deletes is None
    with pytest.raises(KeyNotFound) as caught:
        minikms.get_key(new.kid)
    assert (caught.value.slug, caught.value.status) == ("key-not-found", 404)
    assert caught.value.request_id


def test_a_next_key_is_published_before_it_signs(minikms):
    day = timedelta(days=1)
    given = {"rotate_every": 90 * day, "publish_ahead": 2 * day, "retire_after": 31 * day}
    key = minikms.generate_key("ed25519", alias=EXAMPLE, **given)
    assert (key.publish_ahead, key.retire_after) == (2 * day, 31 * day)
    assert minikms.generate_keys("ed25519", 1, **given)[0].retire_after == 31 * day
    with pytest.raises(TooEarly) as caught:
        minikms.rotate_key(key.kid, if_published=timedelta())
    assert isinstance(caught.value, Conflict)
    following = minikms.next_key(key.kid)
    assert (following.state, following.follows) == ("next", key.kid)
    assert minikms.next_key(key.kid) == following
    assert minikms.get_key(key.kid).next == following.kid
    assert list(minikms.keys(state="next")) == [following]
    assert minikms.list_keys(state="next", alg="p256").keys == ()
    with pytest.raises(KeyNotUsable):
        minikms.sign(b"hello", kid=following.kid)
    with pytest.raises(TooEarly):
        minikms.rotate_key(key.kid, if_published=day)
    new = minikms.rotate_key(key.kid, if_published=timedelta())
    assert (new.kid, new.state, new.follows) == (following.kid, "enabled", None)
    retires = minikms.get_key(key.kid).retires
    assert abs(datetime.now(UTC) + 31 * day - retires) < timedelta(minutes=1)
    changed = minikms.update_key(new.kid, publish_ahead=day, retire_after=None)
    assert (changed.publish_ahead, changed.retire_after) == (day, None)
    assert minikms.update_key(new.kid, publish_ahead=None).publish_ahead is None


def test_a_key_is_rotated_on_a_schedule_and_its_use_is_noted(minikms):
    every = timedelta(days=90)
    key = minikms.generate_key("ed25519", alias=EXAMPLE, rotate_every=every)
    assert (key.rotate_every, key.rotates - key.created) == (every, every)
    assert minikms.generate_keys("ed25519", 2, rotate_every=every)[1].rotate_every == every
    assert minikms.update_key(key.kid, rotate_every=2 * every).rotate_every == 2 * every
    assert minikms.update_key(key.kid, labels={}).rotate_every == 2 * every
    assert minikms.update_key(key.kid, rotate_every=None).rotates is None
    assert key.last_used is None
    minikms.sign(b"hello", alias=EXAMPLE)
    assert abs(datetime.now(UTC) - minikms.get_key(key.kid).last_used) < timedelta(minutes=1)
    assert list(minikms.keys(unused=timedelta(days=30))) == []


def test_a_key_is_made_for_a_time(minikms):
    after = timedelta(minutes=10)
    key = minikms.generate_key("p256", delete_after=after)
    assert (key.state, key.deletes - key.created) == ("enabled", after)
    assert minikms.generate_keys("p256", 2, delete_after=after)[1].deletes > key.deletes
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    imported = minikms.import_key(jwk=jwk, delete_after=after)
    assert imported.deletes - imported.created == after
    assert minikms.restore_key(key.kid).deletes == key.deletes


def test_a_listing_has_every_page(minikms):
    made = minikms.generate_keys("ed25519", 25, labels={"kind": "holder"})
    other = minikms.generate_key("p256")
    page = minikms.list_keys(limit=20)
    rest = minikms.list_keys(limit=20, after=page.after)
    assert [key.kid for key in page.keys + rest.keys] == [key.kid for key in [*made, other]]
    assert rest.after is None
    assert list(minikms.keys(label={"kind": "holder"})) == list(made)


def test_every_way_to_import(minikms):
    secret = minikms.random(32)
    key = minikms.import_key(alg="ed25519", secret=secret, exportable=True)
    jwk = minikms.export_key(key.kid)
    minikms.delete_key(key.kid)
    assert minikms.import_key(alg="ed25519", seed=secret).jwk == key.jwk
    minikms.delete_key(key.kid)
    assert minikms.import_key(jwk=jwk, alias=EXAMPLE).aliases == (EXAMPLE,)
    with pytest.raises(KeyExists):
        minikms.import_key(jwk=jwk)
    wrapper = minikms.generate_key("a256kw")
    wrapped = minikms.wrap(secret, kid=wrapper.kid)
    assert minikms.unwrap(wrapped, kid=wrapper.kid) == secret
    mac_key = minikms.import_key(alg="hs256", wrapped=wrapped, unwrap_kid=wrapper.kid)
    expected = hmac.digest(secret, b"data", "sha256")
    assert minikms.mac(b"data", kid=mac_key.kid) == expected
    assert minikms.verify_mac(b"data", expected, kid=mac_key.kid)


def test_keys_encrypt_and_agree_on_secrets(minikms):
    key = minikms.generate_key("a256gcm", alias="box")
    sealed = minikms.encrypt(b"secret", alias="box", aad=b"head")
    opened = minikms.decrypt(sealed.ciphertext, sealed.nonce, sealed.tag, kid=key.kid, aad=b"head")
    assert opened == b"secret"
    with pytest.raises(DecryptionFailed):
        minikms.decrypt(sealed.ciphertext, sealed.nonce, sealed.tag, kid=key.kid)
    one, other = minikms.generate_key("x25519"), minikms.generate_key("x25519")
    assert minikms.derive(other.jwk, kid=one.kid) == minikms.derive(one.jwk, kid=other.kid)


def test_rsa_encrypts_to_a_public_key(minikms):
    key = minikms.generate_key("rsa2048")
    sealed = minikms.encrypt(b"secret", jwk=key.jwk)
    assert (sealed.nonce, sealed.tag) == (None, None)
    assert minikms.decrypt(sealed.ciphertext, kid=key.kid) == b"secret"


def test_boxes_are_made_and_opened(minikms):
    alice, bob = minikms.generate_key("x25519"), minikms.generate_key("x25519")
    box = minikms.make_box(b"hello", bob.jwk, kid=alice.kid)
    assert minikms.open_box(box.ciphertext, box.nonce, alice.jwk, kid=bob.kid) == b"hello"
    sealed = minikms.seal_box(b"hello", bob.jwk)
    assert minikms.open_sealed_box(sealed, kid=bob.kid) == b"hello"
    with pytest.raises(DecryptionFailed):
        minikms.open_sealed_box(sealed, kid=alice.kid)


def test_didcomm_messages_are_packed_and_unpacked(minikms):
    operations = ["sign", "verify", "box", "box-open"]
    alice, bob = (minikms.generate_key("ed25519", operations=operations) for _ in range(2))
    packed = minikms.pack_didcomm([bob.b58], b"hello", from_=alice.kid)
    found = minikms.unpack_didcomm(packed)
    assert (found.message, found.to, found.from_) == (b"hello", bob.b58, alice.b58)
    assert found.kid == bob.kid
    assert minikms.unpack_didcomm(minikms.pack_didcomm([bob.b58], b"hello")).from_ is None


def test_secrets_are_encapsulated_and_hpke_messages_opened(minikms):
    key = minikms.generate_key("mlkem768")
    made = minikms.encapsulate(key.jwk)
    assert minikms.decapsulate(made.ciphertext, kid=key.kid) == made.secret
    assert repr(made.secret) not in repr(made)
    device = minikms.generate_key("p256", alias="device")
    bound = {"info": b"session", "aad": b"header"}
    sealed = minikms.seal_hpke(b"hello", device.jwk, **bound)
    opened = minikms.open_hpke(sealed.enc, sealed.ciphertext, alias="device", **bound)
    assert opened == b"hello"


def test_a_jwe_is_made_and_opened(minikms):
    key = minikms.generate_key("x25519", alias="reader")
    recipients = [{"jwk": key.jwk, "alg": "ECDH-ES+A256KW"}]
    jwe = minikms.encrypt_jwe(b"hello", "A256GCM", recipients, header={"typ": "text"})
    found = minikms.decrypt_jwe(jwe, alias="reader")
    assert (found.plaintext, found.header["typ"]) == (b"hello", "text")
    sender = minikms.generate_key("x25519", alias="writer")
    recipients = [{"kid": key.kid, "alg": "ECDH-1PU+A256KW"}]
    jwe = minikms.encrypt_jwe(
        b"hello", "A256CBC-HS512", recipients, from_="writer", serialization="general"
    )
    assert minikms.decrypt_jwe(jwe, kid=key.kid, from_=sender.jwk).plaintext == b"hello"


def test_batches_sign_and_verify(minikms):
    key = minikms.generate_key("p256")
    results = minikms.sign_batch([b"a", b"b"], kid=key.kid)
    pairs = list(zip([b"a", b"x"], [result.sig for result in results], strict=True))
    assert [one.valid for one in minikms.verify_batch(pairs, kid=key.kid)] == [True, False]
    [refused] = minikms.sign_batch([b"short"], kid=key.kid, prehashed=True)
    assert refused.sig is None
    assert isinstance(refused.problem, ValidationFailed)


def test_a_cose_message_is_signed_and_verified(minikms):
    key = minikms.generate_key("p256")
    found = minikms.get_key(key.kid)
    assert found.cose_key.startswith(b"\xa4\x01\x02\x20\x01\x21\x58\x20")
    cose = minikms.sign_cose(b"payload", kid=key.kid, typ="text/plain", external_aad=b"aad")
    verified = minikms.verify_cose(cose, jwk=key.jwk, external_aad=b"aad")
    assert (verified.valid, verified.payload) == (True, b"payload")
    assert verified.protected == b"\xa2\x01\x26\x10\x6atext/plain"
    assert verified.unprotected == b"\xa1\x04\x58\x2b" + key.kid.encode()
    detached = minikms.sign_cose(b"payload", kid=key.kid, detached=True, kid_header="none")
    assert minikms.verify_cose(detached, kid=key.kid, payload=b"payload").valid
    assert not minikms.verify_cose(detached, kid=key.kid, payload=b"other").valid
    with pytest.raises(InvalidCose):
        minikms.verify_cose(b"\x80", kid=key.kid)


def test_a_jws_is_verified_by_pyjwt(minikms):
    key = minikms.generate_key("p256", alias=EXAMPLE)
    token = minikms.sign_jws(b'{"sub":"alice"}', alias=EXAMPLE, header={"typ": "JWT"})
    verified = minikms.verify_jws(token, kid=key.kid)
    assert (verified.valid, verified.payload) == (True, b'{"sub":"alice"}')
    assert verified.header["kid"] == EXAMPLE
    assert jwt.decode(token, jwt.PyJWK(dict(key.jwk)), algorithms=["ES256"]) == {"sub": "alice"}
    found = minikms.jwks()
    assert {one["kid"] for one in found.keys} == {key.kid, EXAMPLE}
    assert minikms.jwks(if_none_match=found.etag) is None


def test_profiles_are_created_changed_and_deleted(minikms):
    name = f"{minikms.profile}-2"
    assert minikms.create_profile(name) == name
    other = minikms.for_profile(name)
    key = other.generate_key("ed25519")
    with pytest.raises(KeyNotFound):
        minikms.get_key(key.kid)
    assert name in minikms.list_profiles()
    assert minikms.change_profile(name, jwks="public").jwks == "public"
    assert minikms.delete_profile(name)
    assert not minikms.delete_profile(name)


def test_profiles_of_every_page_are_listed():
    names = tuple(f"p{number:03}" for number in range(120))
    with serve() as url, Client(url, token="") as kms:
        for name in names:
            kms.create_profile(name)
        kms.change_profile("p119", jwks="public", max_keys=7)
        assert kms.list_profiles() == ("default", *names)
        assert {name: one.max_keys for name, one in kms.profile_settings().items()} == {"p119": 7}


def test_the_service_lists_its_algorithms_and_health(minikms):
    assert "ed25519" in {one.name for one in minikms.list_algorithms()}
    assert minikms.healthz() == "alive"
    assert minikms.readyz() == "ready"


def test_a_field_that_is_not_valid_is_named(minikms):
    with pytest.raises(ValidationFailed) as caught:
        minikms.random(0)
    assert [pointer for pointer, _ in caught.value.errors] == ["#/length"]
    assert "#/length" in str(caught.value)


def test_a_key_has_one_name(minikms):
    with pytest.raises(TypeError, match="one way"):
        minikms.sign(b"hello")
    with pytest.raises(TypeError, match="one way"):
        minikms.sign(b"hello", kid="a", alias="b")


def test_a_time_has_its_zone(minikms):
    with pytest.raises(ValueError, match="zone"):
        minikms.generate_key("ed25519", expires=datetime(2090, 1, 1))


def test_a_key_has_rules(minikms):
    key = minikms.generate_key("p256", rules="status-list")
    assert key.rules["raw"] is False
    tighter = {**key.rules, "per_minute": 60}
    assert minikms.update_key(key.kid, rules=tighter).rules == tighter
    with pytest.raises(RulesLoosened):
        minikms.update_key(key.kid, rules=key.rules)
    with pytest.raises(RuleViolated) as error:
        minikms.sign(b"hello", kid=key.kid)
    assert "raw" in error.value.detail
    assert minikms.generate_key("p256").rules is None
    [made] = minikms.generate_keys("p256", 1, rules={"raw": False})
    assert made.rules == {"raw": False}
