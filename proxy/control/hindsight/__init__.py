"""Decisions afterwards: on what they were made, and what others would have been.

`journaling` says what is written of a change, `why` derives a decision again, `drive` runs a rollout on a virtual
clock, `replay` on what was recorded, and `backtest` under another configuration. `records` is what people ask the
store.
"""
