"""Values with a notation of their own, and what all parts of the schema share. It imports no other folder.

`section` is the base of all parts and `problems` what is wrong with one: where, why, and the remedy; `described` keeps
their words for where they are asked for. `durations`, `numbers`, `names`, `margins`, `addresses`, `networks` and
`certificates` are values; `matching` says which requests are meant.
"""
