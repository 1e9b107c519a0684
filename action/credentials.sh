#!/usr/bin/env bash
# Lets the steps that follow use a role: asks GitHub for this job's token, and says where it is. provision exchanges it for the
# role's credentials at its first call, so neither of them is printed or stored.
#
#   ROLE    the ARN of the role
#   REGION  the region, or nothing
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 1
}

# What becomes a line of a file of GitHub's must not have a line break in it.
is_role='^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$'
is_region='^[a-z]+(-[a-z]+)+-[0-9]+$'
[[ "$ROLE" =~ $is_role ]] || fail "the input \`role\` is not the ARN of an IAM role"
[ -z "$REGION" ] || [[ "$REGION" =~ $is_region ]] || fail "the input \`region\` is not one: expected a region such as eu-west-1"
[ -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ] || fail "GitHub gives this job no token for a role: it needs \`permissions: id-token: write\`"

umask 077
file="$(mktemp "$RUNNER_TEMP/provision-token.XXXXXX")"
# The header goes through stdin: an argument can be seen by every process.
printf 'header = "Authorization: Bearer %s"\n' "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" |
    curl --fail --silent --show-error --retry 3 --config - "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=sts.amazonaws.com" |
    python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)["value"])' >"$file" ||
    fail "GitHub gave this job no token for a role"

{
    echo "AWS_WEB_IDENTITY_TOKEN_FILE=$file"
    echo "AWS_ROLE_ARN=$ROLE"
    echo "AWS_ROLE_SESSION_NAME=provision-$GITHUB_RUN_ID"
    [ -z "$REGION" ] || echo "AWS_REGION=$REGION"
} >>"$GITHUB_ENV"
