"""The pictures of the console in the documents."""

import shutil

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[test-all]'")

import console_pictures

MOST = 150_000  # bytes


@pytest.mark.browser
@pytest.mark.timeout(120)  # it starts a service and a browser
@pytest.mark.skipif(
    not shutil.which("chromium"), reason="chromium is missing: apt-get install chromium"
)
def test_pictures_of_the_console_are_made_of_a_real_service(tmp_path):
    console_pictures.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"console-{scheme}.webp" for scheme in console_pictures.SCHEMES
    }


@pytest.mark.parametrize("scheme", console_pictures.SCHEMES)
def test_a_picture_of_the_console_is_small(scheme):
    assert (console_pictures.DOCS / f"console-{scheme}.webp").stat().st_size < MOST
