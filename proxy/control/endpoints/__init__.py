"""The endpoints of versions: whether they are well, and how they are stopped and started.

`health` asks whether they are well, `smoke` whether they answer as they should, both by `asking`; `standing` is how
they look to people. `swapping` and `rolling` are the hands of `recreate` and `rollingUpdate`: they have versions and
endpoints stopped and started, by `ordering` that of a hook.
"""
