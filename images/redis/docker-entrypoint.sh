#!/bin/sh
# Entry point with the contract of the official redis image: options or a configuration file mean redis-server; the
# server owns the data directory and does not run as root.
set -eu

case ${1:-} in
    -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1:-}" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid redis --regid redis --clear-groups "$0" "$@"
    fi
    # Files are for the server alone.
    [ "$(umask)" != 0022 ] || umask 0077
    # Protected mode refuses every client that is not on the loopback device. In a container that is all of them, and
    # what may connect is decided by networks and published ports; an explicit setting wins.
    configuration=/dev/null
    case ${2:-} in
        *.conf) configuration=$2 ;;
    esac
    case " $* " in
        *' --protected-mode '*) ;;
        *) grep -q '^ *protected-mode ' "$configuration" || set -- "$@" --protected-mode no ;;
    esac
fi
exec "$@"
