"""Versions of a model as one worker reaches them.

    upstream ─▶ balancing ─▶ pool ─▶ dialing ─▶ resolving
                                └─▶ connection

`upstream` knows which endpoints are usable, `balancing` picks one, `pool` lends its connections, `dialing` makes them,
and `connection` reads answers. `standing` is what is known of an endpoint, and `outliers` who is ejected. `retries`
says when a failed attempt is made again.
"""
