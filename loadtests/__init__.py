"""What the proxy costs, measured beside the proxies that people would take instead. `make bench` runs all of it.

    __main__        the command: which measurements, results, document, pictures

    compare         interleaved rounds of every case, and what one measurement is made of
    transfers       1 GiB up and down: memory, wholeness, throughput
    idle            10,000 keep-alive connections that wait: memory of each
    workers         two workers beside one, at the same rate
    footprint       memory of the sidecar's processes, and of what they import
    ledger          what counting one outcome costs, and what a row of the ledger takes
    soak            a mixed load with reloads for minutes: does memory stay flat?
    profile         where a worker's time goes, by perf, strace and valgrind: docs/profile.md

    cases           what is measured: the modes, and which peer runs which
    peers           starts and stops each proxy, and names all its processes
    settings        the peers' configuration files, as equal as they can be made
    upstream        the model behind the proxies: quick, tiny, and it counts what reached it
    model           another one, for large bodies, streams, failures
    mixture         clients of every kind at once, for the soak
    importcost      what imports cost in memory, in an interpreter of its own
    aiohttp_proxy   the proxy that a Python user would write first
    closedloop      full load by wrk: CPU per request and requests per second
    openloop        a fixed rate, latency from the intended start: what the proxy adds
    procfs          CPU time and memory of a tree of processes, facts of the machine
    summary         medians over rounds, ratios within a round, goals (pure)
    bounds          figures with a bound of their own (pure)
    report          the comparison's part of docs/performance.md, and the forms of all parts (pure)
    document        docs/performance.md out of all results (pure)
    picture         the results as SVG, drawn in the environment of the bench

Figures compare only within one run: the same machine, upstream, load and minute.
"""
