"""Webhooks: what other systems are asked about a rollout, and what they are told.

`hooks` are all of them, `questions` what they are asked and `outbox` what they are told, each at least once and in
order. `messages` is what is sent, `sending` the way there.
"""
