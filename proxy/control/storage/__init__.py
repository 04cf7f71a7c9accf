"""What is kept: rollouts with their evidence, the journal, configurations and counters, in SQLite or PostgreSQL.

`store` is all of it, in one transaction for each change; `keeper` a store that may be away, or lost; `database` which
kind it is, `files` whether they are still those that were opened, `examining` whether they are whole, `tables` and
`migrations` its shape. In its transactions work `kept_rollouts` (states and evidence), `journal` (`entries`, which
`chain` links), `post` (what webhooks have yet to be told), `slices` (what judges were given, as `recording` packs
it), `kept_seen` (which answers were heard of: `seen`), `kept_captures` (requests that workers captured: `captures`),
`configs`, `given` (numbers and secrets), `charges` (who writes), `carrying` (all that goes on, into a file that takes
the place of another) and `pruning` (what goes again, when `retention` says so). `keys` are what workers get of it,
`errors` what goes wrong.
"""
