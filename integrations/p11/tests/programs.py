"""Programs that use p11-kit's module by python-pkcs11: `python programs.py NAME MODULE ARGUMENT…`.

Each prints a JSON value. The module finds the sidecar by P11_KIT_SERVER_ADDRESS.
"""

import hashlib
import json
import sys
import threading
import time

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass


def token(module):
    return pkcs11.lib(module).get_token(token_label="minikms")


def sign(module, pin, label, threads, seconds):
    """Sign in threads until the time is over; the number of signatures, and the errors."""
    opened, end = token(module), time.monotonic() + float(seconds)
    counts, errors = [], []
    wait = threading.Barrier(int(threads) + 1)

    def work(number):
        message = b"%d" % number
        digest = hashlib.sha256(message).digest()
        count = 0
        try:
            with opened.open(rw=number % 2 == 0) as session:
                wait.wait()
                key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
                point = key[Attribute.EC_POINT][2:]  # without the head of its OCTET STRING
                public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
                while time.monotonic() < end:
                    made = key.sign(digest, mechanism=Mechanism.ECDSA)
                    r, s = (int.from_bytes(half, "big") for half in (made[:32], made[32:]))
                    encoded = utils.encode_dss_signature(r, s)
                    public.verify(encoded, message, ec.ECDSA(hashes.SHA256()))
                    count += 1
        except Exception as error:
            errors.append(repr(error))
        counts.append(count)

    with opened.open(user_pin=pin or None):
        working = [threading.Thread(target=work, args=(each,)) for each in range(int(threads))]
        for each in working:
            each.start()
        wait.wait()
        print("ready", flush=True)
        for each in working:
            each.join()
    return {"counts": counts, "errors": errors}


def sign_in_parts(module, pin, label, threads, seconds):
    """Sign and hash in parts, in threads, until the time is over."""
    opened, end = token(module), time.monotonic() + float(seconds)
    counts, errors = [], []

    def work():
        count = 0
        try:
            with opened.open() as session:
                key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
                public = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)
                while time.monotonic() < end:
                    parts = [b"a" * 1000, b"b" * 1000, b"c"]
                    made = key.sign(iter(parts), mechanism=Mechanism.ECDSA_SHA256)
                    assert public.verify(b"".join(parts), made, mechanism=Mechanism.ECDSA_SHA256)
                    digest = session.digest(iter(parts), mechanism=Mechanism.SHA256)
                    assert digest == hashlib.sha256(b"".join(parts)).digest()
                    count += 1
        except Exception as error:
            errors.append(repr(error))
        counts.append(count)

    with opened.open(user_pin=pin or None):
        working = [threading.Thread(target=work) for _ in range(int(threads))]
        for each in working:
            each.start()
        print("ready", flush=True)
        for each in working:
            each.join()
    return {"counts": counts, "errors": errors}


def make(module, pin):
    """Make key pairs, sign with them, and delete them."""
    with token(module).open(rw=True, user_pin=pin or None) as session:
        parameters = session.create_domain_parameters(
            KeyType.EC,
            {Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        public, private = parameters.generate_keypair(store=True, label="made", id=b"\x01")
        made = private.sign(b"hello", mechanism=Mechanism.ECDSA_SHA256)
        verified = public.verify(b"hello", made, mechanism=Mechanism.ECDSA_SHA256)
        label = private[Attribute.LABEL]
        private.destroy()
        left = [each[Attribute.LABEL] for each in session.get_objects({Attribute.LABEL: "made"})]
        return {"verified": verified, "label": label, "left": left}


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    print(json.dumps(globals()[name](*given)))
