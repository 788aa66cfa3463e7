"""The command `mkms`, as it is typed: in a shell, in pipes and on a terminal."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import cbor2
import pytest
import trustme
from click.testing import CliRunner
from commands import COMMANDS, environment
from cryptography import x509

from minikms_client import Client, InvalidCose, RuleViolated
from minikms_client.cli.main import mkms
from minikms_client.cli.session import Session
from minikms_client.pytest_plugin import serve
from minikms_client.wire import decode, encode


def test_from_nothing_to_a_signature(shell, minikms):
    kid = shell("mkms key generate ed25519 did:example:123#key-1")
    sig = shell("mkms sign did:example:123#key-1 hello")
    assert shell(f"mkms verify {kid} hello --sig {sig}") == "valid"
    assert shell(f"mkms verify {kid} hallo --sig {sig}", code=1) == "not valid"
    assert minikms.verify(b"hello", decode(sig), kid=kid)
    assert shell("echo -n hello | mkms sign did:example:123#key-1") == sig


def test_a_new_key_has_a_name_that_no_other_key_has(command, minikms):
    kid = command("mkms key generate p256 issuer")
    assert minikms.find_key("issuer").kid == kid
    command("mkms key generate p256 issuer", code=5)
    assert minikms.find_key("issuer").kid == kid
    assert len(minikms.list_keys().keys) == 1
    moved = command("mkms key generate p256 issuer --alias-taken move")
    assert minikms.find_key("issuer").kid == moved
    exported = command("mkms key generate p256 backup --exportable")
    private = command("mkms key export backup").encode()
    minikms.delete_key(exported)
    command("mkms key import - issuer", code=5, given=private)
    assert command("mkms key import - backup", given=private) == exported
    assert minikms.find_key("backup").kid == exported
    for wrong in ("a --alias b", "a --count 2"):
        command(f"mkms key generate p256 {wrong}", code=2)


def test_without_the_extra_mkms_names_it_in_one_sentence():
    script = "import sys; sys.modules['click'] = None; from mkms import mkms; mkms()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mkms: ")
    assert done.stderr.count("\n") == 1
    assert "minikms-client[cli]" in done.stderr


def test_a_public_key_in_pem(shell, minikms):
    kid = shell("mkms key generate p256 --alias signer")
    pem = minikms.get_pem(kid=kid)
    for name in "signer", kid:
        assert shell(f"mkms key show {name} --pem") + "\n" == pem
    assert json.loads(shell("mkms key show signer --pem --json")) == {"pem": pem}
    shell("mkms key generate a256gcm --alias box")
    shell("mkms key show box --pem", code=5)
    shell("mkms key show nope --pem", code=3)


def test_an_alias_that_looks_like_a_kid(command):
    kid = command("mkms key generate p256 --alias signer")
    shown = json.loads(command("mkms --json key show signer"))
    assert (shown["kid"], shown["aliases"]) == (kid, ["signer"])
    command("mkms sign signer hello")


def test_a_name_is_one_call(shell, tmp_path):
    """mkms finds a key by name with one call: the audit log has no failed attempts."""
    log = tmp_path / "audit.log"
    with serve("--audit-log", str(log)) as url:
        mkms = f"mkms --url {url} --profile default"
        kid = shell(f"{mkms} key generate x25519 --alias box --operation derive --operation box")
        made = shell(f"{mkms} key generate ed25519 --alias signer")
        sig = shell(f"{mkms} sign signer hello")
        for name in ("signer", made):
            shell(f"{mkms} sign {name} hello")
            shell(f"{mkms} verify {name} hello --sig {sig}")
            shell(f"{mkms} jws sign {name} hello")
            shell(f"{mkms} key show {name}")
        for name in ("box", kid):
            shell(f"{mkms} box make {name} hello --to box")
            shell(f"{mkms} jwe encrypt --to {name} hello")
        shell(f"{mkms} key update signer --label a=b")
        shell(f"{mkms} key delete signer")
        shell(f"{mkms} sign signer hello", code=3)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    outcomes = [line["outcome"] for line in lines if "outcome" in line]
    assert outcomes.count("success") == len(outcomes) - 1
    assert outcomes[-1] == "alias-not-found"


def test_an_alias_of_the_length_of_a_kid(command):
    alias = "a" * 43
    kid = command(f"mkms key generate p256 --alias {alias}")
    assert json.loads(command(f"mkms sign {alias} hello --json"))["kid"] == kid


@pytest.mark.parametrize(("number", "begin"), [(33, "-d"), (1885, "--")])
def test_a_kid_that_begins_with_hyphens(shell, command, minikms, number, begin):
    """One kid in 64 begins with a hyphen, and one in 4,096 with two."""
    secret = number.to_bytes(32, "big")
    kid = minikms.import_key(alg="ed25519", secret=secret, exportable=True).kid
    assert kid.startswith(begin)
    assert shell(f"mkms key export {kid} | wc -l").strip() == "1"
    sig = command(f"mkms sign {kid} -x --encoding raw")
    assert command(f"mkms verify --sig={sig} {kid} -x") == "valid"
    assert command(f"mkms verify {kid} -x --sig {sig}") == "valid"
    assert command(f"mkms sign {kid} -- --data") != sig
    for wrong in ("--data", f"--fil={'a' * 43}"):
        command(f"mkms sign {kid} {wrong}", code=2)
        assert "No such option" in command.error
    assert command(f"mkms key delete {kid}") == kid


def test_data_and_signatures_pass_through_files(shell, command, tmp_path, minikms):
    command("mkms key generate p256 --alias signer")
    (tmp_path / "data").write_bytes(bytes(range(256)))
    command("mkms sign signer --file data --output sig --encoding der")
    assert command("mkms verify signer --file data --sig-file sig --encoding der") == "valid"
    assert minikms.verify(
        bytes(range(256)), (tmp_path / "sig").read_bytes(), alias="signer", encoding="der"
    )
    assert len(shell("mkms random 16 --output - | base64 -w0")) == 24


def test_a_signature_file_has_what_sign_writes(shell, command, tmp_path):
    (tmp_path / "data").write_bytes(bytes(range(256)))
    for alg, encoding in (("ed25519", "raw"), ("p256", "der"), ("rsa2048", "raw")):
        command(f"mkms key generate {alg} {alg}")
        options = "" if alg == "rsa2048" else f"--encoding {encoding}"
        verify = f"mkms verify {alg} --sig-file sig {options}"
        for write in (">sig", "--output sig", "--output - >sig"):
            shell(f"mkms sign {alg} {options} <data {write}")
            assert shell(f"{verify} <data") == "valid"
            assert shell(f"{verify} hello", code=1) == "not valid"


def test_the_output_of_one_command_is_input_of_another(shell, command):
    command("mkms key generate a256gcm --alias box")
    command("mkms key generate a256kw --alias wrapper")
    assert shell("mkms encrypt box secret --aad head | mkms decrypt box --aad head") == "secret"
    assert command("mkms encrypt box secret | mkms decrypt box --aad head", code=5) == ""
    assert command.error == "mkms: The ciphertext cannot be decrypted.\n"
    unwrapped = command("mkms wrap wrapper | mkms unwrap wrapper", given=bytes(32))
    assert decode(unwrapped) == bytes(32)
    command("mkms key generate hs256 --alias mac")
    code = command("mkms mac mac hello")
    assert command(f"mkms mac mac hello --check {code}") == "valid"
    assert command(f"mkms mac mac hallo --check {code}", code=1) == "not valid"


def test_a_jws_is_signed_and_verified(command, minikms):
    command("mkms key generate p256 --alias issuer")
    token = command("""mkms jws sign issuer '{"sub":"alice"}' --header '{"typ":"JWT"}'""")
    assert minikms.verify_jws(token, alias="issuer").header["typ"] == "JWT"
    found = json.loads(command(f"mkms --json jws verify issuer {token}"))
    assert decode(found["payload"]) == b'{"sub":"alice"}'
    assert command(f"mkms jws verify issuer {token}x", code=1) == "not valid"
    kids = {key["kid"] for key in json.loads(command("mkms jwks"))["keys"]}
    assert "issuer" in kids


def test_a_jws_is_signed_and_verified_in_json(command, minikms):
    minikms.generate_key("p256", alias="issuer")
    for form in ("flattened", "general"):
        made = command(f"mkms jws sign issuer hello --serialization {form}")
        assert minikms.verify_jws(json.loads(made), alias="issuer").payload == b"hello"
        assert command(f"mkms jws verify issuer '{made}'") == "valid"
        changed = made.replace('"payload": "', '"payload": "A')
        assert command(f"mkms jws verify issuer '{changed}'", code=1) == "not valid"


def test_disclosures_are_shown_to_the_rules(command, minikms):
    rules = {"jws": {"disclosures": "shown"}}
    minikms.generate_key("p256", alias="issuer", rules=rules)
    # RFC 9901 section 5.1
    shown = "WyIyR0xDNDJzS1F2ZUNmR2ZyeU5STjl3IiwgImdpdmVuX25hbWUiLCAiSm9obiJd"
    payload = '{"_sd":["jsu9yVulwQQlhFlM_3JlzMaSFzglhQG0DpfayQwLUK4"]}'
    made = command(f"mkms jws sign issuer '{payload}' --disclosure {shown}")
    assert minikms.verify_jws(made, alias="issuer").valid
    with pytest.raises(RuleViolated):
        minikms.sign_jws(payload.encode(), alias="issuer", disclosures=[])


RULES = {"jws": {"claims": {"iss": ["https://issuer.example"]}}, "cose": True}
CLAIMS = b'{"iss":"https://issuer.example"}'


def test_a_signing_input_of_a_library_is_signed(command, minikms):
    minikms.generate_key("p256", alias="issuer", rules=RULES)
    header = encode(b'{"alg":"ES256"}')
    asked = f"{header}.{encode(CLAIMS)}"
    made = command(f"mkms jws sign-input issuer {asked}")
    assert minikms.verify_jws(f"{asked}.{made.rstrip('=')}", alias="issuer").payload == CLAIMS
    shown = json.loads(command(f"mkms --json jws sign-input issuer {asked}"))
    assert shown["alg"] == "ES256"
    with pytest.raises(RuleViolated):
        minikms.sign_signing_input(asked.replace(encode(CLAIMS), "e30"), alias="issuer")


def test_a_sig_structure_of_a_library_is_signed(command, minikms, tmp_path):
    minikms.generate_key("p256", alias="issuer")
    asked = bytes.fromhex("846a5369676e61747572653143a10126404568656c6c6f")
    (tmp_path / "structure.cbor").write_bytes(asked)
    made = decode(command("mkms cose sign-structure issuer --file structure.cbor"))
    cose = bytes.fromhex("8443a10126a04568656c6c6f5840") + made
    assert minikms.verify_cose(cose, alias="issuer").payload == b"hello"
    with pytest.raises(InvalidCose):
        minikms.sign_sig_structure(asked[1:], alias="issuer")


def test_a_cose_message_is_signed_and_verified(command, minikms, tmp_path):
    command("mkms key generate p256 --alias issuer")
    made = command("mkms cose sign issuer hello --typ application/cwt --aad context")
    found = minikms.verify_cose(decode(made), alias="issuer", external_aad=b"context")
    assert (found.valid, found.payload) == (True, b"hello")
    shown = json.loads(command(f"mkms --json cose verify issuer {made} --aad context"))
    assert decode(shown["payload"]) == b"hello"
    assert command(f"mkms cose verify issuer {made}", code=1) == "not valid"
    command("mkms cose sign issuer hello --detached --untagged --kid-header none --output m.cose")
    assert (tmp_path / "m.cose").read_bytes().startswith(b"\x84\x43\xa1\x01\x26\xa0\xf6")
    assert command("mkms cose verify issuer --file m.cose --payload hello") == "valid"
    assert command("mkms cose verify issuer AAAA", code=5) == ""


def test_keys_are_attested(command, minikms):
    command("mkms key generate p256 --alias provider")
    kid = command("mkms key generate p256 --alias wallet")
    options = "--nonce n --audience https://issuer.example --key-storage iso_18045_basic"
    options += """ --claims '{"key_storage_status": {"exp": 9}}'"""
    token = command(f"mkms attest provider wallet {options} --expires-in 60")
    verified = minikms.verify_jws(token, alias="provider")
    claims = json.loads(verified.payload)
    assert claims["attested_keys"] == [{**minikms.get_key(kid).jwk, "kid": kid}]
    assert (claims["exp"] - claims["iat"], claims["key_storage"]) == (60, ["iso_18045_basic"])
    assert claims["key_storage_status"] == {"exp": 9}
    assert verified.header["typ"] == "key-attestation+jwt"
    command("""mkms attest provider wallet --claims '{"exp": 9}'""", code=5)
    assert "--claims" in command.error
    command("mkms attest provider wallet --claims x", code=2)
    assert command("mkms attest provider nobody", code=5) == ""
    assert minikms.import_key(alg="p256", secret=b"\1" * 32, alias="imported").imported
    assert command("mkms attest provider imported", code=5) == ""
    assert command("mkms attest provider imported --allow-imported")


def test_certificates_are_requested_issued_and_kept(command, minikms, tmp_path):
    command("mkms key generate p256 --alias iaca")
    command("mkms key generate p256 --alias signer")
    options = "--days 3650 --subject CN=a,C=DE --issuer-alternative-name URI:https://a.example/"
    crl = "--crl https://a.example/crl"
    root = command(f"mkms certificate iaca iaca {options} {crl}")
    assert root.startswith("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "root.pem").write_text(root)
    assert command("mkms key certificates iaca root.pem") == minikms.find_key("iaca").kid
    request = command("mkms csr signer CN=b,C=DE --alternative-name DNS:b.example")
    assert request.startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
    (tmp_path / "b.csr").write_text(request)
    leaf = command("mkms certificate iaca document-signer --days 90 --csr b.csr")
    by_key = "mkms certificate iaca reader --days 90 --key signer --subject CN=b,C=DE"
    named = command(f"{by_key} --alternative-name DNS:c.example")
    assert named.startswith("-----BEGIN CERTIFICATE-----\n")
    assert b"c.example" in ssl.PEM_cert_to_DER_cert(named)
    assert b"c.example" not in ssl.PEM_cert_to_DER_cert(command(by_key))
    (tmp_path / "leaf.pem").write_text(leaf)
    command("mkms key certificates signer leaf.pem root.pem")
    assert command("mkms key certificates signer") == f"{leaf}\n{root}"
    token = command("mkms jws sign signer hello --certificate-header x5c")
    header = minikms.verify_jws(token, alias="signer").header
    assert len(header["x5c"]) == 1
    both = "--certificate-header x5c --certificate-header x5t#S256"
    token = command(f"mkms jws sign signer hello {both}")
    assert {"x5c", "x5t#S256"} <= minikms.verify_jws(token, alias="signer").header.keys()
    token = command(f"mkms attest signer iaca {both}")
    assert {"x5c", "x5t#S256"} <= minikms.verify_jws(token, alias="signer").header.keys()
    both = "--certificate-header x5chain --certificate-header x5t-protected"
    verified = minikms.verify_cose(
        decode(command(f"mkms cose sign signer hello {both}")), alias="signer"
    )
    assert cbor2.loads(verified.protected).keys() == {1, 34}
    assert cbor2.loads(verified.unprotected).keys() == {4, 33}
    token = command("mkms jws sign signer hello --certificate-header none")
    assert minikms.verify_jws(token, alias="signer").header.keys() == {"alg", "kid"}
    command("mkms key certificates signer root.pem", code=5)
    command("mkms key certificates signer root.pem --remove", code=2)
    command("mkms certificate iaca iaca", code=2)
    command("mkms certificate iaca client --days 1 --subject CN=b", code=5)
    assert "--csr: Give one of csr and key for this profile." in command.error
    command("mkms csr signer CN=b --alternative-name DNS:b --alternative-name b", code=5)
    assert "--alternative-name (number 2): Not such as" in command.error
    command("mkms attest signer iaca nobody", code=5)
    assert "KEYS (number 2): The profile has no such key." in command.error
    assert json.loads(command("mkms --json csr signer CN=b"))["csr"].startswith("-----BEGIN")
    command("mkms key certificates signer --remove")
    assert minikms.find_key("signer").certificates == ()


def test_a_certificate_of_the_eu(command, minikms, tmp_path):
    command("mkms key generate p256 --alias ca")
    command("mkms key generate p256 --alias shop")
    root = command("mkms certificate ca self-signed --days 90 --subject CN=a,O=a,C=DE")
    (tmp_path / "root.pem").write_text(root)
    command("mkms key certificates ca root.pem")
    access = "mkms certificate ca access --key shop --days 9 --subject"
    subject = "CN=a,O=a,organizationIdentifier=VATDE-1,C=DE"
    uris = "--crl http://a.example/crl --cps http://a.example/cps --issuer-url http://a.example/ca"
    names = "--policy 0.4.0.194118.1.2 --policy 1.2.3.4 --alternative-name email:a@a.example"
    made = x509.load_pem_x509_certificate(command(f"{access} {subject} {uris} {names}").encode())
    [first, second] = made.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert first.policy_identifier.dotted_string == "0.4.0.194118.1.2"
    assert (second.policy_identifier.dotted_string, second.policy_qualifiers) == (
        "1.2.3.4",
        ["http://a.example/cps"],
    )
    command(f"{access} {subject} {uris}", code=5)
    document = "mkms certificate ca document --key shop --days 9 --subject CN=a"
    for option, number in (("", 1), ("--document-signing", 2)):
        made = x509.load_pem_x509_certificate(command(f"{document} {option}").encode())
        purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert len(list(purposes)) == number


def test_a_revocation_list(command, minikms, tmp_path):
    command("mkms key generate p256 --alias ca")
    command("mkms crl ca --days 7", code=5)
    root = command("mkms certificate ca self-signed --days 90 --subject CN=a")
    (tmp_path / "root.pem").write_text(root)
    command("mkms key certificates ca root.pem")
    lines = "# revoked\n\n3A:1F 2026-01-30T08:15:00Z\nff 2026-01-31T10:00:00+02:00 # stolen\n"
    (tmp_path / "revoked.txt").write_text(lines)
    made = x509.load_pem_x509_crl(command("mkms crl ca --days 7 --number 5 revoked.txt").encode())
    assert {each.serial_number: each.revocation_date_utc for each in made} == {
        0x3A1F: datetime(2026, 1, 30, 8, 15, tzinfo=UTC),
        0xFF: datetime(2026, 1, 31, 8, tzinfo=UTC),
    }
    assert made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 5
    before = int(time.time())
    made = x509.load_pem_x509_crl(command("mkms crl ca --days 7").encode())
    assert list(made) == []
    number = made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert before <= number <= time.time()
    assert json.loads(command("mkms --json crl ca --days 7"))["crl"].startswith("-----BEGIN X509")
    for wrong in ("3a1f", "3a1f 2026-01-30T08:15:00", "no 2026-01-30T08:15:00Z"):
        (tmp_path / "revoked.txt").write_text(wrong)
        command("mkms crl ca --days 7 revoked.txt", code=2)
        assert "Line 1 is not" in command.error
    (tmp_path / "revoked.txt").write_text("1 2026-01-30T08:15:00Z\n01 2026-01-30T08:15:00Z\n")
    command("mkms crl ca --days 7 revoked.txt", code=2)
    (tmp_path / "revoked.txt").write_text(f"{2**159:x} 2026-01-30T08:15:00Z")
    command("mkms crl ca --days 7 revoked.txt", code=5)


def test_a_file_of_many_beginnings_of_a_certificate_is_read_once(command, minikms, tmp_path):
    # A search for the end from each of them takes minutes.
    minikms.generate_key("p256", alias="signer")
    (tmp_path / "root.pem").write_text("-----BEGIN CERTIFICATE-----\n" * 20_000)
    command("mkms key certificates signer root.pem", code=5)


def test_a_jwe_is_encrypted_and_decrypted(command, tmp_path):
    command("mkms key generate x25519 --alias reader")
    command("mkms key generate x25519 --alias writer")
    assert command("mkms jwe encrypt --to reader hello | mkms jwe decrypt reader") == "hello"
    jwk = json.loads(command("mkms --json key show reader"))["jwk"]
    (tmp_path / "reader.jwk").write_text(json.dumps(jwk))
    sealed = "mkms jwe encrypt --to-jwk reader.jwk --enc XC20P hello"
    assert command(f"{sealed} | mkms --json jwe decrypt reader").count("XC20P") == 1
    options = "--from writer --alg ECDH-1PU+A256KW --enc A256CBC-HS512"
    named = f"mkms jwe encrypt --to reader {options} hi"
    assert command(f"{named} | mkms jwe decrypt reader --from writer") == "hi"
    command("mkms jwe encrypt hello", code=2)
    command("mkms jwe decrypt writer a.b.c.d.e", code=5)


def test_boxes_are_made_and_opened(command):
    command("mkms key generate x25519 --alias reader")
    command("mkms key generate x25519 --alias writer")
    assert command("mkms box seal --to reader hello | mkms box unseal reader") == "hello"
    made = "mkms box make writer hello --to reader"
    assert command(f"{made} | mkms box open reader --from writer") == "hello"
    assert command(f"{made} | mkms box open writer --from writer", code=5) == ""
    command("mkms box open reader '{}' --from writer", code=2)
    command("mkms box open reader '{}'", code=2)


def test_a_key_is_changed_and_deleted(shell, command):
    kid = command(
        "mkms key generate ed25519 --label a=b --operation sign --expires 2090-01-01T00:00Z"
    )
    assert command(f"mkms key alias {kid} main") == kid
    shown = json.loads(command("mkms --json key update main --never-expires --label x=y"))
    assert (shown["expires"], shown["labels"], shown["operations"]) == (None, {"x": "y"}, ["sign"])
    new = command("mkms key rotate main")
    assert new != kid
    assert command("mkms key list").splitlines()[1].split("\t")[0::4] == [new, "main"]
    assert shell("mkms key list --alias main | cut -f1") == new
    assert command("mkms key unalias main") == new
    assert command(f"mkms key delete {new} --after 7d") == new
    assert command(f"mkms key restore {new}") == new
    command(f"mkms key update {new} --state disabled")
    command(f"mkms key delete {new}")
    command(f"mkms key show {new}", code=3)


def test_many_keys_are_generated_exported_and_imported(command, minikms, tmp_path):
    made = command("mkms key generate ed25519 --count 12 --exportable").splitlines()
    assert [key.kid for key in minikms.list_keys().keys] == made
    exported = "\n".join(command(f"mkms key export {kid}") for kid in made)
    (tmp_path / "keys.ndjson").write_text(exported)
    for kid in made:
        minikms.delete_key(kid)
    assert command("mkms key import keys.ndjson").splitlines() == made
    jwks = {"keys": [json.loads(line) for line in exported.splitlines()]}
    (tmp_path / "set.json").write_text(json.dumps(jwks))
    assert command("mkms key import set.json --if-exists keep").splitlines() == made
    bodies = [{"alg": "hs256", "secret": "A" * 43, "alias": f"mac-{n}"} for n in range(3)]
    given = "\n".join(map(json.dumps, bodies)).encode()
    command("mkms key import -", given=given)
    assert minikms.find_key("mac-2").alg == "hs256"
    (tmp_path / "seed").write_bytes(bytes(32))
    command("mkms key import seed --as seed --alg ed25519 --alias seeded")
    assert minikms.find_key("seeded").kty == "OKP"


def test_profiles_tokens_and_the_service(command, minikms):
    name = f"{minikms.profile}-2"
    assert command(f"mkms profile create {name}") == name
    assert name in command("mkms profile list").splitlines()
    assert command(f"mkms profile jwks {name} public") == f"{name}\tpublic"
    command(f"mkms profile delete {name} --yes")
    token = command("mkms token create signer --scope sign --all-profiles")
    assert token.startswith("mkms_")
    lines = [line.split("\t") for line in command("mkms token list").splitlines()]
    [found] = [line for line in lines if line[0] in token]
    assert found[1:] == ["signer", "sign", "all", ""]  # it was never used
    command(f"mkms token revoke {found[0]}")
    command(f"mkms token revoke {found[0]}", code=3)
    assert command("mkms status").endswith(" is ready")
    assert "ed25519" in [line.split("\t")[0] for line in command("mkms algorithms").splitlines()]


@pytest.mark.parametrize(
    ("line", "profiles"),
    [
        ("mkms token create x --scope sign --profile default", ["default"]),
        ("mkms --profile default token create x --scope sign", ["default"]),
        ("mkms --profile bob token create x --scope sign --profile default", ["default"]),
        ("mkms token create x --scope sign --profile a --profile default", ["a", "default"]),
        ("mkms token create x --scope sign --all-profiles", None),
    ],
)
def test_a_token_is_for_the_profiles_that_are_named(command, minikms, line, profiles):
    """Whatever MINIKMS_PROFILE says, which is set here."""
    made = json.loads(command(f"{line} --json"))["record"]
    assert made["profiles"] == profiles
    assert command.error.count("Warning: The profile 'a' does not exist") == line.count(
        "--profile a "
    )
    assert command.error.count("\n") == line.count("--profile a ")
    minikms.revoke_token(made["id"])


def test_a_token_is_revoked_by_its_name_if_no_other_has_it(command, minikms):
    name = f"app-{uuid.uuid4().hex}"
    ids = [minikms.create_token(name, ["sign"], profiles=["default"]).record.id for _ in range(2)]
    command(f"mkms token revoke {name}", code=2)
    assert all(each in command.error for each in ids)
    assert command(f"mkms token revoke {ids[0]}") == ids[0]
    assert command(f"mkms token revoke {name}") == ids[1]
    command(f"mkms token revoke {name}", code=3)
    assert {token.id for token in minikms.list_tokens()}.isdisjoint(ids)


@pytest.mark.parametrize("content", ["", " \n\n", '{"keys": []}'])
def test_a_file_without_a_key_is_refused(command, tmp_path, content):
    (tmp_path / "empty").write_text(content)
    command("mkms key import empty", code=2)
    assert "empty has no key" in command.error
    command("mkms key import -", code=2, given=content.encode())


def test_help_says_that_json_lists_are_lines(command):
    shown = " ".join(command("mkms --help").split())
    assert "--json Print complete answers as JSON: an object, or for a list each item on a" in shown
    lines = command("mkms algorithms --json").splitlines()
    assert len(lines) > 20
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_tls_to_a_port_without_tls_names_the_cause(command, minikms):
    url = minikms.url.replace("http://", "https://")
    command(f"mkms --url {url} status", code=6)
    assert "_ssl" not in command.error
    assert "http://" in command.error.replace(url, "")


@pytest.fixture
def tls(tmp_path):
    """Make a certificate for 127.0.0.1; return its options, and the file of its authority."""

    def make(**validity):
        authority, chain, key = trustme.CA(), tmp_path / "chain", tmp_path / "key"
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        for pem in (leaf := authority.issue_cert("127.0.0.1", **validity)).cert_chain_pems:
            pem.write_to_path(chain, append=True)
        leaf.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        return ("--tls-cert", str(chain), "--tls-key", str(key)), tmp_path / "ca.pem"

    return make


def test_a_certificate_that_is_not_trusted_is_named(command, tls):
    with serve(*tls()[0]) as url:
        command(f"mkms --url {url} status", code=6)
        assert "https://" in command.error
        url = url.replace("http://", "https://")
        command(f"mkms --url {url} status", code=6)
    assert "_ssl" not in command.error
    assert "certificate is not trusted" in command.error
    assert "--ca" in command.error


def test_an_authority_is_not_asked_for_if_the_certificate_is_expired(command, tls):
    ended = datetime.now(UTC) - timedelta(days=1)
    options, authority = tls(not_before=ended - timedelta(days=1), not_after=ended)
    with serve(*options) as url:
        url = url.replace("http://", "https://")
        command(f"mkms --url {url} --ca {authority} status", code=6)
    assert "expired" in command.error
    assert "--ca" not in command.error.replace(str(authority), "")


def test_a_connection_by_tls_that_is_closed_does_not_ask_for_tls(command, tls):
    (_, chain, _, key), authority = tls()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close():
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as accepted:
                accepted.recv(1)

        closing = threading.Thread(target=close)
        closing.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        found = command(f"mkms doctor --url {url} --ca {authority}", code=6)  # without retries
        closing.join()
    assert "does not answer" in found
    assert "speaks TLS" not in found


def test_a_token_is_for_all_profiles_only_if_that_is_said(command, minikms):
    before = minikms.list_tokens()
    for options in ("", "--all-profiles --profile default"):
        command(f"mkms token create x --scope sign {options}", code=2)
        assert "--profile NAME" in command.error
        assert "--all-profiles" in command.error
    command("mkms token create x --scope sign --for-profile default", code=2)
    assert "--profile" in command.error
    assert minikms.list_tokens() == before


def test_a_token_that_cannot_list_profiles_gets_a_warning(
    command, guarded_url, admin_token, monkeypatch
):
    monkeypatch.setenv("MINIKMS_URL", guarded_url)
    monkeypatch.setenv("MINIKMS_TOKEN", admin_token)
    token = command("mkms token create x --scope admin --scope sign --all-profiles")
    monkeypatch.setenv("MINIKMS_TOKEN", token)
    assert command("mkms token create x --scope sign --profile a").startswith("mkms_")
    assert "Warning: The token may not list profiles" in command.error


@pytest.mark.parametrize(
    "line",
    [
        "mkms key generate p256 --expires 90d",
        "mkms key generate p256 --count 2 --expires 90d",
        "mkms key import seed --as seed --alg ed25519 --expires 90d",
        "mkms key update main --expires 90d",
        "mkms token create x --scope sign --all-profiles --expires 90d",
    ],
)
def test_an_expiry_may_be_a_duration(command, minikms, tmp_path, line):
    minikms.generate_key("p256", alias="main")
    (tmp_path / "seed").write_bytes(bytes(32))
    start = datetime.now(UTC)
    for found in map(json.loads, command(f"{line} --json").splitlines()):
        expires = datetime.fromisoformat(found.get("record", found)["expires"])
        # The service keeps milliseconds.
        assert (
            start + timedelta(days=90, seconds=-1)
            < expires
            < datetime.now(UTC) + timedelta(days=90)
        )


def test_a_certificate_by_variables(shell, tmp_path):
    authority = trustme.CA()
    for name in ("localhost", "caller"):
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        (tmp_path / f"{name}.key").chmod(0o600)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = ["--tls-cert", f"{tmp_path}/localhost.pem", "--tls-key", f"{tmp_path}/localhost.key"]
    with serve(*files, "--tls-client-ca", f"{tmp_path}/ca.pem") as url:
        url = url.replace("127.0.0.1", "localhost")
        ready = f"MINIKMS_CA=ca.pem mkms --url {url} status"
        pair = "MINIKMS_CERT=caller.pem MINIKMS_CERT_KEY=caller.key"
        assert shell(f"{pair} {ready}").endswith(" is ready")
        assert shell(f"MINIKMS_CERT_KEY=caller.key {ready} --cert caller.pem").endswith("ready")
        shell(f"{ready} --timeout 5", code=6)
        shell(f"MINIKMS_CERT=caller.pem {ready}", code=2)
        program = f"from minikms_client import Client; print(Client('{url}').readyz())"
        assert shell(f'MINIKMS_CA=ca.pem {pair} python -c "{program}"') == "ready"
        shell(f'MINIKMS_CERT=caller.pem python -c "{program}"', code=1)
        assert "InvalidSetting: A certificate needs its private key" in shell.error


def test_help_describes_options_of_their_command(command):
    of_token, of_key = (
        command(f"mkms {words} --help") for words in ("token create", "key generate")
    )
    assert "verifies" not in of_token
    assert "verifies" in of_key
    for option in ("--ca", "--cert", "--cert-key"):
        assert f"MINIKMS_{option[2:].upper().replace('-', '_')}" in command("mkms --help")


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ("mkms key show nobody", 3, "with the kid or the alias 'nobody'"),
        ("mkms sign did:example:1#2 x", 3, "with the kid or the alias 'did:example:1#2'"),
        ("mkms key unalias nobody", 3, "with the alias 'nobody'"),
        ("mkms --profile nobody key list", 3, "There is no such profile."),
        ("mkms key generate nothing", 5, "algorithm"),
        ("mkms --url http://127.0.0.1:1 --timeout 1 status", 6, "does not answer"),
        ("mkms sign", 2, "Missing argument"),
        ("mkms key update x", 2, "Name a field to change"),
        ("mkms key delete x --after soon", 2, "such as 7d"),
        ("mkms key generate p256 --expires tomorrow", 2, "RFC 3339"),
        ("mkms key generate p256 --expires 2030-01-31T12:00:00", 2, "RFC 3339"),
        ("mkms key generate p256 --expires 999999999d", 2, "RFC 3339"),
        ("mkms key generate p256 --label a", 2, "NAME=VALUE"),
        ("echo nonsense | mkms decrypt x", 2, "not JSON"),
        ("echo '{}' | mkms decrypt x", 2, "no ciphertext"),
        ("echo '[]' | mkms decrypt x", 2, "not a JSON object"),
        ("mkms unwrap x '!'", 2, "base64url"),
        ("echo 1 | mkms key import -", 2, "not a JSON object"),
        ("mkms verify x y", 2, "Give the signature"),
        ("mkms --cert nowhere.pem status", 2, "--cert-key"),
        ("mkms --ca nowhere.pem status", 2, "cannot be read"),
        ("mkms sign x --file nowhere", 2, "cannot be read"),
        ("mkms --token-file nowhere status", 2, "cannot be read"),
        ("mkms --url localhost:8080 status", 2, "http://"),
        ("mkms status --url localhost:8080", 2, "http://"),
        ("mkms key list --cert nowhere.pem", 2, "--cert-key"),
        ("echo n | mkms profile delete nobody", 130, "Stopped."),
        ("mkms --profile bób key list", 2, "visible ASCII"),
        ("mkms --timeout 0 status", 2, "range"),
        ("mkms random 16 > /dev/full", 2, "No space left"),
    ],
)
def test_an_error_is_a_sentence_and_a_code(shell, command, line, code, sentence):
    run = shell if {"|", ">"} & set(line) else command
    run(line, code=code)
    last = run.error.splitlines()[-1]
    assert sentence in last
    assert "Traceback" not in run.error
    assert last.endswith(".")


def test_a_service_that_is_not_there_can_be_started(command, monkeypatch):
    command("mkms key list --url http://127.0.0.1:1", code=6)
    assert "minikms serve" in command.error
    assert "Errno" not in command.error
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it listens, and does not answer
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command(f"mkms status --url {url} --timeout 0.1", code=6)
        assert "minikms serve" not in command.error


def test_options_after_the_command(shell, command, minikms):
    kid = command("mkms key generate p256 --alias signer")
    assert json.loads(command("mkms key list --json"))["kid"] == kid
    assert json.loads(command("mkms sign signer hello --json"))["kid"] == kid
    assert json.loads(command("mkms sign --json signer hello"))["kid"] == kid
    command("mkms --profile nobody key list", code=3)
    given = f"--profile {minikms.profile} --url {minikms.url} --timeout 9"
    assert shell(f"MINIKMS_URL=x mkms --profile nobody key list {given} | cut -f1") == kid
    command("mkms key list --timeout 0", code=2)
    assert "--json" in command("mkms key list --help")


def test_an_unforeseen_error_is_one_sentence(minikms, monkeypatch):
    def fails(*_):
        raise KeyError("secret")

    monkeypatch.setattr(Session, "show", fails)
    done = CliRunner().invoke(mkms, ["status", "--url", minikms.url])
    assert done.exit_code == 7
    assert done.output.startswith("mkms: This is a fault of mkms: KeyError in fails, ")
    assert done.output.count("\n") == 1
    assert "secret" not in done.output


def test_a_command_that_is_stopped(minikms):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [COMMANDS / "mkms", "status", "--url", url],
            stderr=subprocess.PIPE,
            env=environment(minikms),
        )
        connection, _ = listener.accept()  # without an answer, so `mkms` waits
        with process, connection:
            process.send_signal(signal.SIGINT)
            assert process.stderr.read() == b"mkms: Stopped.\n"
    assert process.returncode == 130


def test_a_token_that_is_missing(shell, command, guarded_url, admin_token, tmp_path):
    command(f"mkms --url {guarded_url} key list", code=4)
    assert "--token-file" in command.error
    (tmp_path / "token").write_text(admin_token)
    command(f"mkms --url {guarded_url} --profile default --token-file token key list")
    shell(f"MINIKMS_TOKEN={admin_token} mkms --url {guarded_url} --profile default key list")
    # As with Client, a token in the environment has precedence over a token file there.
    both = f"MINIKMS_TOKEN=wrong MINIKMS_TOKEN_FILE=token mkms --url {guarded_url}"
    shell(f"{both} --profile default key list", code=4)
    shell(f"{both} --profile default --token-file token key list")


def test_a_reader_that_has_enough(shell, minikms):
    minikms.generate_keys("ed25519", 1000)
    shell("set +o pipefail; mkms key list | head -1")
    assert shell.error == ""


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(command, name):
    assert "_MKMS_COMPLETE" in command(f"mkms completion {name}")


def test_a_shell_completes_a_command(shell):
    line = "COMP_WORDS='mkms k' COMP_CWORD=1 _MKMS_COMPLETE=bash_complete mkms"
    assert shell(line) == "plain,key"


def test_a_command_starts_without_imports_for_terminals(shell):
    """A command imports neither asyncio nor the modules of httpx's own command."""
    shell('python -X importtime "$(command -v mkms)" status')
    imported = {line.split("|")[-1].strip() for line in shell.error.splitlines()}
    assert "httpx" in imported
    assert not imported & {"asyncio", "pygments", "rich"}


def test_every_command_has_a_description():
    def commands(group, path):
        for name, command in group.commands.items():
            yield f"{path} {name}", command
            if hasattr(command, "commands"):
                yield from commands(command, f"{path} {name}")

    found = dict(commands(mkms, "mkms"))
    assert len(found) > 30
    for path, command in found.items():
        assert command.help, path
        assert command.get_short_help_str() in " ".join(command.help.split()), path


def test_the_rules_of_a_key_are_shown_and_tightened(command, minikms):
    kid = command("mkms key generate p256 --alias issuer --rules sd-jwt-vc")
    shown = json.loads(command("mkms key rules issuer"))
    assert shown == {"raw": False, "jws": {"typ": ["dc+sd-jwt", "vc+sd-jwt"]}}
    tighter = {**shown, "per_day": 9}
    assert json.loads(command(f"mkms key rules issuer '{json.dumps(tighter)}'")) == tighter
    assert minikms.get_key(kid).rules == tighter
    command(f"mkms key rules issuer '{json.dumps(shown)}'", code=5)
    assert "per_day" in command.error
    command("mkms sign issuer hello", code=4)
    assert "raw" in command.error
    command("mkms key rules issuer '{'", code=2)
    command("mkms key generate p256 --alias free")
    assert command("mkms key rules free") == "{}"


@pytest.fixture
def audited(tmp_path):
    """The URL of a service with an audit log."""
    with serve("--audit-log", str(tmp_path / "audit.log")) as url:
        yield url


def test_the_audit_log_is_searched(command, audited):
    options = f"--url {audited} --profile p"
    command(f"mkms {options} profile create p")
    kid = command(f"mkms {options} key generate ed25519 --alias a")
    command(f"mkms {options} sign a hello")
    command(f"mkms {options} sign nope hello", code=3)
    lines = [line.split("\t") for line in command(f"mkms {options} audit a").splitlines()]
    assert [line[2:6] for line in lines] == [
        ["sign", "success", "p", kid],
        ["generateKey", "success", "p", kid],
    ]
    assert lines[0][0].endswith("Z")
    [failed] = command(f"mkms {options} audit --outcome failed").splitlines()
    assert failed.split("\t")[2:6] == ["sign", "alias-not-found", "p", "nope"]
    assert command(f"mkms {options} audit {kid} --until 1h") == ""
    assert len(command(f"mkms {options} audit --since 1h --limit 2").splitlines()) == 2
    shown = json.loads(command(f"mkms {options} audit --json --limit 1"))
    assert (shown["operation"], shown["address"]) == ("sign", "127.0.0.1")


def test_an_alias_shows_the_events_of_all_keys_that_it_named(command, audited):
    options = f"--url {audited} --profile p"
    command(f"mkms {options} profile create p")
    first = command(f"mkms {options} key generate ed25519 --alias a")
    command(f"mkms {options} sign a hello")
    second = command(f"mkms {options} key rotate a")
    lines = command(f"mkms {options} audit a --since 24h").splitlines()
    found = [line.split("\t")[2:6] for line in lines]
    assert [each for each in found if each[0] in ("sign", "generateKey")] == [
        ["sign", "success", "p", first],
        ["generateKey", "success", "p", first],
    ]
    command(f"mkms {options} sign a hello")
    lines = command(f"mkms {options} audit a --operation sign").splitlines()
    assert [line.split("\t")[5] for line in lines] == [second, first]
    lines = command(f"mkms {options} audit {first} --operation sign").splitlines()
    assert [line.split("\t")[5] for line in lines] == [first]
    command(f"mkms {options} audit nope", code=3)


def test_every_page_of_the_audit_log_is_read(audited):
    with Client(audited, token="") as client:
        for _ in range(250):
            client.healthz()
            client.random(1)
        found = list(client.audit_events(operation="random", outcome="ok"))
        assert len(found) == 250
        assert [event.time for event in found] == sorted((e.time for e in found), reverse=True)
        page = client.list_audit_events(operation="random", limit=10)
        assert page.events == tuple(found[:10])
        again = client.list_audit_events(operation="random", limit=10, after=page.after)
        assert again.events == tuple(found[10:20])
        since, until = found[20].time, found[10].time
        between = client.list_audit_events(operation="random", since=since, until=until)
        assert between.events == tuple(found[11:21])


def test_settings_of_a_profile(command, minikms):
    name = f"{minikms.profile}-3"
    command(f"mkms profile create {name}")
    given = "--max-keys 0 --min-deletion-delay 7d --calls-per-second 100 --delete-scope"
    shown = "max_keys=0\tmin_deletion_delay=604800\tcalls_per_second=100\tdelete_scope=true"
    assert command(f"mkms profile set {name} {given}") == f"{name}\t{shown}"
    assert f"{name}\t{shown}" in command("mkms profile settings").splitlines()
    assert minikms.profile_settings()[name].min_deletion_delay == 604_800
    given = "--max-keys none --min-deletion-delay none --no-delete-scope"
    assert command(f"mkms profile set {name} {given}") == f"{name}\tcalls_per_second=100"
    found = json.loads(command(f"mkms --json profile set {name} --calls-per-second none"))
    assert found["calls_per_second"] is None
    assert name not in command("mkms profile settings")
    shown = f"{name}\tjwks_max_age=3600"
    assert command(f"mkms profile set {name} --jwks-max-age 1h") == shown
    assert command(f"mkms profile set {name} --jwks-max-age none") == name
    assert command(f"mkms profile set {name} --frozen") == f"{name}\tfrozen=true"
    assert minikms.profile_settings()[name].frozen
    assert command(f"mkms profile set {name} --no-frozen") == name
    command(f"mkms profile jwks {name} public")
    assert f'{name}\tjwks="public"' in command("mkms profile settings").splitlines()
    command(f"mkms profile jwks {name} private")
    assert name not in command("mkms profile settings")
    for given in ("", "--max-keys many", "--min-deletion-delay soon"):
        command(f"mkms profile set {name} {given}", code=2)
    command(f"mkms profile delete {name} --yes")
