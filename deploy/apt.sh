#!/bin/sh
# Install the system packages of deploy/apt.txt that are missing: as root, or with password-less sudo, else list them.
# Usage: deploy/apt.sh [--required | --optional]
#   --required   fails when a package cannot be installed (continuous integration)
#   --optional   the packages of deploy/apt-optional.txt instead; on Debian 12 from backports, which it adds
set -eu
required=${1:-}
list=apt.txt
if [ "$required" = --optional ]; then list=apt-optional.txt required=; fi
wanted=$(sed 's/#.*//' "$(dirname "$0")/$list")

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
suite=
if [ "$list" = apt-optional.txt ] && grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; then
    suite=bookworm-backports
    # Packages of backports are taken only where they are asked for: this changes no other installation.
    if ! grep -qrs "$suite" /etc/apt/sources.list /etc/apt/sources.list.d; then
        echo "deb http://deb.debian.org/debian $suite main" | $as_root tee /etc/apt/sources.list.d/$suite.list >/dev/null
    fi
fi
install() {
    # shellcheck disable=SC2086 # the lists are words
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends ${suite:+-t $suite} $missing >/dev/null
}
install 2>/dev/null || { $as_root apt-get update -qq && install; } || give_up "apt-get failed"
if [ "$list" = apt-optional.txt ] && command -v systemctl >/dev/null 2>&1; then
    # The packages' services are not wanted, only their programs.
    for package in $missing; do $as_root systemctl disable --now "$package" >/dev/null 2>&1 || true; done
fi
