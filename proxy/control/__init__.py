"""The control plane: what the routing should be, and whether the candidate holds.

    supervisor ─ child           opens what outlives the others, keeps them alive (standard library only)
    launch                       what the supervisor has to know, from the configuration

    config ─▶ judging ─▶ rollout ─▶ compile ─▶ push ─▶ workers
                            ▲                             │
        store ◀─────────────┤                             ▼
                         verdict ◀── evidence ◀──────── ledger

`controller` turns the wheel once a second and answers the admin API, `plane` makes every change to what is live. Pure
are `judging` (what a route's configuration means for its rollout and its judge), `rollout` with `steps`, `state`,
`looks`, `orders`, `moves`, `swaps`, `rolls` with `places`, and `adopting` (the state machine), `silence` (how long
nothing came), `compile` with `backends`, `matches` and `guards` (the snapshot). `lending` gives rows of the ledger to
stages, `holdings` are those of one route, `evidence` reads closed slices and `glance` for outages those that go on,
`tally` sums what rows counted, `subject` is all that is alive of one route, and `dossier` what of it outlives the
controller. Truths that clients tell come in at `feedback`: `truths` are those of one rollout, `seen` and `kept_seen`
which answers were heard of. `fleet` are the workers, `push` the way to them, `hooks` what webhooks are asked
(`questions`, at `gates`) and told (`outbox`), with `messages` as what is sent and `webhooks` as the way there. `store`
is what is kept (`database` which kind it is in, `journal` its entries, `chain` what links them, `post` what webhooks
have yet to be told), `keeper` a store that may be away, `keys` what workers get of it, `records` what people ask of it,
`journaling` what is written of a change, `why` how a decision is derived again, `recording` what judges were given
(`slices` in the database), `captures` which requests workers captured (`kept_captures` in the database), `drive` a
rollout on a virtual clock, `replay` one on what was recorded, `backtest` under another file, `retention` what goes
again (`pruning` in the database). `health` asks endpoints whether they are well, `smoke` whether they answer as they
should, both by `asking`, `swapping` and `rolling` have versions and endpoints stopped and started, by `ordering`,
`views`, `held` and `endpoints` are how all of it looks to people, `drift` where it is not what the file says, `role`
the process, `isolation` keeps the trouble of one route from the others, `cohorts` says who has which users, `race`
which of several candidates are left, `paired` what both versions answered. `source` says which configurations may go
live, and `vacated` which would give clients to what is stopped. State is kept in the store before anything is pushed.
"""
