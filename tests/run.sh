#!/usr/bin/env bash
# Installs everything (system packages included) into .venv and runs lint, types and all tests.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo"
export DEBIAN_FRONTEND=noninteractive
browser=""
for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && browser="$name" && break; done
if [ -z "$browser" ] || ! python3 -c 'import ensurepip' 2>/dev/null; then
  $sudo apt-get update -qq
  python3 -c 'import ensurepip' 2>/dev/null || $sudo apt-get install -y -qq python3-venv
  [ -n "$browser" ] || $sudo apt-get install -y -qq chromium || $sudo apt-get install -y -qq chromium-browser
fi
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest "$@"
