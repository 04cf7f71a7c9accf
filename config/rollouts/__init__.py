"""How a candidate takes over, or is put to the test: the `strategy` of a route, and the `metrics` that decide.

`steps`, `ramp`, `rolling`, `recreate` and `contest` are what strategies are made of, `takeover` how all traffic goes to
a version at once.
"""
