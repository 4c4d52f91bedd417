#!/bin/sh
# Makes the database's URLs from the fields of its secrets, which ECS gives as variables of their own. Their generated
# passwords hold no character that a URL would have to quote. The owner's is there only where tables are migrated.
set -eu
if [ -n "${DATABASE_PASSWORD:-}" ]; then
    place="$DATABASE_HOST:$DATABASE_PORT/$DATABASE_NAME?sslmode=require"
    export LAKE_DATABASE_URL="postgresql://$DATABASE_USER:$DATABASE_PASSWORD@$place"
    export LAKE_DAGSTER_DATABASE_URL="postgresql+psycopg2://$DATABASE_USER:$DATABASE_PASSWORD@$place"
    if [ -n "${DATABASE_OWNER_PASSWORD:-}" ]; then
        export LAKE_MIGRATION_DATABASE_URL="postgresql://$DATABASE_OWNER:$DATABASE_OWNER_PASSWORD@$place"
    fi
    unset DATABASE_USER DATABASE_PASSWORD DATABASE_HOST DATABASE_PORT DATABASE_NAME place
    unset DATABASE_OWNER DATABASE_OWNER_PASSWORD
fi
exec "$@"
