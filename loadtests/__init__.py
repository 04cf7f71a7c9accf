"""What the proxy costs, measured beside the proxies that people would take instead. `make bench` runs all of it.

    __main__        the command: options, rounds, results, document, picture
    compare         interleaved rounds of every case, and what one measurement is made of
    cases           what is measured: the modes, and which peer runs which
    peers           starts and stops each proxy, and names all its processes
    settings        the peers' configuration files, as equal as they can be made
    upstream        the model behind the proxies: quick, tiny, and it counts what reached it
    aiohttp_proxy   the proxy that a Python user would write first
    closedloop      full load by wrk: CPU per request and requests per second
    openloop        a fixed rate, latency from the intended start: what the proxy adds
    procfs          CPU time and memory of a tree of processes, facts of the machine
    summary         medians over rounds, ratios within a round, goals (pure)
    report          docs/performance.md out of the results (pure)
    picture         the results as SVG, drawn in the environment of the bench

Figures compare only within one run: the same machine, upstream, load and minute.
"""
