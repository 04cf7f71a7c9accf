"""The data plane: all that a request visits, in one worker process.

    client ─▶ downstream ─▶ router ─▶ exchange ─▶ upstream ─▶ model version
                                          │
                                          ├─▶ predictions  (what the answer said, after the client has it)
                                          ├─▶ ledger       (ONE outcome for each exchange)
                                          └─▶ shadow       (a copy, after the client has its answer, and at times
                                                            the same to stable again: repeating)

`downstream` is a client's connection, with the `patience` that it is given, and `intake` parses its requests,
`request_line` and `request_head` hold them to the standard, `bodies` says which bodies are not parsed, `paths` gives
the path one form, `router` chooses (pure), `exchange` owns one request from its head to its outcome, with the backend's
side of it in `attempt` and the client's in `reply`, `retries` says what of it is sent again and `leftover` reads what
is given up for that, `upstream` knows which endpoints are usable and `balancing` picks one of them, `standing` is what
is known of an endpoint and `outliers` who is ejected, `pool` lends its connections, `dialing` makes them, `resolving`
looks names up, `delivery` asks what reached them, `connection` reads answers and `status_line` how they begin,
`gathering` keeps bodies, `http1`, `heads` and `trailers` write what goes on the wire, `routing` is what a snapshot
becomes in a worker, `acceptor` lets clients in, by what `listening`, `trust` and `proxy_protocol` say of them, with the
certificates of `serving`, `worker` is the process and `notices` what it logs. In the ordinary case a request costs no
task, no timer, no regex and no log line.

`upgrade` says which requests ask for another protocol; a `tunnel` is what becomes of one that is granted.

`copying` is what a copy under way does, `shadow` who gets one, and `repeating` compares stable with itself.

Where a route asks for it, `limiting` turns requests away, `injection` has them fail, `holding` has them wait, answers
get a name (`proxy.answer_id`), and `disguise` says what is written in place of labels. Where a log is asked for,
exchanges are `logged`, `access_log` says what a line has and `log_file` writes it. Where requests are `captured`,
`capturing` says which and sends them up, and `redaction` what of them. Where the limits have a least rate, `pace` says
which bodies come too slowly.
"""
