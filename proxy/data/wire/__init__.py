"""Bytes as they pass: HTTP/1.1 as it is written and framed, and what lies below it. It imports no other folder.

`http1` writes heads from parsed values, `status_line` and `paths` give what came one form, `bodies` says which bodies
are not parsed and `gathering` keeps those that are needed again, `delivery` asks the kernel what has arrived, and
`proxy_protocol` reads what a load balancer says before anything else.
"""
