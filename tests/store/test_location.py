"""What becomes of the URL of a store."""

from urllib.parse import parse_qs, quote, urlsplit

from minikms.store.location import StoreLocation


def sessions(options=""):
    """The settings of sessions in a PostgreSQL whose URL has these options, as Askar gets them."""
    location = StoreLocation.parse(f"postgres://host/name?{options}")
    (given,) = parse_qs(urlsplit(location.uri).query)["options"]
    assert given == location.server_options
    return given


def test_the_settings_of_sessions_in_postgres():
    assert "-c idle_in_transaction_session_timeout=5s" in sessions()
    assert "-c lock_timeout=1500ms" in sessions()
    assert "-c lock_timeout=7500ms" in sessions("connect_timeout=10")


def test_an_operator_has_the_last_word():
    own = "-c lock_timeout=9s -c work_mem=1MB"
    settings = sessions(f"options={quote(own)}")
    assert settings.endswith(f" {own}")
    assert settings.count("lock_timeout") == 1
    assert "-c idle_in_transaction_session_timeout=5s" in settings


def test_sqlite_has_no_sessions():
    location = StoreLocation.parse("sqlite:///keys.db?busy_timeout=100")
    assert "options" not in location.uri
    assert location.server_options == ""
