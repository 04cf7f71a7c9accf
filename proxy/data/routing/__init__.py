"""What a snapshot becomes in a worker, and what a route or a listener asks for.

`routing` holds the routes with their pools and rows. `listening`, `serving` (TLS), `admission` and `patience` say how a
client comes in and what it may do. Where a route asks for it, `limiting` turns requests away, `injection` has them
fail, `holding` has them wait and `capturing` writes them down.
"""
