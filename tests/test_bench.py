"""What the benchmark sends is answered rightly, and what it writes is what was measured."""

import pieces
import pytest
from contenders import CONTENDERS
from goals import ED25519, GOALS
from many_keys import resident
from report import Run, document
from rows import all_rows, requests_of
from server import Measurement, Memory, started
from service import running
from soak import WEIGHTS, Soak


@pytest.mark.process
async def test_every_row_can_be_sent(tmp_path):
    async with started(CONTENDERS["memory"], tmp_path) as server:
        for row in all_rows([8], keys=2):
            for request in await requests_of(server, row):
                await server.call(request)
        assert server.memory().largest > 1


@pytest.mark.process
async def test_every_call_of_the_soak_is_answered():
    async with running() as (client, pid):
        soak = Soak(client, keys=5)
        await soak.fill()
        for name in WEIGHTS:
            await soak.call(name)
        assert sum(soak.done.values()) == len(WEIGHTS)
        assert "unavailable" not in soak.done
        assert resident(pid) > 1


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


def test_document_has_medians_and_ratios(run):
    text = document(run, [])
    assert "| sign ed25519 | 3,000 (2.00) | 1,000 | 9,000 | no |" in text
    assert "| sign ed25519 | 1.25 · 3.50 | 2.50 · 9.00 | 0.50 · 1.00 | no |" in text
    assert "| sign ed25519 | 100 · 20 | 200 · 20 | 50 · 15 | no |" in text
    assert "| memory | 1.50 | 70 | 200 | 90 |" in text
    assert "| moto | no | no | no | no |" in text


def test_goals_are_met_or_not_or_not_measured(run):
    found = {text: (measured, met) for text, _, measured, met in (goal.of(run) for goal in GOALS)}
    assert found["Ed25519, one process / echo"] == ("0.3", "**no**")
    assert found["s from the start to the first signature"] == ("1.5", "**no**")
    assert found["MiB of the largest process, 10,000 keys in use"] == ("90", "yes")
    assert found["P-256 / OpenBao"] == ("not measured", "")


def test_contender_that_failed_is_not_measured(run):
    run.rows[ED25519]["memory"] = "failed"
    assert "| sign ed25519 | failed | 1,000 |" in document(run, [])
    assert GOALS[0].of(run)[2] == "not measured"


def test_pieces_of_a_call(run, monkeypatch):
    monkeypatch.setattr(pieces, "CALLS", 3)
    monkeypatch.setattr(pieces, "ROUNDS", 2)
    run.pieces = pieces.measure()
    audited = run.pieces["Ed25519, token, audit"]
    assert {"signature", "line of the audit log", "the rest", "all"} <= audited.keys()
    assert "| line of the audit log |  |  | " in document(run, [])
