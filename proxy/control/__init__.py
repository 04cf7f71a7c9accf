"""The control plane: what the routing should be, and whether the candidate holds.

    process                      opens what outlives the others, keeps them alive (standard library only)

    intent ─▶ machine ─▶ routing ─▶ workers
                 ▲                     │
                 │                     ▼
    storage ◀────┤                  ledger
                 │                     │
               judge ◀── evidence ◀────┘

`controller` turns the wheel once a second and answers the admin API, `plane` makes every change to what is live: state
is kept in `storage` before anything is pushed. All of it measures time by one clock (`steady`).

Each folder may use those named after it: `intent` (configurations as they come), `endpoints` (asked, stopped and
started) and `hindsight` (why, and what if); `webhooks` and `views` (what others are told and shown); `evidence`
(what is known of a route); `storage`; `routing` (what workers get); `machine` (the rollout, pure); and `process`.
Each says in its docstring what its files are.
"""
