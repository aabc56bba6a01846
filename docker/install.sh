#!/bin/sh
# Installs gancolor with its service, as small as it runs: docker/install.sh ENVIRONMENT [PYTHON]
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
"${2:-python3}" -m venv "$1"
"$1/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check "$source[serve]"
# Not needed to run: pip, and the tests that packages bring along.
"$1/bin/python" -m pip uninstall --quiet --yes pip
find "$1" -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +
