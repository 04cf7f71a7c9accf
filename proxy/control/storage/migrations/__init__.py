"""How a database of any earlier release becomes one of this release, and how an empty file becomes a database.

Alembic's environment, packaged with the code: `upgrade` needs no `alembic.ini` and runs each time a store opens. A
change of `proxy.control.storage.tables` comes with a new file in `versions`, named `vNNNN_what_it_does.py`, whose
`down_revision` is the newest so far. There is no way back: a release refuses a database that is newer than itself.
"""
