#!/bin/sh
# Installs gancolor with its service, as small as it runs: docker/install.sh ENVIRONMENT [PYTHON]
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
python=${2:-python3}
"$python" -m venv --without-pip "$1"  # PYTHON's own pip installs into it
"$python" -m pip --python "$1" install --quiet --no-cache-dir --disable-pip-version-check "$source[serve]"
# Not needed to run: the tests that packages bring along.
find "$1" -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +
