#!/usr/bin/env bash
# Installs one version of provision for the steps that follow, from the assets of its release.
#
#   VERSION     the version
#   SHA256      of the release's install.sh, which has the checksums of the archives
#   REPOSITORY  OWNER/REPO
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 1
}

is_version='^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$'
is_checksum='^[0-9a-f]{64}$'
is_repository='^[A-Za-z0-9_-]+/[A-Za-z0-9._-]+$'
[[ "$VERSION" =~ $is_version ]] || fail "the input \`version\` is not one: expected a version such as 0.1.0"
[[ "$SHA256" =~ $is_checksum ]] || fail "the input \`sha256\` is not one: expected 64 characters of 0-9 and a-f"
[[ "$REPOSITORY" =~ $is_repository ]] || fail "the input \`repository\` is not one: expected OWNER/REPO"

from="$GITHUB_SERVER_URL/$REPOSITORY/releases/download/v$VERSION"
folder="$(mktemp -d "$RUNNER_TEMP/provision.XXXXXX")"
curl --fail --silent --show-error --location --retry 3 --output "$folder/install.sh" "$from/install.sh" ||
    fail "$from/install.sh could not be downloaded"
if command -v sha256sum >/dev/null; then
    sum="$(sha256sum "$folder/install.sh")"
else
    sum="$(shasum -a 256 "$folder/install.sh")"
fi
[ "${sum%% *}" = "$SHA256" ] ||
    fail "the SHA-256 of $from/install.sh is ${sum%% *}, and the input \`sha256\` is $SHA256; nothing was installed"
PROVISION_DOWNLOAD_URL="$from" PROVISION_INSTALL_DIR="$folder/bin" sh "$folder/install.sh"
echo "$folder/bin" >>"$GITHUB_PATH"
