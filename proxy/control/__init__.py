"""The control plane: what the routing should be, and whether the candidate holds.

    supervisor ─ child           opens what outlives the others, keeps them alive (standard library only)
    launch                       what the supervisor has to know, from the configuration

    config ─▶ judging ─▶ rollout ─▶ compile ─▶ push ─▶ workers
                            ▲                             │
        store ◀─────────────┤                             ▼
                         verdict ◀── evidence ◀──────── ledger

`controller` turns the wheel once a second. `judging` says what a route's configuration means for its rollout and its
judge, `rollout` is the state machine (pure), `lending` gives rows of the ledger to stages, `compile` makes the
snapshot (pure), `push` brings it to the workers, `evidence` reads closed slices, `tally` sums what rows counted,
`subject` is all that is alive of one route, `dossier` what of it outlives the controller, `views` is how all of it
looks to people. State is kept in the store before anything is pushed.
"""
