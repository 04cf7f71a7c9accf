"""What people and tools read and command: the admin API, its metrics and its reports.

    app          the aiohttp application, `start`
    endpoints    their table, with handlers; `recollection` has those about the past, `handling` what they share
    surface      what this package needs of the controller, and nothing else of it
    problems     the one shape of every error (RFC 9457)
    exposition   Prometheus metrics, read from the ledger at each scrape
    latency      the latency histogram since start, gathered from the ledger's lanes
    feedback     truths of answers, as requests bring them; `telling` sends a file of them
    captured     captured requests, for operators; `side_by_side` shows them on a terminal
    document     what the models of all answers have in common; `documents` has most of them
    report       a rollout as a Markdown report, in `markdown`, with `pairs` and `waiting` (requests that are held);
                 `report_page` makes an HTML page of it
    words        readings and times as people read them
    ramping      a weight that follows the evidence, for report and command line
    overview     all routes at a glance (`glancing` has its members), by `pulse`: how they go of late, and went
    dashboard    the page at `GET /`, and `pages`: what pages in a browser may do here
    client       the same API from the other side, for the command line
    console      what the command line shows, `retold` of the past

The API decides nothing. It reads what the controller answers, and hands every command to it with the name of whoever
gave it.
"""
