#!/usr/bin/env bash
# Plans: the Markdown goes to a file and to the summary of the job, whether there is anything to do to the outputs of the step.
#
#   PLAN_ARGUMENTS  more arguments, between spaces
#   PLAN_OUT        the file to write the plan to, or nothing
set -euo pipefail

markdown="$(mktemp "$RUNNER_TEMP/provision-plan.XXXXXX")"
arguments=(plan --check --markdown)
[ -z "$PLAN_OUT" ] || arguments+=(--out "$PLAN_OUT")
read -ra more <<<"$PLAN_ARGUMENTS"

# A line that provision prints about what is in the pull request is not a command to the runner.
end="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
echo "::stop-commands::$end"
code=0
# Bash 3.2, which macOS has, takes an empty list for an unset variable.
provision "${arguments[@]}" ${more[@]+"${more[@]}"} >"$markdown" || code=$?
echo "::$end::"

case "$code" in
    0) has_changes=false ;;
    3) has_changes=true ;;
    *) exit "$code" ;;
esac
cat "$markdown" >>"$GITHUB_STEP_SUMMARY"
{
    echo "has-changes=$has_changes"
    echo "markdown=$markdown"
} >>"$GITHUB_OUTPUT"
