#!/bin/sh
# Entry point with the contract of the official haproxy image: options mean haproxy, which runs as master and worker, in the
# foreground.
set -eu

case ${1:-} in
    -*) set -- haproxy "$@" ;;
esac

if [ "${1:-}" = haproxy ]; then
    shift
    set -- haproxy -W -db "$@"
fi
exec "$@"
