#!/bin/sh
# Make a virtual environment with pip in it, on systems that split python3-venv off too. Needs no root, asks nothing.
# Usage: deploy/venv.sh FOLDER [PYTHON]
set -eu
folder=$1
wanted=${2:-}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in $wanted python3 python3.13 python3.12 python3.11 python3.14; do
    if command -v "$candidate" >/dev/null 2>&1 && is_recent "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "error: no Python 3.11 or newer found" >&2
    echo "hint:  install one, or name it: make demo PYTHON=/path/to/python3.11" >&2
    exit 2
fi

has_pip() { "$folder/bin/python" -m pip --version >/dev/null 2>&1; }

if has_pip && is_recent "$folder/bin/python"; then exit 0; fi
rm -rf "$folder"
if "$python" -c 'import ensurepip' 2>/dev/null && "$python" -m venv "$folder"; then exit 0; fi

# Debian and Ubuntu keep ensurepip in python3-venv. Without it: another tool, or the pip of the system.
if command -v uv >/dev/null 2>&1 && uv venv --seed --python "$python" "$folder"; then exit 0; fi
if "$python" -m virtualenv --version >/dev/null 2>&1 && "$python" -m virtualenv "$folder"; then exit 0; fi
rm -rf "$folder"
if "$python" -m venv --without-pip "$folder" 2>/dev/null; then
    if "$python" -m pip --python "$folder/bin/python" install --quiet pip 2>/dev/null && has_pip; then exit 0; fi
    # Fetching a package into a folder needs no root and installs nothing on the system.
    fetched=$(mktemp -d)
    if (cd "$fetched" && apt-get download -qq python3-pip-whl && dpkg-deb -x ./*.deb .) >/dev/null 2>&1; then
        for wheel in "$fetched"/usr/share/python-wheels/pip-*.whl; do
            "$folder/bin/python" "$wheel/pip" install --quiet pip || true
        done
    fi
    rm -rf "$fetched"
    if has_pip; then exit 0; fi
fi
rm -rf "$folder"
echo "error: $python cannot make a virtual environment with pip" >&2
echo "why:   its ensurepip module is missing, and neither uv, virtualenv nor pip is installed" >&2
echo "hint:  as root: apt-get install python3-venv" >&2
exit 2
