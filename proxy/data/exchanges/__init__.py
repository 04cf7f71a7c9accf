"""One request from its head to its one outcome.

`exchange` owns it, with the backend's side in `attempt` and the client's in `reply`; `leftover` reads what is given up
for another attempt, and `tunnel` is what becomes of an upgrade. `logged` and `captured` are exchanges that are noted.
"""
