"""The benchmark: its calls succeed, and its report shows the measurements."""

import re
import time

import many_keys
import pieces
import pytest
from contenders import CONTENDERS
from goals import ED25519, GOALS
from report import Run, document, overview, readme
from rows import Row, all_rows, contenders_of, requests_of
from server import Measurement, Memory, started
from service import running
from soak import WEIGHTS, Soak


def test_every_row_has_contenders_that_can():
    rows = all_rows(keys=10_000)
    assert len(set(rows)) == len(rows)
    for row in rows:
        able = [name for name in contenders_of(row) if CONTENDERS[name].can(row.operation, row.alg)]
        assert able, row


@pytest.mark.process
@pytest.mark.parametrize("name", ["memory", "aws"])
async def test_every_row_can_be_sent(tmp_path, monkeypatch, name):
    monkeypatch.setattr("rows.ONCE", 3)
    monkeypatch.setattr("rows.HOLDERS", 3)
    async with started(CONTENDERS[name], tmp_path) as server:
        for row in {row.title: row for row in all_rows(keys=2)}.values():
            if server.contender.can(row.operation, row.alg):
                for request in await requests_of(server, row):
                    await server.call(request)
        assert server.memory().largest > 1


@pytest.mark.process
async def test_many_keys_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(many_keys, "STEPS", (1, 30))
    monkeypatch.setattr(many_keys, "BATCH", 10)
    median = many_keys.median
    monkeypatch.setattr(many_keys, "median", lambda call, calls=0: median(call, 1))
    found = await many_keys.compare(["sqlite", "memory"], tmp_path)
    assert found.keys() == {"sqlite", "memory"}
    for costs in found.values():
        assert costs[1].keys() < costs[30].keys()
        assert costs[30][many_keys.NDJSON] > 0


@pytest.mark.process
async def test_every_call_of_the_soak_is_answered():
    async with running() as (client, pid):
        soak = Soak(client, keys=5)
        await soak.fill()
        for name in WEIGHTS:
            await soak.call(name)
        assert sum(soak.done.values()) == len(WEIGHTS)
        assert "unavailable" not in soak.done
        assert many_keys.resident(pid) > 1


@pytest.fixture
def run():
    names = ("memory", "openbao", "echo", "moto")
    found = Run({name: CONTENDERS[name] for name in names}, ["two cores"], keys=10_000)
    # The ratio is that of rounds, not of medians: 2, 2 and 3.
    found.rows[ED25519] = {
        "memory": [Measurement(rate, 1.25, 3.5, 100, 20) for rate in (2000.0, 4000.0, 3000.0)],
        "openbao": [Measurement(rate, 2.5, 9, 200, 20) for rate in (1000.0, 2000.0, 1000.0)],
        "echo": [Measurement(rate, 0.5, 1, 50, 15) for rate in (8000.0, 9000.0, 10000.0)],
        "moto": "no",
    }
    found.starts["memory"] = [0.5, 2.0, 1.5]
    found.idle["memory"] = Memory(70, 70)
    found.in_use["memory"] = Memory(200, 90)
    return found


def test_documents_have_medians_and_ratios(run):
    text = document(run)
    assert "| sign ed25519 | 3,000 (2.00) | 1,000 | 9,000 |" in text
    assert "| sign ed25519 | 1.25 · 3.50 | 2.50 · 9.00 | 0.50 · 1.00 |" in text
    assert "| sign ed25519 | 100 · 20 | 200 · 20 | 50 · 15 |" in text
    assert "| memory | 1.50 | 70 | 200 | 90 |" in text
    assert "| moto | no | no | no | no |" in text
    shown = overview(run, [("a goal", "at least 1", "2", "yes")])
    assert "| sign ed25519 | 3,000 (2.00) | 1,000 | no |" in shown  # in each of those it shows
    assert "| a goal | at least 1 | 2 | yes |" in shown


def test_readme_has_the_figures_of_two_workers(run):
    run.contenders["memory-2"] = CONTENDERS["memory-2"]
    run.rows[ED25519]["memory-2"] = [Measurement(5000, 1, 2, 3, 4)] * 3
    line = "| Ed25519 signatures a second | 1 | 2 | no | not measured |\n"
    other = "| P-256 signatures a second | 1 | 2 | 3 | not measured |\n"
    changed = "| Ed25519 signatures a second | 5,000 | 1,000 | no | not measured |\n"
    assert readme(run, line + other) == changed + other


def test_many_keys_have_a_table_for_each_store(run):
    run.listed["memory"] = {1: {"a call": 0.5}, 1_000: {"a call": 1.25, "a filter": 2.0}}
    text = document(run)
    assert "In memory:" in text
    assert "| a call | 0.50 | 1.25 |" in text
    assert "| a filter |  | 2.00 |" in text


def test_the_chart_shows_each_contender(run):
    chart = pytest.importorskip("chart", reason="the extra `bench` draws charts")
    drawn = chart.of(run, "Signatures", {"ed25519": ED25519}, ["memory", "sqlite", "openbao"])
    shown = re.findall(r">([^<>]+)</text>", drawn.decode())
    assert {"Signatures", "memory", "OpenBao", "ed25519"} <= set(shown)
    assert "SQLite" not in shown


def test_goals_are_met_or_not_or_not_measured(run):
    found = {text: (measured, met) for text, _, measured, met in (goal.of(run) for goal in GOALS)}
    assert found["Ed25519, one process / echo"] == ("0.3", "**no**")
    assert found["s from the start to the first signature"] == ("1.5", "**no**")
    assert found["MiB of the largest process, 10,000 keys in use"] == ("90", "yes")
    assert found["P-256 / OpenBao"] == ("not measured", "")


def test_contender_that_failed_is_not_measured(run):
    run.rows[ED25519]["memory"] = "failed"
    assert "| sign ed25519 | failed | 1,000 | no |" in overview(run, [])
    (goal,) = (each for each in GOALS if each.text == "Ed25519, one process / echo")
    assert goal.of(run)[2] == "not measured"


@pytest.mark.process
async def test_the_report_names_rows_without_time(capsys):
    script = pytest.importorskip("run", reason="the extra `bench` draws charts")
    found = Run({"memory": CONTENDERS["memory"]}, [], keys=10)
    now = time.monotonic()
    await script.measure(found, [ED25519], 1, 1, None, listing=now, end=now)
    there_was_none = "there was no time left"
    assert found.missing == [f"starts: {there_was_none}", f"{ED25519}: {there_was_none}"]
    assert not found.rows
    assert f"{ED25519}: {there_was_none}" in capsys.readouterr().err


def test_pieces_of_a_call(run, monkeypatch):
    monkeypatch.setattr(pieces, "CALLS", 3)
    monkeypatch.setattr(pieces, "ROUNDS", 2)
    run.pieces = pieces.measure()
    audited = run.pieces["Ed25519, token, audit"]
    assert {"signature", "line of the audit log", "the rest", "all"} <= audited.keys()
    assert "| line of the audit log |  |  | " in document(run)


def test_a_row_has_the_contenders_that_it_is_listed_with():
    many, one = (Row("sign", "p256", 8, keys) for keys in (10_000, 1))
    assert set(contenders_of(many)) == {"memory", "openbao"}
    assert set(contenders_of(one)) >= {"memory", "memory-2", "openbao", "moto", "aws"}
