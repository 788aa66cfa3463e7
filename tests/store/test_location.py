"""URLs of stores."""

from urllib.parse import parse_qs, quote, urlsplit

import pytest

from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreLocation


def sessions(options=""):
    """The settings of sessions in a PostgreSQL whose URL has these options."""
    location = StoreLocation.parse(f"postgres://host/name?{options}")
    assert location.driver_environment["PGOPTIONS"] == location.server_options
    return location.server_options


def test_the_settings_of_sessions_in_postgres():
    assert "-c idle_in_transaction_session_timeout=5s" in sessions()
    assert "-c plan_cache_mode=force_custom_plan" in sessions()
    assert "-c lock_timeout=1500ms" in sessions()
    assert "-c lock_timeout=7500ms" in sessions("connect_timeout=10")


def test_an_operator_has_the_last_word():
    own = "-c lock_timeout=9s -c work_mem=1MB"
    settings = sessions(f"options={quote(own)}")
    assert settings.endswith(f" {own}")
    assert settings.count("lock_timeout") == 1
    assert "-c idle_in_transaction_session_timeout=5s" in settings


def test_statements_of_a_service_are_cancelled_before_its_callers_give_up():
    location = StoreLocation.parse("postgres://host/name?connect_timeout=10")
    options = location.limited().driver_environment["PGOPTIONS"]
    assert options == f"-c statement_timeout=9000ms {location.server_options}"
    assert location.limited().server_options == location.server_options  # of our own connections
    own = StoreLocation.parse("postgres://host/name?options=-c%20statement_timeout%3D20s")
    assert own.limited() == own


def test_sqlite_has_no_sessions():
    location = StoreLocation.parse("sqlite:///keys.db?busy_timeout=100")
    assert location.driver_environment == {}
    assert location.server_options == ""
    assert location.limited() == location


TLS = "sslmode=verify-full&sslrootcert=/a b&sslcert=c&sslkey=d"


def test_the_driver_finds_no_option_but_sslmode_in_the_url():
    location = StoreLocation.parse(f"postgres://u:p@host/name?{TLS}&connect_timeout=3")
    options = parse_qs(urlsplit(location.uri).query)
    assert options.pop("sslmode") == ["verify-full"]
    assert options == {"connect_timeout": ["3"], "max_connections": ["10"]}
    assert location.driver_environment == {
        "PGOPTIONS": location.server_options,
        "PGSSLROOTCERT": "/a b",
        "PGSSLCERT": "c",
        "PGSSLKEY": "d",
    }


def test_other_clients_get_the_same_mode():
    url = "postgres://u%40:p%25@[::1]:1/db"
    assert StoreLocation.parse(f"{url}?connect_timeout=3&{TLS}").dsn == (
        f"{url}?sslmode=verify-full&sslrootcert=%2Fa+b&sslcert=c&sslkey=d"
    )
    assert StoreLocation.parse(url).dsn == f"{url}?sslmode=prefer"


def test_the_mode_of_the_environment_holds_where_the_url_has_none(monkeypatch):
    monkeypatch.setenv("PGSSLMODE", "require")
    for options, mode in (("", "require"), ("?sslmode=disable", "disable")):
        location = StoreLocation.parse(f"postgres://host/name{options}")
        assert parse_qs(urlsplit(location.uri).query)["sslmode"] == [mode]
    monkeypatch.setenv("PGSSLMODE", "requires")
    with pytest.raises(StoreError, match="PGSSLMODE"):
        StoreLocation.parse("postgres://host/name")


@pytest.mark.parametrize(
    "url",
    [
        *(f"host/name?sslmode={mode}" for mode in ("", "allow", "verify-ca", "REQUIRE", "x")),
        "host/name?sslmode=require;sslrootcert=/a",
        "host/name?sslmode=verify-full",
        "host/name?sslmode=require&sslrootcert=/a",
        "host/name?sslrootcert=/a",
        "host/name?ssl-mode=require",
        "host/name?password=secret",
        "host/name?secret",
        "host/name#?sslmode=require",
        "host/name%3Fx?sslmode=require",
        "host/name%23x?sslmode=require",
        "host%3Fx/name?sslmode=require",
        "user:secret@x%3Fy@host/name?sslmode=require",
    ],
)
def test_ambiguous_postgres_urls_are_refused(url):
    with pytest.raises(StoreError) as caught:
        StoreLocation.parse(f"postgres://{url}")
    assert "secret" not in str(caught.value)
