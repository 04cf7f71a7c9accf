"""A rollout on recorded requests: what the judge would have said of them, on a virtual clock.

    stream ─▶ records ─▶ order ─▶ clock ─▶ worker ─▶ ledger ─▶ evidence ─▶ Judge ─▶ rollout.step
    lines     typed,     seconds  what a   counts as          `proxy.control`, the very same code
              refused             second   live workers do    as for live traffic
                                  means

A simulation puts records where live workers put what they count: into rows of a ledger, second by second. From there
on nothing is simulated. Slices are read, judged and acted upon by the code of the control plane, which cannot tell.

Rooms: `stream` (bytes to lines, plain or gzip), `records` (lines to typed records, or what is wrong with one),
`order` (whole seconds of them, in time order), `versions` (whom records may name), `columns` (the sides of many
requests as arrays), `users` (who has asked), `worker` (counts them into the ledger), `spot` (where the records of a
stage are counted), `counting` (requests, copies and truths, each where they belong), `stages` (which stage a record
belongs to, and which one is the last), `answers` (what truths are held against), `glances` (which seconds the breaker
looks into), `clock` (the rollout, second by second), `outcome` (what came of it: JSON, report), `run` (from the first
record to the outcome), `command` (what a person types).
"""
