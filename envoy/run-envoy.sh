#!/bin/sh
# Starts Envoy: `run-envoy CONFIG [FLAGS…]`. Where people come by https, the companion's cookie is `__Host-jwt-gate`, so the gate
# reads that one, and never the plain name, which a sibling domain or anybody on the way of plain http could set.
set -eu
config=$1
shift
case "${JWT_GATE_PUBLIC_URL:-}" in
    https://*)
        set -- --config-yaml "$(sed 's/from_cookies: \[jwt-gate\]/from_cookies: [__Host-jwt-gate]/' "$config")" "$@" ;;
    *)
        set -- --config-path "$config" "$@" ;;
esac
exec envoy "$@"
