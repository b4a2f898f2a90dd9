# bash completion for notify-api

_notify_api() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local commands='import' options='--help --version'
    COMPREPLY=()
    case ${COMP_WORDS[1]} in
    import)
        # A DSN, which can be a file.
        [ "$previous" != --from ] || { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return; }
        commands='' options='--from --help'
        ;;
    esac
    [ "$COMP_CWORD" = 1 ] || [ -z "$commands" ] || return
    mapfile -t COMPREPLY < <(compgen -W "$commands $options" -- "$word")
}

complete -F _notify_api notify-api
