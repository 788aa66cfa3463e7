"""Programs that use p11-kit's module by python-pkcs11: `python programs.py NAME MODULE ARGUMENT…`.

Each prints a JSON value. The module finds the sidecar by P11_KIT_SERVER_ADDRESS. Programs that sign
in threads do so until the end of their standard input.
"""

import hashlib
import json
import sys
import threading

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11 import KDF, MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

THREADS = 8


def token(module):
    """The token of the module."""
    return pkcs11.lib(module).get_token(token_label="minikms")


def in_threads(work, module, pin, label):
    """Work in eight threads with a session each; the rounds of each, and the errors."""
    opened, end = token(module), threading.Event()
    counts, errors = [], []
    wait = threading.Barrier(THREADS + 1)

    def run(number):
        count = 0
        try:
            with opened.open(rw=number % 2 == 0) as session:
                wait.wait()
                private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
                public = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)
                while not end.is_set():
                    work(session, private, public, b"%d" % number)
                    count += 1
        except Exception as error:
            errors.append(repr(error))
        counts.append(count)

    with opened.open(user_pin=pin):
        working = [threading.Thread(target=run, args=(each,)) for each in range(THREADS)]
        for each in working:
            each.start()
        wait.wait()
        print("ready", flush=True)
        sys.stdin.read()
        end.set()
        for each in working:
            each.join()
    return {"counts": counts, "errors": errors}


def sign(module, pin, label):
    def work(_, private, public, message):
        made = private.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA)
        point = public[Attribute.EC_POINT][2:]  # without the head of its OCTET STRING
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        r, s = (int.from_bytes(half, "big") for half in (made[:32], made[32:]))
        key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))

    return in_threads(work, module, pin, label)


def sign_in_parts(module, pin, label):
    def work(session, private, public, message):
        parts = [message * 1000, b"b" * 1000, b"c"]
        whole = b"".join(parts)
        made = private.sign(iter(parts), mechanism=Mechanism.ECDSA_SHA256)
        assert public.verify(whole, made, mechanism=Mechanism.ECDSA_SHA256)
        digest = session.digest(iter(parts), mechanism=Mechanism.SHA256)
        assert digest == hashlib.sha256(whole).digest()

    return in_threads(work, module, pin, label)


def make(module, pin):
    """Make key pairs, sign with them, and delete them."""
    with token(module).open(rw=True, user_pin=pin or None) as session:
        parameters = session.create_domain_parameters(
            KeyType.EC,
            {Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        public, private = parameters.generate_keypair(store=True, label="python", id=b"\x01")
        made = private.sign(b"hello", mechanism=Mechanism.ECDSA_SHA256)
        verified = public.verify(b"hello", made, mechanism=Mechanism.ECDSA_SHA256)
        label = private[Attribute.LABEL]
        private.destroy()
        left = [each[Attribute.LABEL] for each in session.get_objects({Attribute.LABEL: "python"})]
        return {"verified": verified, "label": label, "left": left}


def use(module, pin):
    """Use key pairs of a session in each other way."""
    with token(module).open(user_pin=pin or None) as session:
        parameters = session.create_domain_parameters(
            KeyType.EC,
            {Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters("secp384r1")},
            local=True,
        )
        derive = MechanismFlag.DERIVE
        pairs = [parameters.generate_keypair(store=False, capabilities=derive) for _ in range(2)]
        shown = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
        secrets = [
            private.derive_key(
                KeyType.GENERIC_SECRET,
                384,
                mechanism_param=(KDF.NULL, None, peer[Attribute.EC_POINT]),
                template=shown,
            )[Attribute.VALUE]
            for (_, private), (peer, _) in (pairs, reversed(pairs))
        ]
        decrypt = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
        sign = MechanismFlag.SIGN | MechanismFlag.VERIFY
        public, private = session.generate_keypair(
            KeyType.RSA, 2048, store=False, capabilities=decrypt | sign
        )
        oaep = {
            "mechanism": Mechanism.RSA_PKCS_OAEP,
            "mechanism_param": (Mechanism.SHA256, MGF.SHA256, None),
        }
        pss = {
            "mechanism": Mechanism.SHA256_RSA_PKCS_PSS,
            "mechanism_param": (Mechanism.SHA256, MGF.SHA256, 32),
        }
        return {
            "agreed": secrets[0] == secrets[1],
            "secret": len(secrets[0]),
            "decrypted": private.decrypt(public.encrypt(b"hello", **oaep), **oaep).decode(),
            "verified": public.verify(b"hello", private.sign(b"hello", **pss), **pss),
            "random": len(session.generate_random(8 * 100)),
        }


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    print(json.dumps(globals()[name](*given)))
