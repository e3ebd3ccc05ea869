#!/bin/sh
# Runs the given command with the secret in its environment: the one that was set (.env), else the one that
# docker-compose.yml's `secret` service made at the first start.
set -eu
if [ -z "${BETTER_AUTH_SECRET:-}${BETTER_AUTH_SECRETS:-}" ]; then
    BETTER_AUTH_SECRET=$(cat /run/jwt-gate/secret)
    export BETTER_AUTH_SECRET
fi
exec "$@"
