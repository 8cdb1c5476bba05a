"""A fleet whose real servers are killed, frozen, emptied and slowed while it works."""

from tools.chaos.run import SHORT, run


def test_whatever_happens_to_its_servers_a_fleet_is_right_and_ends_with_one_store():
    document = run(SHORT)
    found = document["figures"]
    untimed = {p["name"]: p["value"] for p in document["promises"] if not p["unit"] and not p["ok"]}
    assert untimed == {}, found["worst"]
    assert found["hits"] > 0
    assert found["encodes"] > 0
    assert sum(map(len, found["faults"].values())) > 0
    assert found["stores"]["on_disks"] <= found["stores"]["after_sync"]
