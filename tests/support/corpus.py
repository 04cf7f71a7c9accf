"""Bytes worth remembering: for each thing that the parsers can say of a message the shortest mutant that had it said.

`tests/corpus/*.json` has them with what came of them. Tests replay them in many cuttings and against real servers, so
that a release of llhttp which begins to take or to refuse something is seen. `python -m tests.support.corpus` looks for
more, and keeps what is new; say why in the commit that adds it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import httptools

from tests.proxy.data import test_fuzz, test_fuzz_answers
from tests.proxy.data.test_fuzz import Llhttp, Strict
from tests.support.plane import Clock, Network, Plane, answer
from tests.support.transports import settle

FOLDER: Final = Path(__file__).parents[1] / "corpus"
MAX_BYTES: Final = 400
"""A longer mutant is not remembered: what it shows a shorter one shows."""
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_DETAIL: Final = re.compile(rb'"detail": "([^"]*)"')


class Outcome(NamedTuple):
    """What came of bytes: what a strict reader finds in what went on, the statuses that the client got, and why."""

    went_on: tuple[str, ...]
    statuses: tuple[int, ...]
    why: str

    @property
    def facts(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """What must be the same in any cutting, and in any release of a parser; its words may change."""
        return self.went_on, self.statuses


class Entry(NamedTuple):
    """Bytes, and what came of them."""

    raw: bytes
    outcome: Outcome


async def requests(parts: Iterable[bytes]) -> Outcome:
    """A client sends the pieces and is done; every request that is complete at the backend is answered."""
    network = Network()
    asyncio.get_running_loop().create_connection = network.create_connection
    plane = Plane(network, Clock())
    client = plane.client()
    readers: list[tuple[Strict, Llhttp]] = []
    got = b""
    pending = [part for part in parts if part]
    turns = 4 if len(pending) < 50 else 1
    for part in [*pending, *[b""] * 10]:
        if part:
            client.send(part)
        await settle(turns if part else 4)
        for number, backend in enumerate(network.made.get("v1.test", ())):
            if number == len(readers):
                readers.append((Strict(), Llhttp()))
            strict, llhttp = readers[number]
            if sent := backend.take():
                try:
                    llhttp.parser.feed_data(sent)
                except httptools.HttpParserUpgrade:  # it was asked for, and is refused
                    llhttp.parser = httptools.HttpRequestParser(llhttp)
                if strict.feed(sent) and not backend.transport.lost:
                    backend.answer(answer())
        got += client.take()
    assert all(strict.messages == llhttp.messages for strict, llhttp in readers)
    went_on = tuple(target.decode("latin-1") for strict, _ in readers for target, _, _ in strict.messages)
    return Outcome(went_on, *_answers(got))


async def answers(parts: Iterable[bytes]) -> Outcome:
    """A backend answers in pieces and closes: what the client got. Where the head of a bad answer came before what is
    bad in it, the client's connection is cut, and where both came together it is a 502; either way it is refused."""
    got, was_cut, second = await test_fuzz_answers.passed_on([part for part in parts if part], "GET")
    found, _ = test_fuzz_answers.read(got, 1)
    assert test_fuzz_answers.read(second, 1) == ([(200, b"mine")], True)
    statuses, why = _answers(got)
    if was_cut or test_fuzz_answers.REFUSED in got:
        return Outcome((), (), why)
    return Outcome(tuple(body.decode("latin-1") for _, body in found), statuses[:1], why)


def _answers(got: bytes) -> tuple[tuple[int, ...], str]:
    statuses = tuple(int(status) for status in _STATUS.findall(got) if status != b"100")
    why = _DETAIL.findall(got)
    return statuses, why[-1].decode("latin-1") if why else ""


Player = Callable[[Iterable[bytes]], Awaitable[Outcome]]
KINDS: Final[dict[str, tuple[Player, Any]]] = {
    "requests": (requests, test_fuzz),
    "answers": (answers, test_fuzz_answers),
}


def play(kind: str, parts: Iterable[bytes]) -> Outcome:
    """What comes of the pieces."""
    player, _ = KINDS[kind]
    return asyncio.run(_run(player, parts))


async def _run(player: Player, parts: Iterable[bytes]) -> Outcome:
    return await player(parts)


def load(kind: str) -> list[Entry]:
    """What is remembered."""
    path = FOLDER / f"{kind}.json"
    told = json.loads(path.read_text()) if path.exists() else []
    return [
        Entry(said["raw"].encode("latin-1"), Outcome(tuple(said["wentOn"]), tuple(said["statuses"]), said["why"]))
        for said in told
    ]


def save(kind: str, entries: Iterable[Entry]) -> None:
    """Remember these, in an order of their own."""
    ordered = sorted(entries, key=lambda entry: (entry.outcome.statuses, entry.outcome.why, entry.raw))
    told = [
        {
            "why": entry.outcome.why,
            "statuses": entry.outcome.statuses,
            "wentOn": entry.outcome.went_on,
            "raw": entry.raw.decode("latin-1"),
        }
        for entry in ordered
    ]
    lines = ",\n".join(json.dumps(one) for one in told)
    (FOLDER / f"{kind}.json").write_text(f"[\n{lines}\n]\n")


def seek(kind: str, seed: int, seconds: float) -> tuple[list[Entry], int]:
    """Play mutants for so long. Returns what is worth remembering, and how many were played."""
    _, fuzz = KINDS[kind]
    rng = random.Random(seed)
    known = {_sign(entry.outcome): entry for entry in load(kind)}
    end, played = time.monotonic() + seconds, 0
    seeds = [raw for raw in fuzz.CORPUS if raw]
    while time.monotonic() < end:
        raw = seeds[played] if played < len(seeds) else fuzz.mutant(rng)
        played += 1
        if not raw or len(raw) > MAX_BYTES:
            continue
        outcome = play(kind, [raw])
        sign = _sign(outcome)
        if sign not in known or len(raw) < len(known[sign].raw):
            known[sign] = Entry(raw, outcome)
    return list(known.values()), played


def _sign(outcome: Outcome) -> tuple[object, ...]:
    return outcome.statuses, len(outcome.went_on), outcome.why


def main() -> None:
    """Look for more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    before = len(load(options.kind))
    entries, played = seek(options.kind, options.seed, options.seconds)
    save(options.kind, entries)
    print(f"{played} mutants played, {len(entries)} remembered, {len(entries) - before} of them new")


if __name__ == "__main__":
    main()
