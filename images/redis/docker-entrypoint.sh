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
    case " $* " in
        *' --protected-mode '*) ;;
        *)
            shift
            case ${1:-} in
                *.conf) file=$1; shift; set -- redis-server "$file" --protected-mode no "$@" ;;
                *) set -- redis-server --protected-mode no "$@" ;;
            esac
            ;;
    esac
fi
exec "$@"
