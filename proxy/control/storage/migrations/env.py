"""What Alembic runs for each command: the migrations, on the connection that `upgrade` hands over."""

from alembic import context

from proxy.control.storage.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
