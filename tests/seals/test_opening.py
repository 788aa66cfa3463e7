"""A store key that several seals encrypt; any of them opens it."""

import hashlib
import json
import logging

import pytest

from minikms.seals import opening
from minikms.seals.envelope import Envelope, SealedKey
from minikms.seals.opening import faults, seal, unseal
from minikms.seals.registry import make_seal
from minikms.startup_errors import StoreError

pytestmark = pytest.mark.usefixtures("quick_check_value")

SECRET = "DRtQ8UwJSTmDyRsNcFQzS7xZHVZk8jgBgQFXQ5BPnFSz"


@pytest.fixture
def sealed(one, two):
    """A store key's envelope with two seals; each was called twice, to seal and to open."""
    envelope = seal(SECRET, (one.uri, two.uri))
    assert (one.calls, two.calls) == (2, 2)
    return envelope


def test_the_first_seal_opens_it_alone(sealed, one, two):
    unsealed = unseal(sealed, "store.key", 0)
    assert unsealed.secret == SECRET
    assert unsealed.seals == (("toy", "opened"), ("toy", "not-asked"))
    assert (one.calls, two.calls) == (3, 2)


@pytest.mark.parametrize("fault", ["away", "refuses", "fails", "lies", "empty", "null"])
@pytest.mark.parametrize("faulty", ["one", "two"])
def test_either_seal_opens_it_without_the_other(sealed, request, fault, faulty, caplog):
    request.getfixturevalue(faulty).begin(fault)
    assert unseal(sealed, "store.key", 0).secret == SECRET
    warned = [line.message for line in caplog.records if line.levelno == logging.WARNING]
    assert len(warned) == (faulty == "one")


@pytest.mark.parametrize("fault", ["lies", "empty", "null"])
def test_a_plaintext_that_is_not_the_key_opens_nothing(sealed, one, two, fault):
    one.begin(fault)
    two.begin("away")
    with pytest.raises(StoreError, match=f"{one.uri}: It opens something else") as error:
        unseal(sealed, "store.key", 0)
    assert error.value.code == 3
    assert [bool(cause) for cause in faults(sealed).values()] == [True, True]


def test_a_file_of_version_0_3_opens(one, two):
    """Without a check value, a seal may return another key, which does not open the store."""
    old = Envelope("hsvZ2-_tDkQpvXcyAq2tFw", ())
    bound = old.associated_data
    keys = [
        SealedKey(toy.uri, make_seal(toy.uri).seal(SECRET.encode(), bound)) for toy in (one, two)
    ]
    old = old._replace(keys=tuple(keys))
    assert unseal(Envelope.parse(old.dump()), "store.key", 0).secret == SECRET
    for fault in ("empty", "null"):
        one.begin(fault)
        assert unseal(old, "store.key", 0).secret == SECRET


def test_the_file_has_the_form_that_version_0_3_reads(sealed):
    document = json.loads(sealed.dump())
    assert document.keys() == {"minikms", "version", "id", "seals"}
    assert document["version"] == 1
    assert isinstance(document["id"], str)
    assert all(each.keys() == {"uri", "ciphertext"} for each in document["seals"])


def test_the_check_value_is_of_this_file_and_costs_a_guess_at_a_passphrase(sealed, monkeypatch):
    other = seal(SECRET, [key.uri for key in sealed.keys])
    (salt, check), (_, other_check) = sealed.id.split("."), other.id.split(".")
    assert check != other_check
    assert sealed.fits(SECRET)
    assert not sealed.fits(SECRET[:-1])
    assert not sealed._replace(id=f"{salt}.").fits(SECRET)
    asked = []
    derive = hashlib.scrypt
    monkeypatch.setattr(
        hashlib, "scrypt", lambda *args, **kwargs: asked.append(kwargs) or derive(*args, **kwargs)
    )
    sealed.fits(SECRET)
    (costs,) = asked
    assert costs["n"] * costs["r"] * costs["p"] * 128 >= 96 * 2**20  # OWASP's least for scrypt


def test_without_any_seal_one_sentence_names_the_cause_of_each(sealed, one, two):
    one.begin("away")
    two.begin("refuses")
    with pytest.raises(StoreError) as error:
        unseal(sealed, "store.key", 0)
    assert str(error.value) == (
        f"No seal opens the store key in store.key: {two.uri}: It refuses the PIN; "
        f"{one.uri}: It is away."
    )


@pytest.mark.parametrize("fault", ["away", "hangs", "refuses"])
def test_only_a_seal_that_must_not_be_tried_again_has_an_exit_code_of_its_own(
    sealed, one, two, fault, monkeypatch
):
    monkeypatch.setattr(opening, "_LIMIT", 0.05)
    one.begin("away")
    two.begin(fault)
    with pytest.raises(StoreError) as error:
        unseal(sealed, "store.key", 0)
    two.end(fault)
    assert error.value.code == (3 if fault == "refuses" else 2)


def test_a_seal_that_comes_back_in_time_opens_it(sealed, one, two, monkeypatch, caplog):
    monkeypatch.setattr(opening, "_PAUSE", 0.01)
    one.begin("away")
    two.begin("refuses")
    one.end_once("away", two)
    assert unseal(sealed, "store.key", 20).secret == SECRET
    assert two.calls == 3  # a PIN is not tried again
    told = [line.message for line in caplog.records if "tried again" in line.message]
    assert len(told) == 1  # not once for each try


def test_a_refusal_is_not_tried_again_and_the_same_causes_are_told_once(
    sealed, one, two, monkeypatch, caplog
):
    monkeypatch.setattr(opening, "_PAUSE", 0.01)
    one.begin("refuses")
    two.begin("away")
    two.end_once("away", two, calls=3)
    assert unseal(sealed, "store.key", 60).secret == SECRET
    assert two.calls >= 2 + 3  # its fault may end during the third call
    assert one.calls == 2 + 1
    assert len([line for line in caplog.records if "tried again" in line.message]) == 1


def test_a_wait_ends_with_its_time_or_with_the_last_seal_that_may_come_back(sealed, one, two):
    one.begin("away")
    two.begin("refuses")
    with pytest.raises(StoreError):
        unseal(sealed, "store.key", 0.01)
    assert one.calls >= 3
    assert two.calls == 3
    one.begin("refuses")
    one.end("away")
    with pytest.raises(StoreError):
        unseal(sealed, "store.key", 600)


@pytest.fixture
def short(monkeypatch):
    """Let calls hang after a moment, which a busy machine may also need."""
    monkeypatch.setattr(opening, "_LIMIT", 0.05)
    monkeypatch.setattr(opening, "_PAUSE", 0.01)


def test_a_seal_that_hangs_leaves_the_others_their_turn(sealed, one, short):
    one.begin("hangs")
    assert unseal(sealed, "store.key", 20).secret == SECRET
    one.end("hangs")


def test_a_call_that_hangs_is_not_repeated_and_may_still_return(sealed, one, two, short):
    one.begin("hangs")
    two.begin("away")
    with pytest.raises(StoreError, match="It does not answer within"):
        unseal(sealed, "store.key", 0)
    assert one.calls == 3
    one.end_once("hangs", two)
    assert unseal(sealed, "store.key", 20).secret == SECRET
    assert one.calls == 4


def test_a_seal_that_is_not_installed_any_more_leaves_the_others_their_turn(sealed):
    first, second = sealed.keys
    gone = sealed._replace(keys=(first._replace(uri="gone:it"), second))
    assert unseal(gone, "store.key", 0).secret == SECRET


@pytest.mark.parametrize("fault", ["away", "refuses", "fails", "lies", "null"])
def test_sealing_needs_every_seal(one, two, fault):
    two.begin(fault)
    with pytest.raises(StoreError, match=f"^{two.uri} does not"):
        seal(SECRET, (one.uri, two.uri))


def test_no_error_and_no_log_line_has_the_key(sealed, one, two, caplog):
    caplog.set_level(logging.DEBUG)
    one.begin("fails")  # with an exception that has its key
    assert unseal(sealed, "store.key", 0).secret == SECRET
    two.begin("fails")
    with pytest.raises(StoreError) as error:
        unseal(sealed, "store.key", 0)
    two.end("fails")
    written = caplog.text + str(error.value) + repr(sealed) + repr(unseal(sealed, "", 0))
    for secret in (SECRET, (one.folder / "key").read_bytes().hex()):
        assert secret not in written


@pytest.mark.parametrize(
    "uri", ["s.secret", "unknown:s.secret", "toy:s.secret", ":s.secret", "", "toy"]
)
def test_a_uri_that_is_not_of_a_seal_is_not_shown(one, uri):
    with pytest.raises(StoreError) as error:
        seal(SECRET, (uri,))
    assert "s.secret" not in str(error.value)


def test_no_seal_is_named_twice(one):
    with pytest.raises(StoreError, match="named once"):
        seal(SECRET, (one.uri, one.uri))


def test_another_envelope_has_another_id_and_other_ciphertexts(sealed, one, two):
    other = seal(SECRET, (one.uri, two.uri))
    assert other.id != sealed.id
    mixed = sealed._replace(keys=other.keys)
    with pytest.raises(StoreError, match="has not made the ciphertext"):
        unseal(mixed, "store.key", 0)


def test_a_changed_byte_is_found_in_each_member(sealed, one):
    document = json.loads(sealed._replace(keys=sealed.keys[:1]).dump())
    (only,) = document["seals"]
    changed = (
        {"minikms": "sealed store kez"},
        {"version": 0},
        {"version": 2},
        {"version": "1"},
        {"id": f"{'B' if sealed.id[0] == 'A' else 'A'}{sealed.id[1:]}"},
        {"id": 1},
        {"seals": []},
        {"seals": [only] * 9},
        {"seals": [{**only, "ciphertext": f"!{only['ciphertext'][1:]}"}]},
        {"seals": [{**only, "ciphertext": f"AAAA{only['ciphertext'][4:]}"}]},
        {"seals": [{**only, "uri": f"{one.uri}x"}]},
        {"seals": [{**only, "more": 1}]},
        {"seals": [{"uri": one.uri}]},
        {"more": 1},
    )
    for change in changed:
        text = json.dumps({**document, **change}, indent=1)
        with pytest.raises((ValueError, StoreError)):
            unseal(Envelope.parse(text), "store.key", 0)
    for name in document:
        left = {each: value for each, value in document.items() if each != name}
        with pytest.raises(ValueError, match="damaged"):
            Envelope.parse(json.dumps(left, indent=1))


def test_after_a_changed_byte_the_key_is_the_same_or_does_not_open(sealed):
    text = sealed.dump()
    for place in range(3, len(text), 11):  # each takes a millisecond
        changed = f"{text[:place]}{chr(ord(text[place]) ^ 1)}{text[place + 1 :]}"
        try:
            envelope = Envelope.parse(changed)
            if envelope:
                assert unseal(envelope, "store.key", 0).secret == SECRET
            else:
                assert len(changed.splitlines()) > 1  # which is refused as a plain key
        except (ValueError, StoreError):
            pass


def test_a_key_and_seals_that_do_not_fit_into_a_key_file_are_refused(one):
    with pytest.raises(StoreError, match="2,048"):
        seal("é" * 1025, (one.uri,))
    with pytest.raises(StoreError, match="up to 8"):
        seal(SECRET, [f"{one.uri}{n}" for n in range(9)])


def test_an_envelope_is_read_back(sealed):
    assert Envelope.parse(sealed.dump()) == sealed


@pytest.mark.parametrize("key", [SECRET, "{", '{"a": "passphrase"}', "two\nlines"])
def test_a_plain_key_is_not_an_envelope(key):
    assert Envelope.parse(f"{key}\n") is None
