"""UP: the shared counters that workers write and the controller reads; sole owner of the byte format.

The memory is one anonymous file, made by the supervisor and inherited by every process, so that it outlives each of
them. It holds one slab per worker, and a slab has one writer: no lock, no atomic operation. A slab has cells of the
worker itself, what guards its routes, how endpoints stand, tables of label texts, and rows. A row is lent to one
tenant (one stage of one backend in one route):

    file   header | slab of worker 0 | slab of worker 1 | …
    slab   worker cells | guards | endpoints | label tables | row 0 | row 1 | …
    row    totals since the tenant moved in | statuses | confusion | users | groups | lane 0 … lane 15
    lane   what happened to the requests that ARRIVED during one slice (one second)

A lane is stamped with its slice and cleared by the writer when the next slice takes its place 16 seconds later, so
the controller reads each slice as a plain value: nothing is subtracted, nothing is reset from outside, and a
controller that was away for some seconds catches up. Requests count by arrival, since counting them by completion
makes a slow version look fast at first. A slice is complete once `ARRIVED == ON_TIME + LOST` in all its rows; what
takes longer than `GRACE_S` is `LATE`: for evidence it is a request that was still in flight when its slice closed.

Cells are 64-bit floats reached through `memoryview.cast("d")`: one aligned store per cell, which a reader sees whole
(`struct.pack_into` writes byte by byte, and readers saw zeros in between). No sequence lock is needed: `ON_TIME` is
written last of a sample, so a lane that reads as complete is whole and nobody writes to it again until it is cleared;
and a lane whose grace is over is only written as `LATE`. A row that changes its tenant has tenant -1 meanwhile.

The ordinary sample (on time, status 200, no fault) is four cells. Whatever can be derived is not stored: the totals of
a row are what was carried out of its cleared lanes plus what its lanes hold, and status 200 is what remains.

Rooms: `layout` (where every cell is), `row` (a worker's hold on one), `writer` (a worker's side), `reading` (what
an answer says in one output), `repeats` (what was asked of stable twice, a worker's side), `labels` (texts of labels),
`reader` (the controller's side), `guards` (what guards routes, both sides), `endpoints` (gauges of the endpoints of
backends, both sides).
"""
