"""What is kept: rollouts with their evidence, the journal, configurations and counters, in SQLite or PostgreSQL.

`store` is all of it, in one transaction for each change; `keeper` a store that may be away; `database` which kind it
is, `tables` and `migrations` its shape. In its transactions work `journal` (`entries`, which `chain` links), `post`
(what webhooks have yet to be told), `slices` (what judges were given, as `recording` packs it), `kept_seen` (which
answers were heard of: `seen`), `kept_captures` (requests that workers captured: `captures`) and `pruning` (what goes
again, when `retention` says so). `keys` are what workers get of it, `errors` what goes wrong.
"""
