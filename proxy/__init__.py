"""Understudy: a traffic proxy that rehearses new versions of a model on live traffic.

    understudy serve      supervisor, opens the listening sockets and the ledger, starts and restarts the others
       ├─ worker 0..N-1   `data`: clients → downstream → router → exchange → upstream → model versions
       │     ▲    └── `ledger` (UP: shared counters, one slab and one writer per worker) ──┐
       │     └─────── `snapshot` (DOWN: frozen routing facts, generation by generation) ◄──┤
       └─ controller      `control`: config → compile → push · ledger → evidence → verdict → rollout → store
                          `admin`: the API, the dashboard, metrics

Routing facts travel down as one frozen `Snapshot`; measurements travel up as cells of one `Ledger`. Nothing else is
shared, but for the names of answers (`answer_id`), by which clients tell later what was true, and for requests that are
to be looked at (`capture`).

`cli` is what a person types, `demo` the main job on real models, `__main__` starts one role of a process.
"""
