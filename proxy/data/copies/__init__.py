"""Requests that nobody waits for: `shadow` copies go to versions that rehearse, `repeating` asks stable the same again.

`copying` is what both do.
"""
