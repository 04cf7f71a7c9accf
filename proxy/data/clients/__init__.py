"""Connections from clients.

`acceptor` lets them in, `intake` parses what they send, `downstream` answers in order, and `pace` times their bodies.
"""
