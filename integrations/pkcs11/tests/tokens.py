"""Tokens of SoftHSM, also behind a slow library, and of opencryptoki, for tests."""

import fcntl
import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
OPENCRYPTOKI = Path("/usr/lib/x86_64-linux-gnu/pkcs11/libopencryptoki.so")
PIN, SO_PIN = "12345678", "87654321"


class Token:
    """A token, with the environment that its library reads."""

    label = "minikms test"
    serial = ""
    module = SOFTHSM

    def __init__(self, folder):
        self.folder = folder
        self.pin_file = folder / "pin"
        self.pin_file.write_text(PIN + "\n")
        self.environment = {}

    @property
    def uri(self):
        token = f"token={self.label.replace(' ', '%20')}"
        if self.serial:
            token += f";serial={self.serial}"
        return f"pkcs11:{token}?module-path={self.module}&pin-source=file:{self.pin_file}"


class SoftHsm(Token):
    """A token of SoftHSM, in a folder that a test may move away."""

    def __init__(self, folder, mechanisms="ALL"):
        super().__init__(folder)
        self.tokens = folder / "tokens"
        self.tokens.mkdir()
        self.configuration = folder / "softhsm2.conf"
        self.configuration.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\n"
            f"log.level = ERROR\nslots.mechanisms = {mechanisms}\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(self.configuration)}
        self.make_token()

    def make_token(self):
        """Make a token, beside others with the same label."""
        self.run("--init-token", "--free", "--label", self.label, "--pin", PIN, "--so-pin", SO_PIN)

    def run(self, *args):
        subprocess.run(
            ["softhsm2-util", *args],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
        )

    @contextmanager
    def away(self):
        """Take the token away for a block."""
        self.take()
        try:
            yield
        finally:
            self.bring_back()

    @contextmanager
    def exchanged(self):
        """Put another token with the same label in the place of the token, for a block."""
        self.take()
        self.make_token()
        try:
            yield
        finally:
            shutil.rmtree(self.tokens)
            self.tokens.mkdir()
            self.bring_back()

    def take(self):
        self.tokens.rename(self.folder / "away")
        self.tokens.mkdir()

    def bring_back(self):
        self.tokens.rmdir()
        (self.folder / "away").rename(self.tokens)


class SlowSoftHsm(SoftHsm):
    """A token of SoftHSM behind a library that waits before each call."""

    def __init__(self, folder):
        super().__init__(folder)
        self.module = folder / "slow.so"
        self._delay = folder / "delay"
        source = Path(__file__).with_name("slow_module.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(self.module), str(source)], check=True)
        self.environment |= {"SLOW_MODULE": str(SOFTHSM), "SLOW_FILE": str(self._delay)}

    def delay(self, seconds):
        """Delay each call from now on."""
        new = self._delay.with_suffix(".new")
        new.write_text(str(round(seconds * 1000)))
        new.rename(self._delay)


class Opencryptoki(Token):
    """The software token of opencryptoki; a machine has only one."""

    module = OPENCRYPTOKI
    slot = "3"  # of Debian's opencryptoki.conf
    store = Path("/var/lib/opencryptoki/swtok")
    # In the token's folder: tests made it, and may empty it.
    mark = store / "made-by-the-tests-of-minikms"

    @classmethod
    def obstacle(cls):
        """The reason why it cannot be used here, or None."""
        if not cls.module.exists() or not shutil.which("pkcsconf"):
            return "opencryptoki is missing: apt-get install opencryptoki"
        if os.geteuid() != 0:
            return "only root may start pkcsslotd"
        if (cls.store / "NVTOK.DAT").exists() and not cls.mark.exists():
            return "opencryptoki's software token is in use on this machine"
        return None

    @classmethod
    @contextmanager
    def running(cls, folder):
        """The token, emptied before and afterwards, and its daemon."""
        with open("/var/lock/minikms-tests-opencryptoki", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            cls._empty()
            cls.mark.touch()
            token = cls(folder)
            token.start()
            try:
                token._initialize()
                yield token
            finally:
                token.stop()
                cls._empty()

    def start(self):
        """Start its daemon."""
        if not Path("/run/opencryptoki").exists():
            subprocess.run(["systemd-tmpfiles", "--create", "opencryptoki.conf"], check=True)
        # Started as root, the daemon would start itself again in the background.
        self._daemon = subprocess.Popen(
            ["/usr/sbin/pkcsslotd", "-f"],
            user="pkcsslotd",
            group="pkcs11",
            extra_groups=[],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while self._configure("-t").returncode:
            assert self._daemon.poll() is None, "pkcsslotd has ended"
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self):
        """Stop its daemon, which does not end by SIGTERM while a process uses the token."""
        self._daemon.terminate()
        try:
            self._daemon.wait(5)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait(20)

    @classmethod
    def _empty(cls):
        for each in cls.store.iterdir():
            if each.is_file():
                each.unlink()
        for each in (cls.store / "TOK_OBJ").iterdir():
            each.unlink()

    def _initialize(self):
        on = "-c", self.slot
        for args, answers in (
            (["-I", "-S", "87654321"], f"{self.label}\n"),
            (["-P", "-S", "87654321", "-n", "76543210"], ""),
            (["-u", "-S", "76543210", "-n", "11111111"], ""),
            (["-p", "-U", "11111111", "-n", PIN], ""),
        ):
            done = self._configure(*on, *args, answers=answers)
            assert done.returncode == 0, done.stdout + done.stderr

    def _configure(self, *args, answers=""):
        with suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                ["pkcsconf", *args], input=answers, capture_output=True, text=True, timeout=20
            )
        raise AssertionError("pkcsconf hangs")
