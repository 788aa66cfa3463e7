"""Random messages and other bytes that a program may send, by a seed."""

import random
import socket
import struct

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from rpc import (
    LETTERS,
    NULL,
    NUMBERS,
    TABLE,
    WITH_PARAMETERS,
    Program,
    Refused,
    ecdh1,
    frame,
    oaep,
    pss,
    sized,
    u64,
)

GENERAL_ERROR = 5
NAMES = [name for name in NUMBERS if name not in ("C_Finalize", "C_Login", "C_LoginUser")]
# Calls that the sidecar does most work for.
OFTEN = [
    *("C_OpenSession", "C_FindObjectsInit", "C_FindObjects", "C_GetAttributeValue"),
    *("C_SignInit", "C_Sign", "C_SignUpdate", "C_SignFinal", "C_VerifyInit", "C_Verify"),
    *("C_DigestInit", "C_Digest", "C_DigestUpdate", "C_DecryptInit", "C_Decrypt", "C_EncryptInit"),
    *("C_Encrypt", "C_DeriveKey", "C_CreateObject", "C_SetAttributeValue", "C_GenerateKeyPair"),
]
MECHANISMS = [
    *(Mechanism.ECDSA, Mechanism.ECDSA_SHA256, Mechanism.RSA_PKCS, Mechanism.SHA256_RSA_PKCS),
    *(Mechanism.RSA_PKCS_PSS, Mechanism.RSA_PKCS_OAEP, Mechanism.ECDH1_DERIVE, Mechanism.SHA256),
    *(Mechanism.EC_KEY_PAIR_GEN, Mechanism.SHA256_HMAC, Mechanism.AES_GCM, Mechanism.EDDSA),
]
KINDS = [*Attribute, 0x129, 0x40000211, 0x80000001]
P256 = bytes.fromhex("06082a8648ce3d030107")
NUMBERS_OF_ALL_SIZES = [0, 1, 2, 3, 4, 6, 32, 64, 256, 65536, 65537, 1 << 31, NULL, (1 << 64) - 1]


class Fuzzer:
    """Sends random bytes from a seed to a sidecar, over one connection after another."""

    def __init__(self, path, seed, pin):
        self.path, self.random, self.pin = path, random.Random(seed), pin
        self.messages = 0
        self.handles = [1]  # of objects

    def round(self):
        """A connection: some messages, and an end in the middle of something."""
        choose = self.random.random()
        if choose < 0.1:
            self._noise()
            return
        with Program(self.path, self.random.choice([0, 1, 1, 2, 2, 77])) as program:
            self.sessions = [program.open(0), program.open(self.random.choice([0, 1]))]
            if choose < 0.6:
                program.login(self.sessions[0], self.pin)
                self.handles = program.find(self.sessions[0]) or self.handles
            for _ in range(self.random.randrange(1, 6)):
                self._exchange(program, self.random.randrange(1, 40))
            if self.random.random() < 0.3:  # goes before it has all answers
                for _ in range(10):
                    program.send_message(self._message(program))
            if self.random.random() < 0.3:
                program.socket.sendall(self.random.randbytes(self.random.randrange(1, 12)))

    def _exchange(self, program, count):
        """Send messages, and check that each has an answer of its form."""
        sent = {}
        for _ in range(count):
            message = self._message(program)
            sent[program.send_message(message, b"x" * self.random.choice([0, 0, 8, 256]))] = message
        self.messages += count
        while sent:
            number, answer = program.receive()
            call = struct.unpack(">I", sent.pop(number)[:4].ljust(4, b"\0"))[0]
            name = TABLE[call - 1][0] if 0 < call <= len(TABLE) else "C_GetInfo"
            try:
                program.read(name, answer)
            except Refused as refusal:
                if refusal.value == GENERAL_ERROR and name != "C_Initialize":
                    raise

    def _noise(self):
        """Bytes that are not a frame."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            length = self.random.choice([0, 1, 5, 13, 100, 10_000])
            content = self.random.randbytes(length)
            if self.random.random() < 0.5:
                head = [self.random.choice(NUMBERS_OF_ALL_SIZES) & NULL for _ in range(3)]
                content = b"\1" + struct.pack(">III", *head) + content
            try:
                connection.sendall(content)
            except ConnectionError:
                return
        self.messages += 1

    def _message(self, program):
        name = self.random.choice(self.random.choice([NAMES, OFTEN]))
        letters = LETTERS.findall(TABLE[NUMBERS[name] - 1][1])
        values = [self._value(program, *each) for each in enumerate(letters)]
        message = program.message(name, *values)
        return self._damaged(message) if self.random.random() < 0.4 else message

    def _value(self, program, index, letter):
        choose, often = self.random.choice, self.random.random() < 0.9
        if letter == "u":
            if index == 0 and often:
                return choose(self.sessions)
            return choose([*self.handles, *NUMBERS_OF_ALL_SIZES])
        if letter == "y":
            return self.random.randrange(256)
        if letter in ("fy", "fu"):
            return choose(NUMBERS_OF_ALL_SIZES) & NULL
        if letter == "aA":
            kinds = self.random.choices(KINDS, k=self.random.randrange(6))
            template = [(kind, self._attribute(kind)) for kind in kinds]
            if often:
                template += [(Attribute.EC_PARAMS, P256), (Attribute.KEY_TYPE, KeyType.EC)]
            return [(kind, value) for kind, value in template if kind not in (0x40000211,)]
        if letter == "fA":
            kinds = self.random.choices(KINDS, k=self.random.randrange(8))
            return [(kind, choose(NUMBERS_OF_ALL_SIZES) & NULL) for kind in kinds]
        if letter == "M":
            return self._mechanism(program)
        return self._bytes()

    def _bytes(self):
        lengths = [0, 1, 20, 32, 32, 48, 64, 64, 65, 256, 256, 1000, 70_000]
        return self.random.randbytes(self.random.choice(lengths))

    def _attribute(self, kind):
        if kind == Attribute.CLASS:
            return self.random.choice(list(ObjectClass))
        return self.random.choice([True, False, 0, 2048, b"", b"name", P256, self._bytes()])

    def _mechanism(self, program):
        number = self.random.choice(MECHANISMS)
        if self.random.random() < 0.05:
            return None
        if number in WITH_PARAMETERS or program.version < 2:
            point = b"\x04" + self.random.randbytes(64)
            parameters = [
                *(pss(Mechanism.SHA256, 2, 32), oaep(Mechanism.SHA256, 2), ecdh1(point)),
                *(u64(1), sized(b"12345"), None),
            ]
            return number, self.random.choice(parameters)
        return number

    def _damaged(self, message):
        content = bytearray(message)
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(content) + 1)
            how = self.random.randrange(5)
            if how == 0:
                del content[at:]
            elif how == 1:
                content[at:at] = self.random.randbytes(self.random.randrange(1, 9))
            elif how == 2:
                content[at : at + 4] = struct.pack(
                    ">I", self.random.choice(NUMBERS_OF_ALL_SIZES) & NULL
                )
            elif how == 3 and at < len(content):
                content[at] ^= 1 << self.random.randrange(8)
            else:
                content += content[at : at + 100]
        return bytes(content[: (1 << 20) - len(frame(0, b""))])
