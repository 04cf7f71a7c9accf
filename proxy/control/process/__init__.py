"""The processes: the supervisor, which opens what outlives the others and keeps them alive.

    launch ─▶ supervisor ─▶ child            workers and the controller, started and started again
                 │
                 ├─ listening, activation    sockets of its own, or those that systemd opened
                 ├─ takeover, closing        how they go to the next release, and how they end
                 └─ stderr                   what it says

It is the standard library alone, but for `launch` (what it has to know, from the configuration) and `role` (the
controller as a process).
"""
