#!/bin/bash
# Entry point with the contract of the official postgres image: prepares the data directory on first start, steps down
# from root, and becomes the server.
#
#   POSTGRES_PASSWORD, POSTGRES_USER (postgres), POSTGRES_DB (the user's name), POSTGRES_INITDB_ARGS,
#   each also as <name>_FILE; POSTGRES_INITDB_WALDIR; POSTGRES_HOST_AUTH_METHOD (scram-sha-256)
#   /docker-entrypoint-initdb.d/*.{sh,sql,sql.gz,sql.xz,sql.zst}  run once, in the order of their names
set -Eeuo pipefail

log() { echo "docker-entrypoint: $*" >&2; }

fail() {
    log "error: $*"
    exit 1
}

# Set variable $1 from itself, from the file that ${1}_FILE names, or to the default $2.
from_env() {
    local name=$1 file=${1}_FILE
    if [[ -n ${!name:-} && -n ${!file:-} ]]; then
        fail "$name and $file are both set; keep one"
    fi
    if [[ -n ${!file:-} ]]; then
        printf -v "$name" '%s' "$(<"${!file}")"
    else
        printf -v "$name" '%s' "${!name:-${2:-}}"
    fi
    export "${name?}"
    unset "$file"
}

query() { psql --no-psqlrc --no-password --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"; }

make_directories() {
    mkdir -p "$PGDATA" /run/postgresql "${POSTGRES_INITDB_WALDIR:-$PGDATA}"
    chmod 0700 "$PGDATA"
    chmod 3777 /run/postgresql || true
    if [[ $(id -u) == 0 ]]; then
        find "$PGDATA" /run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} \
            \! -user postgres -exec chown postgres {} +
    fi
}

check_password() {
    if [[ ${POSTGRES_HOST_AUTH_METHOD:-} == trust ]]; then
        log "warning: POSTGRES_HOST_AUTH_METHOD=trust lets anyone who reaches port 5432 in, as superuser"
    elif [[ -z $POSTGRES_PASSWORD ]]; then
        fail "the superuser has no password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" \
            "(or POSTGRES_HOST_AUTH_METHOD=trust to accept connections without one)"
    fi
}

make_cluster() {
    local -a arguments=()
    # A list of command-line options, quoted as for a shell: that is the contract of this variable.
    eval "arguments=($POSTGRES_INITDB_ARGS)"
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then
        arguments+=(--waldir "$POSTGRES_INITDB_WALDIR")
    fi
    initdb --username "$POSTGRES_USER" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
    printf '\nhost all all all %s\n' \
        "${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}" >>"$PGDATA/pg_hba.conf"
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh)
                log "running $file"
                # shellcheck source=/dev/null # the user's
                if [[ -x $file ]]; then "$file"; else . "$file"; fi
                ;;
            *.sql) log "running $file" && query --dbname "$POSTGRES_DB" --file "$file" ;;
            *.sql.gz) log "running $file" && gunzip --stdout "$file" | query --dbname "$POSTGRES_DB" ;;
            *.sql.xz) log "running $file" && xzcat "$file" | query --dbname "$POSTGRES_DB" ;;
            *.sql.zst) log "running $file" && zstd --decompress --stdout "$file" | query --dbname "$POSTGRES_DB" ;;
            */\*) ;;
            *) log "ignoring $file" ;;
        esac
    done
}

# Fill the new cluster through a server that nobody else can reach.
fill_cluster() {
    export PGPASSWORD=$POSTGRES_PASSWORD PGHOST='' PGHOSTADDR=''
    pg_ctl --pgdata "$PGDATA" --wait --options "$(printf '%q ' -c listen_addresses='' "$@")" start
    if [[ $POSTGRES_DB != postgres ]]; then
        query --dbname postgres --set name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
    fi
    run_init_files
    pg_ctl --pgdata "$PGDATA" --wait --mode fast stop
    unset PGPASSWORD PGHOST PGHOSTADDR
}

main() {
    if [[ ${1:-} == -* ]]; then
        set -- postgres "$@"
    fi
    local argument
    for argument in "$@"; do
        case $argument in
            -'?' | --help | --describe-config | -V | --version) exec "$@" ;;
        esac
    done
    if [[ ${1:-} == postgres ]]; then
        make_directories
        if [[ $(id -u) == 0 ]]; then
            exec setpriv --reuid postgres --regid postgres --init-groups "${BASH_SOURCE[0]}" "$@"
        fi
        if [[ -s $PGDATA/PG_VERSION ]]; then
            log "the data directory has a database already: nothing to prepare"
        else
            from_env POSTGRES_PASSWORD
            from_env POSTGRES_USER postgres
            from_env POSTGRES_DB "$POSTGRES_USER"
            from_env POSTGRES_INITDB_ARGS
            check_password
            make_cluster
            fill_cluster "${@:2}"
            log "the database is prepared"
        fi
    fi
    exec "$@"
}

main "$@"
