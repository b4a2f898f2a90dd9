# bash completion for notify-api

_notify_api() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local commands='check import list resend backup restore verify'
    local everywhere='--env-file --help'
    local options='' words=''
    case ${COMP_WORDS[1]} in
    check) options='--online' ;;
    import) options='--from' ;;
    list) options='--state --type --since --limit --json --url' ;;
    resend) options='--failed --since --all --type --dry-run --url' ;;
    backup) options='--keep' ;;
    restore) options='--force' ;;
    verify) options='' ;;
    esac
    COMPREPLY=()
    case $previous in
    --state) words='pending delivered failed' ;;
    --type | --since | --limit | --url | --keep) return ;;
    --env-file | --from) ;;
    *)
        if [ "$COMP_CWORD" = 1 ]; then
            words="$commands --version $everywhere"
        elif [[ $word == -* ]]; then
            words="$options $everywhere"
        elif [[ ! ${COMP_WORDS[1]} =~ ^(backup|restore|verify)$ ]]; then
            return
        fi
        ;;
    esac
    if [ -n "$words" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _notify_api notify-api
