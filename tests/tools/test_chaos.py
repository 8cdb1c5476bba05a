import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.support.scripted import Scripted
from tests.support.writers import encode
from tools.chaos import judge
from tools.chaos.cli import BEGIN, END, main
from tools.chaos.judge import HIT, MISS, NEW, WAITED, Encodes, Promise
from tools.chaos.records import FOREIGN, Board, Call, Encode, Log, Phase, read_log
from tools.chaos.report import render
from tools.chaos.saboteur import RESTARTED, Fault, Saboteur, plans
from tools.chaos.stores import Contents, read_store
from tools.chaos.wire import Wire
from tools.chaos.worker import source_of, voice

REPOSITORY = Path(__file__).parents[2]


def call(number=1, nonce=7, begin=0.0, end=1.0, *, hit=False, new=False, stall=0.0, disk=0.0):
    return Call(number, nonce, begin, end, stall, disk, Phase.CHAOS, hit | new << 1)


def run_of(number=1, nonce=7, begin=0.0, end=1.0, *, raised=False):
    return Encode(number, nonce, begin, end, raised)


def test_help_is_printed():
    command = [sys.executable, "tools/chaos", "--help"]
    done = subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert "--seed" in done.stdout


@pytest.mark.parametrize("chain", ["redis,ftp", "s3,s3", ""])
def test_a_chain_that_there_is_not_is_refused(chain, capsys):
    assert main(["--chain", chain]) == 2
    assert "redis, s3, gs" in capsys.readouterr().err


def test_a_page_without_a_place_for_the_result_is_refused_before_anything_starts(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n")
    assert main(["--update-docs", str(page)]) == 2
    assert END in capsys.readouterr().err


def test_the_documentation_has_a_place_for_it():
    page = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert (page.count(BEGIN), page.count(END)) == (1, 1)


def test_all_see_what_is_on_the_board(tmp_path):
    board = Board(tmp_path / "board", create=True)
    other = Board(tmp_path / "board")
    board.show(phase=Phase.CHAOS, voices=9, mended=1.5)
    assert other.look() == (Phase.CHAOS, 9, 0, 0, 1.5)
    with pytest.raises(TypeError):
        other.show(voices=1)


def test_a_record_that_was_cut_short_is_left_out(tmp_path):
    log = Log(tmp_path / "log", Encode)
    runs = [run_of(number) for number in range(3)]
    for one in runs:
        log.write(one)
    log.close()
    path = tmp_path / "log"
    path.write_bytes(path.read_bytes()[:-1])
    assert list(read_log(path, Encode)) == runs[:2]


def test_a_value_says_which_run_it_comes_from_or_that_it_comes_from_none():
    value = encode(3, 40)
    assert source_of(3, value) == 40
    assert source_of(4, value) == FOREIGN
    assert source_of(3, (value[0], encode(3, 41)[1], *value[2:])) == FOREIGN
    assert source_of(3, None) == FOREIGN


def test_a_value_that_no_run_has_returned_by_then_is_wrong():
    encodes = Encodes([run_of(nonce=7, end=1.0), run_of(nonce=8, raised=True)])
    assert encodes.made(1, 7, before=1.0)
    assert not encodes.made(1, 7, before=0.9)
    assert not encodes.made(2, 7)
    assert not encodes.made(1, 8)
    assert not encodes.made(1, FOREIGN)


@pytest.mark.parametrize(
    ("runs", "asked", "busy"),
    [
        ([], call(hit=True), (0.0, False)),
        ([(0.2, 0.8)], call(), (pytest.approx(0.6), False)),
        ([(0.2, 0.8)], call(hit=True), (pytest.approx(0.6), True)),
        ([(-1.0, 0.3), (0.1, 0.6)], call(), (pytest.approx(0.6), True)),
        ([(2.0, 3.0)], call(hit=True), (0.0, False)),
    ],
)
def test_while_somebody_encodes_its_voice_a_call_is_not_delayed(runs, asked, busy):
    encodes = Encodes([run_of(begin=begin, end=end) for begin, end in runs])
    assert encodes.busy(asked) == busy


def test_delays_are_told_by_phase_and_kind_without_what_the_machine_took():
    encodes = Encodes([run_of(begin=0.0, end=0.5), run_of(2, begin=0.0, end=0.5)])
    calls = [
        call(3, hit=True, end=0.25),
        call(3, hit=True, end=2.0, stall=1.5, disk=1.75),
        call(end=0.75),
        call(2, hit=True, end=0.5),
        call(3, new=True, hit=True),
    ]
    rows = {row["kind"]: row for row in judge._delays(calls, encodes)}
    assert {kind: row["calls"] for kind, row in rows.items()} == {
        HIT: 2,
        MISS: 1,
        WAITED: 1,
        NEW: 1,
    }
    assert (rows[HIT]["longest"], rows[HIT]["longest_with_machine"]) == (0.25, 2.0)
    assert (rows[MISS]["longest"], rows[WAITED]["longest"]) == (0.25, 0.0)


def logs(tmp_path, calls, encodes, counters):
    return judge.Logs(
        [calls], [encodes], [{"lives": [{"counters": counters}], "recovered": 12.0}], 0, 0, 10.0
    )


@pytest.mark.parametrize(
    ("stored", "dropped", "left"), [(3, 0, 0), (2, 1, 0), (2, 0, 1), (1, 0, 2)]
)
def test_an_upload_that_was_neither_made_nor_counted_is_found(tmp_path, stored, dropped, left):
    from tools.chaos.run import Plan

    counters = {"stored": stored + 4, "promoted": 4, "dropped": dropped}
    found = judge._uploads(Plan(), logs(tmp_path, [call()], [run_of()], counters), counters)
    assert (found["owed"], found["unaccounted"]) == (2, left)


def test_an_encode_that_was_too_late_owes_nothing(tmp_path):
    from tools.chaos.run import Plan

    counters = {"lost": 1}
    found = judge._uploads(Plan(), logs(tmp_path, [call(nonce=8)], [run_of()], counters), counters)
    assert (found["owed"], found["unaccounted"]) == (0, 0)


def document(tmp_path, **changes):
    from dataclasses import asdict

    from tools.chaos.run import Plan

    empty = Contents({}, {})
    stores = {"before": {"s3": empty}, "disks": {}, "last": "s3", "after": empty, "sync": []}
    stores |= changes
    plan = Plan(chain=("s3",))
    some = logs(tmp_path, [call(end=1.05)], [run_of()], {"stored": 2})
    found = judge.figures(plan, some, [Fault("s3", "hung", 0.0, 1.0)], stores)
    promises = [promise.figures() for promise in judge.promises(plan, found)]
    run = {"plan": asdict(plan), "load": [0, 0], "figures": found, "promises": promises}
    machine = dict.fromkeys(("when", "processor", "cores", "system", "python", "stepaudio_cas"), "")
    return {"machine": machine, "runs": [run]}


def broken(document):
    return [promise["name"] for promise in document["runs"][0]["promises"] if not promise["ok"]]


def test_what_was_kept_and_what_was_broken_is_in_the_table(tmp_path):
    good = document(tmp_path)
    assert broken(good) == []
    assert "| s3 hung" not in render(good)
    assert "| hung | 1 |" in render(good)
    lacking = document(tmp_path, disks={"disk-0-0": Contents({1: 7}, {})})
    assert broken(lacking) == ["entries that the last store lacks after sync"]
    assert "| 1 | 0 | **no** |" in render(lacking)
    wrong = document(tmp_path, after=Contents({1: FOREIGN}, {}))
    assert broken(wrong) == ["wrong values in any store"]


def test_what_was_not_reached_is_not_kept():
    assert not Promise("recovery", None, 100.0, "s").kept
    assert Promise("errors", 0, 0).kept


def test_a_seed_says_what_happens_and_each_fault_comes_before_any_comes_again():
    kinds = ["emptied", "hung", RESTARTED]
    first, again, other = (list(islice(plans(seed, "s3", kinds), 12)) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(plan.fault for plan in first[:3]) == kinds
    assert {plan.lasts for plan in first if plan.fault == RESTARTED} == {0.0}


class Patient:
    """A place whose only fault is noted when it begins and when it is mended."""

    name = "s3"

    def __init__(self):
        self.happened = []
        self.faults = {"hung": (self.begin, lambda: self.happened.append("mended"))}

    def begin(self):
        self.happened.append("hung")
        self.saboteur._over.set()


def test_a_saboteur_who_is_stopped_mends_what_it_has_broken():
    place = Patient()
    saboteur = place.saboteur = Saboteur([place], 1, pace=0.001)
    saboteur.start()
    saboteur._threads[0].join(60)
    saboteur.stop()
    assert place.happened == ["hung", "mended"]
    assert [fault.fault for fault in saboteur.history] == ["hung"]


def test_a_server_that_cannot_be_broken_as_planned_is_a_failure_of_the_run():
    place = Patient()
    place.faults = {"hung": (lambda: 1 / 0, None)}
    saboteur = Saboteur([place], 1, pace=0.0)
    saboteur.start()
    saboteur._threads[0].join(60)
    with pytest.raises(ZeroDivisionError):
        saboteur.stop()


def asked(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return connection.recv(100)


def test_a_wire_passes_loses_refuses_and_passes_again_at_the_same_address():
    server = Scripted()
    wire = Wire(int(server.url.rpartition(":")[2]), "seed")
    try:
        assert asked(wire.port).startswith(b"HTTP/1.1 200")
        wire.loss = 1.0
        assert len(asked(wire.port)) == 0
        wire.calm()
        wire.refuse()
        with pytest.raises(ConnectionRefusedError):
            asked(wire.port)
        wire.accept()
        assert asked(wire.port).startswith(b"HTTP/1.1 200")
    finally:
        wire.close()
        server.close()


def test_a_store_is_read_entry_by_entry(open_cache, root):
    with open_cache(root) as cache:
        for number in range(3):
            cache.put(voice(number), encode(number, number + 16))
        cache.put(voice(3), [1, 2])
    assert read_store(str(root)) == Contents({0: 16, 1: 17, 2: 18, 3: FOREIGN}, {})
