"""What is known of a route while it runs: from the cells of the ledger to what its judge says.

    lending ─▶ holdings ─▶ tracks ─▶ subject ─▶ judge
                                        ▲
               glance, truths, tally ───┘

`lending` gives rows of the ledger to stages, `holdings` are those of one route, `tracks` read closed slices and
`glance` those that go on, for outages. `truths` are what clients told of their answers, by way of `feedback`; `tally`
sums what rows counted, `silence` how long nothing came. `judging` is what the configuration means for the judge and for
the rollout, `outlook` how long that will take. `subject` is all that is alive of one route, `dossier` what of it
outlives the controller, which `keeping` has kept, and `memory` which rollouts are known beyond the live routes.
`retiring` adds up what rows counted that are free again, and `isolation` keeps the trouble of one route from others.
"""
