#!/bin/sh
# Entry point with the contract of the official nginx image: /etc/nginx/templates/*.template become /etc/nginx/conf.d/*
# with the environment's variables filled in, the scripts in /docker-entrypoint.d run, then the command.
#
#   NGINX_ENVSUBST_TEMPLATE_DIR, NGINX_ENVSUBST_OUTPUT_DIR, NGINX_ENVSUBST_TEMPLATE_SUFFIX  other places and names
#   NGINX_ENVSUBST_FILTER  regular expression (awk): only variables with such names
set -eu

fill_templates() {
    templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
    output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
    suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
    [ -d "$templates" ] || return 0
    # Only variables that exist: nginx's own ($host, ...) stay as they are.
    # shellcheck disable=SC2016 # awk's text
    names=$(awk -v filter="${NGINX_ENVSUBST_FILTER:-}" \
        'BEGIN { for (name in ENVIRON) if (name ~ /^[A-Za-z_][A-Za-z_0-9]*$/ && name ~ filter) printf "${%s} ", name }')
    find "$templates" -follow -type f -name "*$suffix" | sort | while read -r template; do
        file=$output/${template#"$templates"/}
        file=${file%"$suffix"}
        mkdir -p "${file%/*}"
        envsubst "$names" <"$template" >"$file"
    done
}

run_scripts() {
    for script in /docker-entrypoint.d/*; do
        # shellcheck source=/dev/null # the user's
        case $script in
            *.envsh) [ ! -x "$script" ] || . "$script" ;;
            *.sh) [ ! -x "$script" ] || "$script" ;;
        esac
    done
}

case ${1:-} in
    nginx | nginx-debug)
        fill_templates
        run_scripts
        ;;
esac
exec "$@"
