"""The rollout machine: what a rollout does next, as pure functions of its state and of what happened.

    (plan, state, event, now) ─▶ rollout.step ─▶ (state, actions)

`rollout` holds the table, `state` the words (phases, events, actions), `steps` the plan and what a step still waits
for. Behind the table: `looks` (at the evidence), `orders` (of operators, workers and checks) and `adopting` (what a
reload or a start makes of the state that was kept), all of them made of `moves`. `race` is about several candidates,
`latches` about versions that stay out, `swaps` about one version in the place of another, `rolls` with `places` about
endpoint by endpoint, `vacancies` about what was stopped and routes that go or are renamed, `gates` about where webhooks
have a say, `verbs` about what an operator may say. `state_codec` writes a state down.
"""
