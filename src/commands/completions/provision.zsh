#compdef provision
# Completions of provision for zsh. `provision completions zsh` prints this file.
_provision() {
    local candidate value
    local -a ended open
    while IFS= read -r candidate; do
        value="${candidate%%$'\t'*}"
        # The same word continues after one of these.
        if [[ "$value" == *[/=:] ]]; then
            open+=("${candidate#*$'\t'}")
        else
            ended+=("${candidate#*$'\t'}")
        fi
    done < <(PROVISION_COMPLETE=zsh command provision "${(j: :)words[1,CURRENT-1]} $QIPREFIX$IPREFIX$PREFIX" 2>/dev/null)
    (( $#ended )) && _describe -V 'value' ended
    (( $#open )) && _describe -V 'value' open -S ''
}
# The first call of an autoloaded function reads this file.
if [[ "$funcstack[1]" == _provision ]]; then
    _provision "$@"
else
    compdef _provision provision
fi
