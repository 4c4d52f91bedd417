#!/bin/sh
# Makes the database's URLs from the fields of RDS's secret, which ECS gives as variables of their own. RDS's generated
# passwords hold no character that a URL would have to quote.
set -eu
if [ -n "${DATABASE_PASSWORD:-}" ]; then
    at="$DATABASE_USER:$DATABASE_PASSWORD@$DATABASE_HOST:$DATABASE_PORT/$DATABASE_NAME?sslmode=require"
    export LAKE_DATABASE_URL="postgresql://$at"
    export LAKE_DAGSTER_DATABASE_URL="postgresql+psycopg2://$at"
    unset DATABASE_USER DATABASE_PASSWORD DATABASE_HOST DATABASE_PORT DATABASE_NAME at
fi
exec "$@"
