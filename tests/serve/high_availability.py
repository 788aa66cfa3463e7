"""The setup of docs/high-availability.md, from its blocks, on ports of 127.0.0.1."""

import asyncio
import contextlib
import shutil
import time

from aiohttp import ClientSession
from document_blocks import ROOT, blocks, section
from ports import free_port, free_ports
from postgres import Postgres, Standby
from proxy import Proxy
from serve.haproxy import HAProxy

# The copies of Mini KMS, and their options besides the store.
COPIES = ("kms-1", "kms-2")
OPTIONS = ("--shutdown-grace", "5", "--trusted-proxy", "127.0.0.1")

PAGE = (ROOT / "docs/high-availability.md").read_text("utf-8")


def shown(heading, language):
    """The blocks of a language under a heading of the page."""
    return [block.text for block in blocks(section(PAGE, heading)) if block.language == language]


class Machine:
    """A machine for PostgreSQL, behind its own network, which a test can cut."""

    def __init__(self, name, folder):
        self.name, self.port = name, free_port()
        self.network = Proxy(self.port)
        self.server = None
        self._folder = folder
        self._servers = 0

    def folder(self):
        """An empty folder for its server."""
        self._servers += 1
        folder = self._folder / f"{self.name}-{self._servers}"
        folder.mkdir(mode=0o755)
        return folder

    def start(self, server):
        self.server = server
        server.start()


class Copies:
    """The copies of Mini KMS and haproxy on ports of 127.0.0.1; `others` more ports stay free."""

    def __init__(self, folder, others=0):
        self.folder = folder
        self.callers, self.to_primary, *ports = free_ports(4 + others)
        self.copies, self.others = ports[:2], ports[2:]

    def local(self, text):
        """The configuration of the page, with addresses of this machine."""
        addresses = {
            "10.0.0.1:8080": f"127.0.0.1:{self.copies[0]}",
            "10.0.0.2:8080": f"127.0.0.1:{self.copies[1]}",
            "10.0.0.0/24": "127.0.0.1/32",
            "10.0.1.0/24": "127.0.0.1/32",
            "bind :80": f"bind 127.0.0.1:{self.callers}",
            "127.0.0.1:6432": f"127.0.0.1:{self.to_primary}",
            "/run/haproxy/admin.sock": f"{self.folder}/haproxy.sock",
        }
        for there, here in addresses.items():
            text = text.replace(there, here)
        return text

    def haproxy_config(self):
        (config,) = shown("### haproxy", "haproxy")
        return self.local(config)

    def store_url(self):
        (variables,) = shown("### Mini KMS", "sh")
        return self.local(variables).partition("MINIKMS_STORE=")[2].split()[0]

    @contextlib.asynccontextmanager
    async def serving(self, make_store, answering, standbys):
        """Run haproxy and the copies, with a session of a caller and one for each copy."""
        async with contextlib.AsyncExitStack() as stack:
            config = self.haproxy_config()
            self.haproxy = stack.enter_context(HAProxy.running(self.folder, config))
            for standby in standbys:
                await asyncio.to_thread(self.haproxy.wait_until, "postgresql", standby, "DOWN")
            self.options = await make_store(self.store_url())
            self.services, self.sessions = [], []
            for port in self.copies:
                service, session = await answering(self.options, *OPTIONS, port=port)
                self.services.append(service)
                self.sessions.append(await stack.enter_async_context(session))
            for name in COPIES:
                await asyncio.to_thread(self.haproxy.wait_until, "kms", name, "UP", "L7OK")
            caller = ClientSession(f"http://127.0.0.1:{self.callers}")
            # aiohttp would send a DELETE whose answer was lost once more, and find no key.
            caller._retry_connection = False
            self.caller = await stack.enter_async_context(caller)
            yield
            for service in self.services:
                service.process.kill()  # since it would take its grace period to stop


class Setup(Copies):
    """The machines of the page, with a primary and its standby."""

    def __init__(self, folder):
        super().__init__(folder)
        self.machines = [Machine("db-1", folder), Machine("db-2", folder)]

    @property
    def primary(self):
        return self.machines[0]

    @property
    def standby(self):
        return self.machines[1]

    def local(self, text):
        for machine in self.machines:
            address, port = f"10.0.1.{machine.name[-1]}", machine.network.port
            text = text.replace(f"{address}:5432", f"127.0.0.1:{port}")
            text = text.replace(f"{address} port=5432", f"127.0.0.1 port={port}")
        return super().local(text)

    def build(self):
        """The primary and its standby, from nothing."""
        roles, _ = shown("### PostgreSQL", "sql")
        (access,) = shown("### PostgreSQL", "pg_hba")
        primary = Postgres(self.primary.folder(), port=self.primary.port)
        hba = primary.folder / "data" / "pg_hba.conf"
        hba.write_text(self.local(access) + hba.read_text())
        self.primary.start(primary)
        primary.script(roles)
        self.add_standby()

    def add_standby(self):
        """A synchronous standby on the other machine, as the page makes it."""
        (command,) = shown("### PostgreSQL", "sh")
        conninfo = command.split('"')[-2].replace("10.0.1.1", f"10.0.1.{self.primary.name[-1]}")
        if self.standby.server:
            shutil.rmtree(self.standby.server.folder)
        server = Standby(
            self.standby.folder(), self.primary.server, self.local(conninfo), port=self.standby.port
        )
        self.standby.start(server)
        self.primary.server.script(shown("### PostgreSQL", "sql")[1])
        state = "SELECT sync_state FROM pg_stat_replication"
        while self.primary.server.execute(state) != "sync\n":
            time.sleep(0.05)  # before it is asked again

    def go_on_alone(self):
        """Let the primary acknowledge without a standby, as the page does it."""
        _, alone = shown("## Failover", "sql")
        self.primary.server.script(alone)

    def end(self):
        for machine in self.machines:
            if machine.server:
                machine.server.stop("immediate")

    def promote(self):
        """Make the standby the primary, as the page does it."""
        promotion, _ = shown("## Failover", "sql")
        self.standby.server.script(promotion)
        self.machines.reverse()
