# Completions of provision for fish. `provision completions fish` prints this file.
function __provision_complete
    set --local line (commandline --current-process --cut-at-cursor | string collect)
    PROVISION_COMPLETE=fish command provision "$line" 2>/dev/null
end
complete --command provision --no-files --keep-order --arguments '(__provision_complete)'
