"""What may be said about a candidate: numbers in, numbers out. No I/O, no clock, no randomness.

    Slice ──► meters ──────────► stack ─────────────────────► verdict
    counts    rates, latency,    one row per e-process:       Judge: abort, proven,
    of one    categories,        engine (the likelihood       inconclusive, and what
    look, or  means: each        ratios), robustness (cap,    is still missing
    window    fills its rows     dispersion, restarts),
              pairs (less the    intervals (the differences
              noise: excess),    that are shown)
              ratio, breaker

An e-value is the wealth of somebody who bets against a hypothesis: under the hypothesis it passes 1/alpha with a
probability of at most alpha, however often one looks. Each metric has two: *harm* (against "not worse than the
margin") and *pass* (against "worse than the margin"). Only arms of the same slice are ever compared, so load, drift
and weights may change at will; evidence adds over slices and stages, counts do not.

What this rests on, and what it does not repair: requests (or users, where routing is sticky) are assigned at random;
noise that hits one arm alone is met by the block cap, by the dispersion of finished blocks and by the margin, not by
a proof. The design effect of sticky users is measured from 64 groups of them, for each metric.

Rooms: `summaries` (what a look brings), `windows` (thin looks, gathered), `plan` (what is asked), `engine` (likelihood
ratios; `projection`: to which point of a null), `robustness`, `groups` (what sticky users are worth), `intervals`,
`limits` (intervals of rates), `stack` (all rows of a rollout), `meter` (what a metric is to the Judge; `meters`:
whose), `rates`, `latency` (and its `history`), `categories`, `means`, `feedback` (truths that come later), `pairs` with
`bursts` (their dispersion), `breaker`, `ramp` (what a candidate may cost, and so which weight it may have; `climbing`
is its forecast), `ratio`, `progress` (forecasts and futility), `readings` (what is answered), `sight` (what there is to
be read of a look, held `still`), `wording` (in which words), `tally` (where a rollout stands), `verdict` (the Judge),
`contest` (whether a candidate is better), `panel` (several candidates), `memory` (its state as bytes), `planning` (how
much traffic a plan needs), `forecast` (when a proof is there, by the planner), `distances` (sizes for people), `excess`
(pairs that differ, less the model's own noise).
"""
