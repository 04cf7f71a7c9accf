"""Outages on records: found at the same moment, and for the same reason, as the control plane finds them live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from proxy.control.evidence.glance import GLANCES
from proxy.control.evidence.tracks import TICK_AFTER_S
from proxy.faults import Fault
from proxy.simulation.glances import Glances, parts
from proxy.simulation.order import Second
from proxy.simulation.records import Lines
from tests.support.control_plane import BOOT_S, World, config
from tests.support.records import lines, simulate

FIVE = [{"setWeight": 5}, {"pause": {}}]
Json = dict[str, Any]


def traffic(
    seconds: int, fails: Callable[[float], float], rate: int = 50, took_ms: float = 20.0, failing_ms: float = 0.0
) -> list[Json]:
    """Requests of which 5 % go to v2, where some fail, as `fails` has the chance by time, at once or later."""
    random = np.random.default_rng(7)
    found = []
    for number in range(rate * seconds):
        t, candidate = round((number + 0.5) / rate, 4), bool(random.random() < 0.05)
        failed = candidate and bool(random.random() < fails(t))
        record = {"t": t, "backend": "v2" if candidate else "v1", "stage": 1, "weight": 5, "error": failed}
        found.append(record | {"latencyMs": failing_ms if failed and failing_ms else took_ms})
    return found


async def live(folder: Path, document: Json, records: list[Json]) -> Json:
    """What the control plane does where the same requests come, seconds after its start."""
    world = World(folder, document)
    controller = await world.start()
    worker = world.workers[0]

    def acts(record: Json) -> Iterator[tuple[float, Callable[[], None]]]:
        route = worker.snapshot.routes[0]
        names = [backend.name for backend in worker.snapshot.backends]
        arm = next(arm for arm in route.arms if names[arm.backend] == record["backend"])
        row = worker.writer.occupy(arm.row.index, arm.row.tenant, 2)
        arrived_s, failed = BOOT_S + record["t"], record["error"]
        end_s, status = arrived_s + record["latencyMs"] / 1000, 502 if failed else 200
        yield arrived_s, lambda: worker.writer.arrive(row, arrived_s)
        yield end_s, lambda: worker.writer.finish(row, arrived_s, end_s, failed, status, Fault.NONE)

    due = sorted((act for record in records for act in acts(record)), key=lambda act: act[0])
    glances = range(1, GLANCES * int(records[-1]["t"] + 20))
    for moment in [BOOT_S + TICK_AFTER_S + number / GLANCES for number in glances]:
        while due and due[0][0] <= moment:
            due.pop(0)[1]()
        world.time.move(moment - world.time.monotonic_s)
        worker.beat()
        await (controller.tick() if round((moment - TICK_AFTER_S) % 1, 6) in (0, 1) else controller.glance())
        if world.first["phase"] == "Aborted":
            break
    route = world.first | {"atSeconds": moment - BOOT_S - records[0]["t"]}
    await world.close()
    return route


def watched(*more: Json) -> Json:
    """A file whose breaker alone is quick; `more` are further versions."""
    document = config(*FIVE)
    document["routes"][0]["analysis"]["block"] = "30s"
    document["routes"][0]["backendRefs"] += more
    return document


OUTAGES = {
    "at once": traffic(8, lambda t: 1.0),
    "after some time": traffic(24, lambda t: float(t > 15.3)),
    "of half": traffic(30, lambda t: 0.5 * (t > 5)),
    "that takes long to fail": traffic(16, lambda t: float(t > 5), took_ms=1400.0),
    "that ends in timeouts": traffic(60, lambda t: float(t > 5), took_ms=20.0, failing_ms=15_200.0),
    "of few requests a second": traffic(120, lambda t: float(t > 10), rate=8),
}


@pytest.mark.slow
@pytest.mark.parametrize("records", OUTAGES.values(), ids=OUTAGES.keys())
async def test_an_outage_is_found_when_it_is_found_live(tmp_path: Path, records: list[Json]) -> None:
    """Broken: a simulation says of an outage that more clients meet it, or fewer, than meet it live."""
    document = watched()
    was = await live(tmp_path, document, records)
    found = simulate(records, yaml.safe_dump(document))
    assert (was["phase"], was["decidedBy"]) == ("Aborted", "breaker"), "the traffic is that of an outage"
    assert (found["phase"], found["decidedBy"]) == ("Aborted", "breaker")
    assert found["atSeconds"] == pytest.approx(was["atSeconds"], abs=1e-6)
    assert found["reason"] == was["reason"]


def test_most_outages_are_found_between_the_ticks() -> None:
    """Broken: nothing glances, and the test above compares ticks with ticks."""
    found = [simulate(records, yaml.safe_dump(watched()))["atSeconds"] for records in OUTAGES.values()]
    ticks = [at_s for at_s in found if round(at_s % 1, 2) in (0.05, 0.0)]  # the first record comes 10 or 60 ms late
    assert len(ticks) < len(found) / 2, found


def test_what_comes_after_a_glance_that_aborts_is_not_read() -> None:
    """Broken: requests count that nobody sent to a version that was gone."""
    records = OUTAGES["after some time"]
    found = simulate(records, yaml.safe_dump(watched()))
    assert found["records"] == sum(record["t"] < found["atSeconds"] + records[0]["t"] for record in records)
    (timeline,) = [each for each in found["timeline"] if each["kind"] == "abort"]
    assert timeline["atSeconds"] == found["atSeconds"]


def test_of_several_candidates_the_others_go_on_in_the_second_in_which_one_leaves() -> None:
    """Broken: what is left of the second is lost, or counts for the stage that is over."""
    document = watched({"name": "v3", "role": "canary"})
    random = np.random.default_rng(4)
    records = []
    for number in range(100 * 30):
        name = str(random.choice(["v1", "v2", "v3"], p=[0.9, 0.05, 0.05]))
        records.append({"t": number / 100, "backend": name, "latencyMs": 20.0, "error": name == "v2",
                        "stage": 1, "weight": 5})  # fmt: skip
    found = simulate(records, yaml.safe_dump(document))
    standing = {each["name"]: (each["verdict"], each["decidedBy"]) for each in found["candidates"]}
    assert standing == {"v2": ("Failed", "breaker"), "v3": ("", "")}
    (drop,) = [each["atSeconds"] for each in found["timeline"] if each["kind"] == "drop"]
    assert drop % 1 > 0.1, "between two ticks"
    third = next(each for each in found["candidates"] if each["name"] == "v3")["metrics"][0]
    assert third["nCandidate"] == sum(record["backend"] == "v3" for record in records), "each counts once"


# --- which seconds are glanced at


def second(*records: Json) -> Second:
    given = lines([{"t": 0.0, "backend": "v1", **record} for record in records])
    found, numbers, refused, _ = Lines([]).decode(1, given)
    assert refused is None
    return Second(0, found, numbers)


def of_v2(t: float, error: bool = False, took_ms: float = 1.0) -> Json:
    return {"t": t, "backend": "v2", "error": error, "latencyMs": took_ms}


def test_a_second_is_glanced_at_where_more_fail_in_some_part_of_it_than_the_margin_allows() -> None:
    """Broken: outages are found a second late, or every failure costs as much as an outage."""
    rare = [of_v2(0.001 * at, error=at == 7) for at in range(100)]
    assert not Glances(["v2"], 0.2).find_something(0, second(*rare)), "1 % of them"
    late = [*rare[:90], *(of_v2(0.7 + 0.001 * at, error=at < 3) for at in range(10))]
    assert Glances(["v2"], 0.2).find_something(0, second(*late)), "30 % of the last ones"
    assert not Glances(["v2"], None).find_something(0, second(*late)), "there is no breaker"
    assert not Glances(["v3"], 0.2).find_something(0, second(*late)), "it is of somebody else"


def test_glances_go_on_until_what_fails_has_failed() -> None:
    """Broken: an outage that takes its time to fail is found by a tick."""
    watch = Glances(["v2"], 0.2)
    assert watch.find_something(0, second(of_v2(0.5, error=True, took_ms=2_000.0)))
    assert [watch.find_something(number, None) for number in (1, 2, 3)] == [True, True, False]


def test_the_parts_of_a_second_are_what_has_come_by_each_glance() -> None:
    """Broken: a glance sees requests before they come."""
    found = [[record.t for record in part.records] for part in parts(second(*map(of_v2, (0.1, 0.25, 0.27, 0.87, 0.9))))]
    assert found == [[0.1], [0.25], [0.27], *[[]] * 5, [0.87, 0.9], []]
