"""Take the pictures of the console: docs/console-light.webp and docs/console-dark.webp.

Usage: python docsite/console_pictures.py. It needs the extra `test-all`, and Chromium. It starts a
service with a store, makes the keys of an issuer, and opens their list in a browser. The system's
font is in the pictures: take them with Debian's fonts-noto-core.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

from playwright.sync_api import APIRequestContext, Browser, expect, sync_playwright

DOCS: Final = Path(__file__).parents[1] / "docs"
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTH, HEIGHT, DENSITY = 1190, 735, 1.5  # GitHub shows them 838 pixels wide
GUTTER: Final = 15  # pixels that the page keeps free for a scroll bar
_MINIKMS: Final = (sys.executable, "-m", "minikms")
_IACA: Final = {
    "profile": "iaca",
    "subject": "CN=Example IACA,C=DE",
    "days": 3650,
    "issuer_alternative_names": ["URI:https://issuer.example"],
    "crl": "https://issuer.example/crl",
}
_SIGNER: Final = {"profile": "document-signer", "subject": "CN=issuer.example,C=DE", "days": 21}


def main(folder: Path = DOCS) -> None:
    """Write both pictures into a folder."""
    with (
        tempfile.TemporaryDirectory() as store,
        _service(Path(store)) as (url, token),
        sync_playwright() as playwright,
    ):
        headers = {"Authorization": f"Bearer {token}"}
        _make_keys(playwright.request.new_context(base_url=url, extra_http_headers=headers))
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for scheme in SCHEMES:
            _take(browser, scheme, url, token, folder / f"console-{scheme}.webp")
        browser.close()


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a service with a new store; yield its URL and its first token."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("MINIKMS_")}
    options = {
        "MINIKMS_STORE": f"sqlite://{folder}/keys.db",
        "MINIKMS_STORE_KEY_FILE": f"{folder}/store.key",
        "MINIKMS_AUDIT_LOG": f"{folder}/audit.log",
        "MINIKMS_PORT": "0",
    }
    token = folder / "admin.token"
    init = (*_MINIKMS, "store", "init", "--generate-key", "--admin-token-file", token)
    subprocess.run(init, env=others | options, check=True, capture_output=True)
    with subprocess.Popen(
        (*_MINIKMS, "serve"), env=others | options, stderr=subprocess.PIPE, text=True
    ) as service:
        try:
            url = _url_in(service.stderr or ())
            yield url, token.read_text().strip()
        finally:
            service.terminate()


def _url_in(log: Iterable[str]) -> str:
    """Read the URL of a service from its log."""
    for line in log:
        if found := re.search(r"listening on (\S+),", line):
            return found[1]
    raise SystemExit("The service did not start.")


def _make_keys(api: APIRequestContext) -> None:
    """Make the keys of an issuer, each in another state."""

    def call(method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = api.fetch(path, method=method, data=body, params=query)
        if not answer.ok:
            raise SystemExit(f"{method} {path}: {answer.text()}")
        return answer.json()

    def make(alg: str, alias: str, use: str, **options: Any) -> str:
        body = {"alg": alg, "alias": alias, "labels": {"use": use}, **options}
        kid: str = call("POST", "/key/generate", body)["kid"]
        return kid

    def certify(alias: str, kid: str, body: Any, *above: str) -> str:
        certificate: str = call("POST", "/certificate", {"alias": alias, **body})["certificate"]
        call("PUT", f"/key/{kid}/certificates", {"certificates": [certificate, *above]})
        return certificate

    issuer = "did:web:issuer.example"
    make("ed25519", f"{issuer}#key-2", "sd-jwt-vc", rules="sd-jwt-vc")
    old = make("ed25519", f"{issuer}#key-1", "sd-jwt-vc")
    call("PATCH", f"/key/{old}", {"state": "verify-only"})
    ca = certify("iaca", make("p384", "iaca", "ca"), _IACA)
    certify("iaca", make("p256", "issuer", "mdoc"), {**_SIGNER, "key": "issuer"}, ca)
    make("p256", "verifier-response", "openid4vp", delete_after=86_400)
    disabled = make("p256", "wallet-attestation", "wallet")
    call("PATCH", f"/key/{disabled}", {"state": "disabled"})
    call("DELETE", f"/key/{make('a256gcm', 'backup-2025', 'backup')}", after="30d")
    make("mldsa65", "issuer-2030", "trial")


def _take(browser: Browser, scheme: Any, url: str, token: str, target: Path) -> None:
    """Take the picture of the list of keys, as the holder of a token sees it."""
    page = browser.new_page(
        viewport={"width": WIDTH + GUTTER, "height": HEIGHT},
        device_scale_factor=DENSITY,
        color_scheme=scheme,
    )
    page.goto(f"{url}/console/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("main tbody tr")).to_have_count(8)
    chromium = page.context.new_cdp_session(page)  # Playwright itself takes no WebP
    options = {
        "format": "webp",
        "quality": 90,
        "clip": {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1},
    }
    picture = chromium.send("Page.captureScreenshot", options)
    target.write_bytes(b64decode(picture["data"]))
    page.close()


if __name__ == "__main__":
    main()
