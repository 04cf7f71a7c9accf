"""How it all looks to people and programs: the JSON of the admin API.

`routes` is where every route and its rollout stand, `held` who waits while a route is held, `paired` what both versions
answered to the same requests, `contrast` how far they are apart, `bounds` where harm begins in each metric, `offers`
what an operator can do now, `drift` where it is not what the file says.
"""
