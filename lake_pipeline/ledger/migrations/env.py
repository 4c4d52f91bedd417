"""Alembic's entry: runs the revisions on the connection that `migrate` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="lake")
with context.begin_transaction():
    context.run_migrations()
