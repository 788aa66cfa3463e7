"""A client of p11-kit's RPC protocol that sends any bytes (p11-kit/rpc-message.h).

It shares no code with the sidecar. Attributes are typed by their Python types: `bool` is a
CK_BBOOL, `int` a CK_ULONG, `bytes` a byte array.
"""

import re
import socket
import struct
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from pkcs11 import Attribute, Mechanism

HANDSHAKE = b"PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"
NULL = 0xFFFFFFFF
ERROR = 0  # the number of an answer that is a return value
DEVICE_ERROR, NOT_INITIALIZED = 0x30, 0x190

# The calls from 1 on, each with the signatures of its request and of its answer.
CALLS = """
C_Initialize ayyay -
C_Finalize - -
C_GetInfo - vsusv
C_GetSlotList yfu au
C_GetSlotInfo u ssuvv
C_GetTokenInfo u ssssuuuuuuuuuuuvvs
C_GetMechanismList ufu au
C_GetMechanismInfo uu uuu
C_InitToken uayz -
C_OpenSession uu u
C_CloseSession u -
C_CloseAllSessions u -
C_GetSessionInfo u uuuu
C_InitPIN uay -
C_SetPIN uayay -
C_GetOperationState ufy ay
C_SetOperationState uayuu -
C_Login uuay -
C_Logout u -
C_CreateObject uaA u
C_CopyObject uuaA u
C_DestroyObject uu -
C_GetObjectSize uu u
C_GetAttributeValue uufA aAu
C_SetAttributeValue uuaA -
C_FindObjectsInit uaA -
C_FindObjects ufu au
C_FindObjectsFinal u -
C_EncryptInit uMu -
C_Encrypt uayfy ay
C_EncryptUpdate uayfy ay
C_EncryptFinal ufy ay
C_DecryptInit uMu -
C_Decrypt uayfy ay
C_DecryptUpdate uayfy ay
C_DecryptFinal ufy ay
C_DigestInit uM -
C_Digest uayfy ay
C_DigestUpdate uay -
C_DigestKey uu -
C_DigestFinal ufy ay
C_SignInit uMu -
C_Sign uayfy ay
C_SignUpdate uay -
C_SignFinal ufy ay
C_SignRecoverInit uMu -
C_SignRecover uayfy ay
C_VerifyInit uMu -
C_Verify uayay -
C_VerifyUpdate uay -
C_VerifyFinal uay -
C_VerifyRecoverInit uMu -
C_VerifyRecover uayfy ay
C_DigestEncryptUpdate uayfy ay
C_DecryptDigestUpdate uayfy ay
C_SignEncryptUpdate uayfy ay
C_DecryptVerifyUpdate uayfy ay
C_GenerateKey uMaA u
C_GenerateKeyPair uMaAaA uu
C_WrapKey uMuufy ay
C_UnwrapKey uMuayaA u
C_DeriveKey uMuaA u
C_SeedRandom uay -
C_GenerateRandom ufy ay
C_WaitForSlotEvent u u
C_LoginUser uuayay -
C_SessionCancel uu -
C_MessageEncryptInit uMu -
C_EncryptMessage uayayayfy ay
C_EncryptMessageBegin uayay -
C_EncryptMessageNext uayayfyu ay
C_MessageEncryptFinal u -
C_MessageDecryptInit uMu -
C_DecryptMessage uayayayfy ay
C_DecryptMessageBegin uayay -
C_DecryptMessageNext uayayfyu ay
C_MessageDecryptFinal u -
C_MessageSignInit uMu -
C_SignMessage uayayfy ay
C_SignMessageBegin uay -
C_SignMessageNext uayayyfy ay
C_MessageSignFinal u -
C_MessageVerifyInit uMu -
C_VerifyMessage uayayay -
C_VerifyMessageBegin uay -
C_VerifyMessageNext uayayay -
C_MessageVerifyFinal u -
C_InitToken2 uays -
C_DeriveKey2 uMuaA uPu
"""
TABLE = [line.replace("-", "").split(" ") for line in CALLS.strip().split("\n")]
NUMBERS = {name: number for number, (name, _, _) in enumerate(TABLE, start=1)}
LETTERS = re.compile("[af]?[a-zA-Z]")

BOOLEANS = {
    *(Attribute.TOKEN, Attribute.PRIVATE, Attribute.TRUSTED, Attribute.SENSITIVE),
    *(Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP, Attribute.UNWRAP, Attribute.SIGN),
    *(Attribute.SIGN_RECOVER, Attribute.VERIFY, Attribute.VERIFY_RECOVER, Attribute.DERIVE),
    *(Attribute.EXTRACTABLE, Attribute.LOCAL, Attribute.NEVER_EXTRACTABLE, Attribute.COPYABLE),
    *(Attribute.ALWAYS_SENSITIVE, Attribute.MODIFIABLE, Attribute.ALWAYS_AUTHENTICATE),
    Attribute.WRAP_WITH_TRUSTED,
}
ULONGS = {
    *(Attribute.CLASS, Attribute.KEY_TYPE, Attribute.CERTIFICATE_TYPE, Attribute.MODULUS_BITS),
    *(Attribute.CERTIFICATE_CATEGORY, Attribute.VALUE_LEN, Attribute.KEY_GEN_MECHANISM),
}
WITH_PARAMETERS = {
    *(Mechanism.RSA_PKCS_PSS, Mechanism.SHA256_RSA_PKCS_PSS, Mechanism.SHA384_RSA_PKCS_PSS),
    *(Mechanism.SHA512_RSA_PKCS_PSS, Mechanism.RSA_PKCS_OAEP, Mechanism.ECDH1_DERIVE),
    Mechanism.AES_GCM,
}


class Refused(Exception):
    """A call was answered with this return value."""

    def __init__(self, value):
        super().__init__(hex(value))
        self.value = value


class Size(NamedTuple):
    """The length of an answer, without the answer."""

    length: int


def u32(number):
    return struct.pack(">I", number)


def u64(number):
    return struct.pack(">Q", number)


def sized(content):
    return u32(NULL) if content is None else u32(len(content)) + content


def pss(hash_mechanism, mgf, salt):
    """CK_RSA_PKCS_PSS_PARAMS."""
    return u64(hash_mechanism) + u64(mgf) + u64(salt)


def oaep(hash_mechanism, mgf, source=1, label=b""):
    """CK_RSA_PKCS_OAEP_PARAMS."""
    return u64(hash_mechanism) + u64(mgf) + u64(source) + sized(label)


def ecdh1(public, kdf=1, shared=None):
    """CK_ECDH1_DERIVE_PARAMS."""
    return u64(kdf) + sized(shared) + sized(public)


def frame(number, message, options=b""):
    """A frame of the transport."""
    return struct.pack(">III", number, len(options), len(message)) + options + message


def head(number, signature):
    """The begin of a message."""
    return u32(number) + sized(signature)


def attribute(kind, value):
    """An attribute with its value, None for an invalid one."""
    if value is None:
        return u32(kind) + b"\0"
    if isinstance(value, bool):
        return u32(kind) + b"\1" + u32(1) + bytes((value,))
    if isinstance(value, int):
        return u32(kind) + b"\1" + u32(8) + u64(value)
    return u32(kind) + b"\1" + u32(len(value)) + sized(value)


class Program:
    """A program's connection to a sidecar, with the library initialized."""

    def __init__(self, path, version=1, *, offered=None, initialize=True):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        self._begin(connection, version, offered, initialize)

    @classmethod
    def over(cls, connection):
        """A program over a connected socket."""
        program = cls.__new__(cls)
        program._begin(connection, 1, None, True)
        return program

    def _begin(self, connection, version, offered, initialize):
        self.socket = connection
        self.socket.settimeout(30)
        self.socket.sendall(bytes((version if offered is None else offered,)))
        self.version = self._read(1)[0]
        self._last = 0x0F
        self._others = {}  # answers that overtook the awaited answer
        if initialize:
            self.call("C_Initialize", HANDSHAKE, 0, b"")

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, name, *values):
        """The values of the answer: a tuple, or the only value; raises Refused."""
        return self.answer(name, self.send(name, *values))

    def result(self, name, *values):
        """The return value of a call whose message must be well-formed."""
        try:
            self.call(name, *values)
        except Refused as refusal:
            if refusal.value in (DEVICE_ERROR, NOT_INITIALIZED):
                raise
            return refusal.value
        return 0

    def send(self, name, *values):
        """Send a request; return its number."""
        return self.send_message(self.message(name, *values))

    def message(self, name, *values):
        number, request = NUMBERS[name], TABLE[NUMBERS[name] - 1][1]
        letters = LETTERS.findall(request)
        parts = [self._write(*each) for each in zip(letters, values, strict=True)]
        return head(number, request.encode()) + b"".join(parts)

    def send_message(self, message, options=b""):
        self._last += 1
        self.socket.sendall(frame(self._last, message, options))
        return self._last

    def answer(self, name, number):
        """The answer to the request with a number."""
        message = self._others.pop(number, None)
        while message is None:
            found, received = self.receive()
            if found == number:
                message = received
            else:
                self._others[found] = received
        return self.read(name, message)

    def receive(self):
        """The number and the message of the next answer."""
        number, options, length = struct.unpack(">III", self._read(12))
        assert options == 0
        return number, self._read(length)

    def read(self, name, message):
        """Take an answer apart, and check its signature."""
        number, reader = struct.unpack(">I", message[:4])[0], _Reader(message[4:])
        if number == ERROR:
            assert reader.sized() == b"u"
            value = reader.u64()
            assert reader.is_empty()
            raise Refused(value)
        assert number == NUMBERS[name]
        answer = TABLE[number - 1][2]
        assert reader.sized() == answer.encode()
        values = tuple(reader.read(letter) for letter in LETTERS.findall(answer))
        assert reader.is_empty()
        return values[0] if len(values) == 1 else values

    def is_at_its_end(self):
        """If the sidecar has closed the connection."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _read(self, length):
        content = bytearray()
        while len(content) < length:
            part = self.socket.recv(length - len(content))
            if not part:
                raise EOFError
            content += part
        return bytes(content)

    def _write(self, letter, value):
        if letter == "u":
            return u64(value)
        if letter == "y":
            return bytes((value,))
        if letter in "zs":
            return sized(value)
        if letter == "ay":
            return b"\1" + sized(value)
        if letter in ("fy", "fu"):
            return u32(value)
        if letter == "aA":
            items = value.items() if isinstance(value, dict) else value
            return u32(len(items)) + b"".join(attribute(*each) for each in items)
        if letter == "fA":
            return u32(len(value)) + b"".join(u32(kind) + u32(room) for kind, room in value)
        assert letter == "M"
        if value is None:
            return u32(NULL)
        number, parameter = value if isinstance(value, tuple) else (value, None)
        if self.version < 2:
            return u32(number) + (u32(NULL) if parameter is None else parameter)
        if number not in WITH_PARAMETERS:
            return u32(number)
        return u32(number) + (b"\0" if parameter is None else b"\1" + parameter)

    # Calls of most tests

    def open(self, slot=0, flags=6):
        """Open a session, by default to read and write."""
        return self.call("C_OpenSession", slot, flags)

    def login(self, session, pin):
        self.call("C_Login", session, 1, pin if isinstance(pin, bytes) else pin.encode())

    def find(self, session, **wanted):
        """The handles of the objects with these attributes, such as `label=b"web"`."""
        template = {Attribute[name.upper()]: value for name, value in wanted.items()}
        self.call("C_FindObjectsInit", session, template)
        found = []
        while some := self.call("C_FindObjects", session, 100):
            found += some
        self.call("C_FindObjectsFinal", session)
        return found

    def get(self, session, handle, *kinds):
        """The values of attributes; raises Refused if one is refused."""
        values, result = self.call(
            "C_GetAttributeValue", session, handle, [(kind, 65536) for kind in kinds]
        )
        if result:
            raise Refused(result)
        return values[0] if len(kinds) == 1 else values

    def sign(self, session, handle, mechanism, data):
        self.call("C_SignInit", session, mechanism, handle)
        return self.call("C_Sign", session, data, 1024)

    def verify(self, session, handle, mechanism, data, signature):
        self.call("C_VerifyInit", session, mechanism, handle)
        self.call("C_Verify", session, data, signature)


class _Reader:
    def __init__(self, content):
        self.content = content

    def take(self, length):
        assert length <= len(self.content)
        taken, self.content = self.content[:length], self.content[length:]
        return taken

    def is_empty(self):
        return not self.content

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def sized(self):
        length = self.u32()
        return None if length == NULL else self.take(length)

    def read(self, letter):
        if letter == "u":
            return self.u64()
        if letter == "v":
            return tuple(self.take(2))
        if letter == "s":
            return self.sized()
        if letter == "P":
            return self.take(1)
        if letter == "aA":
            return [self._attribute() for _ in range(self.u32())]
        is_there, length = self.take(1)[0], self.u32()
        if not is_there:
            return Size(length)
        if letter == "ay":
            return self.take(length)
        assert letter == "au"
        return [self.u64() for _ in range(length)]

    def _attribute(self):
        """The attribute's value, its length for a query, or None."""
        kind = self.u32()
        if not self.take(1)[0]:
            return None
        length = self.u32()
        if kind in BOOLEANS:
            assert length == 1
            return bool(self.take(1)[0])
        if kind in ULONGS:
            assert length == 8
            return self.u64()
        value = self.sized()
        if value is None:
            return Size(length)
        assert len(value) == length
        return value


@contextmanager
def refused(value):
    """Expect that a call is refused with this return value."""
    with pytest.raises(Refused) as refusal:
        yield
    assert hex(refusal.value.value) == hex(value)
