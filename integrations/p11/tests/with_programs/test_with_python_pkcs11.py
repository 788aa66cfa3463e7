"""python-pkcs11: a program that can begin anew with its library."""

import subprocess
import sys

import pytest
from commands import Shell

PROGRAM = """
import sys
import pkcs11

library = pkcs11.lib(sys.argv[1])
for line in sys.stdin:
    if line.startswith("begin anew"):
        library.finalize()
        library.initialize()
    try:
        with library.get_token(token_label="minikms").open() as session:
            key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="key")
            made = key.sign(b"\\0" * 32, mechanism=pkcs11.Mechanism.ECDSA)
        print(len(made), flush=True)
    except pkcs11.PKCS11Error as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def program(shell: Shell, module):
    """A program that signs for each line of its input; call it with a line."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, module],
        env=shell.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(line):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask
        process.kill()


def test_after_a_kill_of_the_sidecar_it_initializes_its_library_anew(profile, program, replace):
    profile.generate("p256", alias="key")
    assert program("sign") == "64"
    replace()
    assert program("sign") == "DeviceError"
    assert program("begin anew") == "64"
