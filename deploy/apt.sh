#!/bin/sh
# Install the system packages of deploy/apt.txt that are missing: as root, or with password-less sudo, else list them.
# Usage: deploy/apt.sh [--required]    --required fails when a package cannot be installed (continuous integration)
set -eu
required=${1:-}
wanted=$(sed 's/#.*//' "$(dirname "$0")/apt.txt")

missing=
for package in $wanted; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then missing="$missing $package"; fi
done
[ -n "$missing" ] || exit 0

give_up() {
    echo "System packages not installed:$missing ($1)" >&2
    echo "Tests that need them are skipped and listed at the end." >&2
    if [ -n "$required" ]; then exit 1; fi
    exit 0
}

command -v apt-get >/dev/null 2>&1 || give_up "no apt-get on this system"
if [ "$(id -u)" = 0 ]; then as_root=; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else give_up "needs root"; fi
echo "Installing system packages:$missing"
install() {
    # shellcheck disable=SC2086 # the lists are words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
install 2>/dev/null || { $as_root apt-get update -qq && install; } || give_up "apt-get failed"
