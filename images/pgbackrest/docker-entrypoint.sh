#!/bin/sh
# Starts PostgreSQL as its own image does, and has it archive what it writes.
set -eu

# A segment a minute at the latest, so that no more than the last minute is lost with the disk.
if [ "${1:-}" = postgres ]; then
    set -- "$@" -c archive_mode=on -c archive_timeout=60 -c 'archive_command=pgbackrest-push "%p"'
fi
exec docker-entrypoint-postgres.sh "$@"
