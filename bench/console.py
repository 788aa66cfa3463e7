"""First paint of the console, and `/sign` with its page of health open and closed in turn.

Run it with the Python that Mini KMS is installed in, with the extra `bench`: `python
bench/console.py`. Needs Chromium and wrk. Each page is opened in a browser profile of its own, so
that nothing comes from a cache; its times are Chromium's own entries of paints, in milliseconds
from the beginning of the navigation. On a busy machine only the ratios mean something.
"""

import asyncio
import contextlib
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import click
from contender import free_port
from mini_kms import MiniKms
from playwright.async_api import Browser, Page, async_playwright
from rows import Row, requests_of
from server import Measurement, Server, started
from turns import line

# Without these, Chromium as root does not start, or contacts its own hosts for updates.
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# The largest paint is the content that the page requests from the service.
_PAINTS: Final = """() => new Promise((resolve) => {
    const found = performance.getEntriesByType("paint")
        .map(({ name, startTime }) => [name, startTime]);
    new PerformanceObserver((list) => {
        const { startTime } = list.getEntries().at(-1);
        resolve(Object.fromEntries([...found, ["largest-paint", startTime]]));
    }).observe({ type: "largest-contentful-paint", buffered: true });
})"""


@click.command(help=__doc__)
@click.option("--paints", default=20, show_default=True, type=click.IntRange(1), help="Pages.")
@click.option("--rounds", default=6, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=10, show_default=True, help="Of a round; health reads each 5 s.")
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1))
def main(paints: int, rounds: int, seconds: int, connections: int) -> None:
    """Measure, and print."""
    asyncio.run(measure(paints, rounds, seconds, connections))


async def measure(paints: int, rounds: int, seconds: int, connections: int) -> None:
    """Open pages one after the other, then load the service."""
    contender = MiniKms("memory", options=("--metrics-port", str(free_port())))
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(started(contender, folder))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        row = Row("sign", "ed25519", connections)
        requests = await requests_of(server, row)  # the list of keys has one
        found: dict[str, list[float]] = {}
        for number in range(paints + 1):
            for name, time in (await times_of(browser, server)).items():
                if number:  # the first warms up
                    found.setdefault(name, []).append(time)
        for name, times in found.items():
            print(f"{name:24} {statistics.median(times):5.0f} ms, at most {max(times):.0f} ms")
        loads: dict[str, list[Measurement]] = {"closed": [], "open": []}
        for number in range(rounds + 1):
            for name in sorted(loads, reverse=bool(number % 2)):
                async with contextlib.AsyncExitStack() as opened:
                    if name == "open":
                        await opened.enter_async_context(health(browser, server))
                    load = await server.load(requests, connections, seconds)
                    if number:
                        loads[name].append(load)
        print(line(row, loads))
        await browser.close()


async def times_of(browser: Browser, server: Server) -> dict[str, float]:
    """Measure the paint times of a page that was never opened before."""
    async with page_of(browser, server, "") as page:
        await page.get_by_role("table", name="Keys").wait_for()
        found: dict[str, float] = await page.evaluate(_PAINTS)
        return found


@contextlib.asynccontextmanager
async def health(browser: Browser, server: Server) -> AsyncIterator[None]:
    """The page of health, open and drawing."""
    async with page_of(browser, server, "#/health") as page:
        await page.get_by_role("img").first.wait_for()
        yield


@contextlib.asynccontextmanager
async def page_of(browser: Browser, server: Server, place: str) -> AsyncIterator[Page]:
    """Open a page of the console in a new browser profile."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{server.url}/console/{place}")
        yield page
    finally:
        await context.close()


if __name__ == "__main__":
    main()
