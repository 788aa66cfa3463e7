"""Secrets, messages and batches: commands of the newer operations."""

import json

import pytest

from minikms_client.wire import decode


def test_a_secret_is_derived(command, minikms, tmp_path):
    for alias in ("reader", "writer"):
        command(f"mkms key generate x25519 --alias {alias}")
    secret = command("mkms derive reader --with writer")
    assert len(decode(secret)) == 32
    jwk = dict(minikms.find_key("reader").jwk)
    (tmp_path / "reader.jwk").write_text(json.dumps(jwk))
    command("mkms derive writer --with-jwk reader.jwk --output secret")
    assert (tmp_path / "secret").read_bytes() == decode(secret)
    command("mkms derive writer", code=2)
    assert "--with" in command.error
    command("mkms derive writer --with reader --with-jwk reader.jwk", code=2)


def test_a_secret_is_encapsulated(command, minikms):
    command("mkms key generate mlkem768 --alias kem")
    made = command("mkms encapsulate --to kem")
    secret = json.loads(made)["secret"]
    assert command("mkms decapsulate kem", given=made.encode()) == secret
    assert command(f"mkms decapsulate kem {json.loads(made)['ciphertext']}") == secret
    command("mkms encapsulate", code=2)
    command("mkms decapsulate kem '{}'", code=2)
    assert "ciphertext" in command.error


def test_a_message_is_sealed_by_hpke(command):
    command("mkms key generate p256 --alias reader")
    sealed = "mkms hpke seal hello --to reader --info v1 --aad v2 --aead ChaCha20Poly1305"
    opened = "mkms hpke open reader --info v1 --aad v2"
    assert command(f"{sealed} | {opened} --aead ChaCha20Poly1305") == "hello"
    command(f"{sealed} | {opened}", code=5)
    command(f"{sealed} | mkms hpke open reader --info v1 --aead ChaCha20Poly1305", code=5)
    command("mkms hpke seal hello", code=2)
    command("mkms hpke open reader hello", code=2)
    assert "not JSON" in command.error


def test_a_message_is_packed_for_didcomm(command, minikms):
    operations = "--operation box --operation box-open"
    for alias in ("alice", "bob"):
        command(f"mkms key generate ed25519 --alias {alias} {operations}")
    packed = "mkms didcomm pack hello --to bob --from alice"
    assert command(f"{packed} | mkms didcomm unpack") == "hello"
    shown = json.loads(command(f"{packed} | mkms didcomm unpack --json"))
    assert shown["from"] == minikms.find_key("alice").b58
    verkey = minikms.find_key("bob").b58
    assert command(f"mkms didcomm pack hello --to-verkey {verkey} | mkms didcomm unpack") == "hello"
    command("mkms didcomm pack hello", code=2)
    command("mkms didcomm unpack []", code=2)


@pytest.mark.parametrize("count", [1, 2500])
def test_lines_are_signed_and_verified(command, minikms, tmp_path, count):
    minikms.generate_key("ed25519", alias="signer")
    messages = [f"message {n}".encode() for n in range(count)]
    (tmp_path / "messages").write_bytes(b"\n".join(messages) + b"\n")
    signatures = command("mkms sign-batch signer --file messages")
    sigs = [decode(line) for line in signatures.splitlines()]
    assert len(sigs) == count
    assert minikms.verify(messages[-1], sigs[-1], alias="signer")
    (tmp_path / "signatures").write_text(signatures + "\n")
    verified = command("mkms verify-batch signer signatures --file messages")
    assert verified.splitlines() == ["valid"] * count


def test_a_line_that_is_not_valid_or_refused(command, minikms, tmp_path):
    minikms.generate_key("p256", alias="signer")
    (tmp_path / "messages").write_bytes(b"one\ntwo")
    signatures = command("mkms sign-batch signer --file messages")
    (tmp_path / "signatures").write_text(signatures)
    swapped = "mkms verify-batch signer signatures"
    assert command(swapped, code=1, given=b"one\nthree\n").splitlines() == ["valid", "not valid"]
    command(swapped, code=2, given=b"one\n")
    assert "1 messages and 2 signatures" in command.error
    # A digest has the length of its hash.
    digests = b"AAAA\n" + b"A" * 43 + b"\n"
    signed = command("mkms sign-batch signer --base64url --prehashed", code=5, given=digests)
    first, second = signed.splitlines()
    assert (first, len(decode(second))) == ("", 64)
    assert command.error.startswith("mkms: Line 1: ")
    shown = command("mkms sign-batch signer --base64url --prehashed --json", 5, digests)
    assert json.loads(shown.splitlines()[0])["problem"]["slug"]
    assert command("mkms sign-batch signer", given=b"") == ""
    command("mkms sign-batch nobody", code=3, given=b"one\n")
