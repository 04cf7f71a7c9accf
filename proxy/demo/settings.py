"""The file that the demo writes, and the edit that brings v3 in.

The margins are what a team that serves digits might state; the rest follows from 200 requests/s and a stage of a few
seconds. With K = ln(1/alphaPromote) + 2.5 = 5.5 a gate passes after about 2 p(1-p) K / (w(1-w) D²) requests of both
arms, D being the distance of the truth from the margin and w the candidate's share; copies count as a w of one half:

| gate | v1 against v2 | requests | at w = 1/2, 400 answers/s |
|---|---|---|---|
| errors +1pp | 0 % and 0 % | 1,100 | 3 s |
| latency.p95 +100% | alike; 1 % of answers are above twice the p95 | 1,300 | 3 s |
| prediction.label 5pp | at most 1 point apart | 2,500 | 6 s |
| prediction.score 0.5sd | 0.2 sd apart | 500 | 1 s |
| pair.label 10% | 4 % differ | 150 pairs | 1 s |

A block of 2 s cannot move the evidence of an unpaired gate by more than a factor of 4, and the stage with one user in
ten is slow in it: v2 takes about 25 s. v3 differs from v2 in one answer of six, and slows, and doubts: half a thousand
requests are rehearsed before anybody meets it, and about as many more, a tenth of them among users, convict it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

ROUTE = "digits"
USER_HEADER = "x-user-id"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where things listen on 127.0.0.1: the proxy, its admin API, and the model servers by version."""

    proxy: int
    admin: int
    models: Mapping[str, int]


def backend(version: str) -> str:
    """The name of a version in the file."""
    return f"{ROUTE}-{version}"


def render(ports: Ports, versions: Sequence[str], stable: str, canary: str) -> str:
    """The file that knows these versions, has `stable` serve and `canary` tried."""
    servers = "\n".join(
        f"  - name: {backend(version)}\n    endpoints: [http://127.0.0.1:{ports.models[version]}]"
        for version in versions
    )
    return _FILE.substitute(
        proxy=ports.proxy, admin=ports.admin, servers=servers, stable=backend(stable), canary=backend(canary)
    )


def write(path: Path, text: str) -> None:
    """Put the text into the file at once, by rename: nobody ever reads half of it."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


_FILE = Template("""\
listen: [{address: 127.0.0.1:$proxy}]
admin: {address: 127.0.0.1:$admin}
store: {url: sqlite:///understudy.db}
workers: 2
drainDelay: 0s

backends:
$servers

routes:
  - name: digits
    match: [{path: {prefix: /v2/models/digits}}]
    backendRefs: [{name: $stable, role: stable}, {name: $canary, role: canary}]
    sessionAffinity: {header: x-user-id}
    timeouts: {request: 5s, connect: 1s}
    predictions:
      protocol: open-inference
      outputs: [{name: label, kind: category}, {name: score, kind: number, range: [0, 1], tolerance: 0.1}]
    strategy:
      canary:
        steps:
          - setMirror: {percent: 100}      # rehearse: every answer is compared, nobody sees the candidate's
          - analysis: {minSamples: 400}
          - setWeight: 10                  # one user in ten
          - analysis: {minSamples: 150}
          - setMirror: {percent: 0}
          - setWeight: 50
          - analysis: {}                   # the gate: every guardrail must be proven
    analysis:
      interval: 1s
      block: 2s
      minDuration: 6s
      maxDuration: 90s
      minSamples: 500
      onInconclusive: abort
      metrics:
        - {name: errors,           maxIncrease: 1pp}
        - {name: latency.p95,      maxIncrease: 100%}
        - {name: prediction.label, maxShift: 5pp}
        - {name: prediction.score, maxShift: 0.5sd}
        - {name: pair.label,       maxDisagreement: 10%}
""")
