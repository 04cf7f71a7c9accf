"""The data plane: all that a request visits, in one worker process.

    client ─▶ clients ─▶ routing ─▶ exchanges ─▶ backends ─▶ model version
                                        │
                                        ├─▶ answers  (what was predicted, after the client has it)
                                        ├─▶ ledger   (ONE outcome for each exchange)
                                        └─▶ copies   (after the client has its answer; at times stable is asked again)

A request visits the folders in this order, and each may use those behind it: `clients` (connections, parsed),
`exchanges` (one request from its head to its outcome), `copies`, `routing` (what a snapshot becomes), `backends`
(endpoints, and connections to them), `requests` (what they say, and which version serves them), `answers`, `logs` and
`wire` (bytes). `worker` is the process. Each folder says in its docstring what its files are.

In the ordinary case a request costs no task, no timer, no regex and no log line. What a route does not ask for is not
there: limits, faults, holds, names of answers (`proxy.answer_id`), disguises and the access log are objects that only
routes have that ask for them.
"""
