"""The benchmark: its calls succeed, and its report shows the measurements."""

import re
import time
from pathlib import Path

import keys_in_use
import many_tenants
import pytest
from contenders import CONTENDERS
from goals import ED25519, MANY_KEYS, ONE_KEY, PRODUCED, PRODUCTION, UNMET
from keys_in_use import COLD, IN_USE, KeysInUse
from many_tenants import Spent
from report import Run, blocks, fill, readme
from rows import IN_PRODUCTION, Row, contenders_of_rows, in_production, requests_of
from server import Measurement, Memory, started
from service import memory, running
from soak import WEIGHTS, Soak, wrong_lines
from turns import CALLERS

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs/performance.md", ROOT / "bench/measurements.md")


def test_every_row_has_contenders_that_can():
    for row, names in (in_production() | contenders_of_rows()).items():
        assert any(CONTENDERS[name].can(row.operation, row.alg) for name in names), row


@pytest.mark.process
@pytest.mark.parametrize("name", ["memory", "aws", "vault"])
async def test_every_row_can_be_sent(tmp_path, monkeypatch, name):
    monkeypatch.setattr("rows.ONCE", 3)
    monkeypatch.setattr("rows.HOLDERS", 3)
    async with started(CONTENDERS[name], tmp_path) as server:
        for row in {row.title: row for row in contenders_of_rows()}.values():
            if server.contender.can(row.operation, row.alg):
                for request in await requests_of(server, row):
                    await server.call(request)
        assert server.memory().largest > 1


@pytest.mark.process
@pytest.mark.parametrize("name", CALLERS)
async def test_each_kind_of_caller_signs(tmp_path, name):
    await CALLERS[name].prepare(tmp_path)
    async with started(CALLERS[name], tmp_path) as server:
        [key] = await server.keys("ed25519", 1)
        await server.call(server.contender.sign(key, b""))
    assert '"outcome":"success"' in (tmp_path / "audit.log").read_text()


@pytest.mark.postgres
@pytest.mark.process
async def test_calls_are_measured_by_the_number_of_profiles(monkeypatch, capsys):
    monkeypatch.setattr(many_tenants, "CALLS", 2)
    curve = await many_tenants.measure([(30, 3)], workers=1)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("30 keys in 3 profiles")
    for line in lines:
        assert re.search(r"ms, [\d,]+ statements, [\d,]+ buffers$", line), line
    assert curve.keys() == {(30, 3)}
    assert [line.split("  ")[0] for line in lines] == list(curve[30, 3])
    for name, spent in curve[30, 3].items():
        assert spent.buffers > 0 or name == "sign, in use"


@pytest.mark.postgres
@pytest.mark.process
async def test_signatures_with_keys_in_use_are_measured(monkeypatch, capsys):
    monkeypatch.setattr(many_tenants, "BEFORE", 0.1)
    await many_tenants.measure([(30, 3)], workers=1, in_use=0.5)
    [_, line] = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"in use: [\d,]+ µs of processor, [\d.]+ statements", line)


async def test_stores_that_are_not_filled_in_time_have_no_rows(tmp_path):
    run = Run({"sqlite-2": CONTENDERS["sqlite-2"]})
    keys = KeysInUse(run, {"sqlite-2": tmp_path}, rounds=1, seconds=1)
    await keys.measure(30, time.monotonic())
    assert run.missing == ["30 keys, sqlite-2: there was no time left"]
    assert not run.rows
    assert not dict(blocks(run))


@pytest.mark.process
async def test_keys_are_used_cold_and_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(keys_in_use, "KEYS", (30,))
    run = Run({"sqlite-2": CONTENDERS["sqlite-2"]})
    (tmp_path / "sqlite-2").mkdir()
    await run.contenders["sqlite-2"].prepare(tmp_path / "sqlite-2")
    keys = KeysInUse(run, {"sqlite-2": tmp_path / "sqlite-2"}, rounds=1, seconds=1)
    await keys.measure(30, time.monotonic() + 60)
    assert not run.missing
    states = [(row.keys, row.state) for row in run.rows]
    assert states == [(30, COLD), (30, IN_USE)]
    for row in run.rows:
        [measured] = run.measured(row, "sqlite-2")
        assert measured.rate > 1
    assert dict(blocks(run)).keys() == {
        f"{title} with many keys" for title in ("rates", "times", "work", "memory")
    }


@pytest.mark.process
async def test_every_call_of_the_soak_is_answered_and_has_its_audit_line(tmp_path, free_port):
    log = tmp_path / "audit.log"
    async with running("--metrics-port", free_port, "--audit-log", str(log)) as (client, pid):
        soak = Soak(client, keys=5)
        await soak.fill()
        for name in WEIGHTS:
            await soak.call(name)
        assert sum(soak.done.values()) == len(WEIGHTS)
        assert "unavailable" not in soak.done
        assert memory(pid) > 1
    assert wrong_lines(soak, log) == 0
    soak.answered.add("never")
    assert wrong_lines(soak, log) == 1


@pytest.fixture
def run():
    names = ("memory", "openbao", "echo", "moto")
    found = Run({name: CONTENDERS[name] for name in names})
    # The ratio is computed for each round, not of the medians: 2, 2 and 3.
    found.rows[ED25519] = {
        "memory": [Measurement(rate, 1.25, 3.5, 100) for rate in (2000.0, 4000.0, 3000.0)],
        "openbao": [Measurement(rate, 2.5, 9, 200) for rate in (1000.0, 2000.0, 1000.0)],
        "echo": [Measurement(rate, 0.5, 1, 50) for rate in (8000.0, 9000.0, 10000.0)],
        "moto": "no",
    }
    return found


def test_blocks_have_medians_and_ratios(run):
    found = dict(blocks(run))
    assert "| sign ed25519 | 3,000 (2.00) | 1,000 | 9,000 |" in found["more rates"]
    assert "| sign ed25519 | 3,000 (2.00) | 1,000 | no |" in found["glance"]


def test_a_row_that_the_short_table_has_whole_is_not_repeated(run):
    short = Row("sign", "p256", 8)
    run.rows[short] = {"memory": run.measured(ED25519, "memory"), "moto": "no"}
    found = dict(blocks(run))
    assert "| sign p256 | 3,000 |  | no |" in found["glance"]
    assert not [line for line in found["more rates"] if "sign p256" in line]


def test_a_document_keeps_its_words_and_blocks_that_were_not_measured():
    text = "# A\n\n<!-- a -->\n| old |\n| 1 |\n\nWords.\n\n<!-- b -->\n| kept |\n\n<!-- c -->\n"
    once = fill(text, {"a": ["| new |"], "c": ["| last |"], "d": ["| nowhere |"]})
    expected = (
        "# A\n\n<!-- a -->\n| new |\n\nWords.\n\n<!-- b -->\n| kept |\n\n<!-- c -->\n| last |\n"
    )
    assert once == expected
    assert fill(once, {"a": ["| new |"], "c": ["| last |"]}) == once


def test_every_block_has_a_place_in_the_documents(run):
    pages = "".join(path.read_text("utf-8") for path in PAGES)
    run.rows[keys_in_use.row(1)] = {"memory": run.measured(ED25519, "memory")}
    run.memory[keys_in_use.row(1)] = {"memory": Memory(1, 1)}
    produce(run)
    for name in [*dict(blocks(run)), "curve facts", *many_tenants.tables({})]:
        assert f"<!-- {name} -->" in pages


def produce(run):
    """Add a row as in production."""
    ours, theirs = IN_PRODUCTION
    run.contenders |= {name: CONTENDERS[name] for name in IN_PRODUCTION}
    run.rows[PRODUCED] = {
        ours: [Measurement(5000, 1, 2, 3)],
        theirs: [Measurement(2500, 5, 6, 7)],
    }


def test_a_row_in_production_has_all_figures_of_both_services(run):
    produce(run)
    assert dict(blocks(run))["production"][2:] == [
        "| sign ed25519, 8 callers | 5,000 (2.00) | 2,500 | 1.00 · 2.00 | 5.00 · 6.00 | 3 | 7 |"
    ]
    (goal,) = (each for each in PRODUCTION if each.text == "sign ed25519, 8 callers / OpenBao")
    assert goal.of(run) == (goal.text, "at least 1.5", "2", "yes")


def test_readme_has_the_figures_in_production(run):
    produce(run)
    line = "| Ed25519 signatures a second | 1 | 2 | no | not measured |\n"
    other = "| P-256 signatures a second | 1 | 2 | 3 | not measured |\n"
    changed = "| Ed25519 signatures a second | 5,000 | 2,500 | no | not measured |\n"
    assert readme(run, line + other) == changed + other


def test_a_table_has_the_costs_of_each_number_of_keys_and_profiles():
    few, many = Spent(1.25, 2, 70), Spent(30.04, 2.5, 1234)
    found = many_tenants.tables({(30, 3): {"a call": few}, (1_000, 30): {"a call": many}})
    assert found["buffers of calls"] == [
        "|  | 30 in 3 | 1,000 in 30 |",
        "|---|---|---|",
        "| a call | 70 | 1,234 |",
    ]
    assert found["milliseconds of calls"][2] == "| a call | 1.2 | 30.0 |"


def test_the_chart_shows_each_contender(run):
    chart = pytest.importorskip("chart", reason="the extra `bench` draws charts")
    drawn = chart.rates(run, "Signatures", {"ed25519": ED25519}, ["memory", "sqlite", "openbao"])
    shown = re.findall(r">([^<>]+)</text>", drawn.decode())
    assert {"Signatures", "memory", "OpenBao", "ed25519"} <= set(shown)
    assert "SQLite" not in shown
    drawn = chart.curves("Buffers", ["30 in 3", "60 in 3"], {"get": [2, 3], "sign": [0, None]})
    assert {"Buffers", "30 in 3", "get"} <= set(re.findall(r">([^<>]+)</", drawn.decode()))


def test_goals_are_met_or_not_or_not_measured(run):
    for keys, largest in ((1, 70), (100_000, 200)):
        run.memory[keys_in_use.row(keys)] = {"sqlite-2": Memory(400, largest)}
    goals = [goal.of(run) for goal in (*PRODUCTION, *ONE_KEY, *MANY_KEYS)]
    found = {text: (measured, met) for text, _, measured, met in goals}
    assert len(found) == len(goals)
    assert found["Ed25519, one process / echo"] == ("0.3", UNMET)
    assert found["KB of memory for each key and process, 100,000 keys"] == ("1.36", "yes")
    assert found["P-256 / OpenBao"] == ("not measured", "")


def test_contender_that_failed_is_not_measured(run):
    run.rows[ED25519]["memory"] = "failed"
    assert "| sign ed25519 | failed | 1,000 | no |" in dict(blocks(run))["glance"]
    (goal,) = (each for each in ONE_KEY if each.text == "Ed25519, one process / echo")
    assert goal.of(run)[2] == "not measured"


@pytest.mark.process
async def test_the_report_names_rows_without_time(capsys):
    script = pytest.importorskip("run", reason="the extra `bench` draws charts")
    found = Run({"memory": CONTENDERS["memory"]})
    rows = {ED25519: ("memory",)}
    await script.measure(found, rows, 1, 1, 10, {"one-key": time.monotonic()})
    there_was_none = "there was no time left"
    assert found.missing == [f"{ED25519}: {there_was_none}"]
    assert not found.rows
    assert f"{ED25519}: {there_was_none}" in capsys.readouterr().err


def test_a_row_has_the_contenders_that_it_is_listed_with():
    names = contenders_of_rows()[Row("sign", "p256", 8)]
    assert set(names) >= {"memory", "memory-2", "openbao", "moto", "aws"}
