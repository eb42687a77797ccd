#!/usr/bin/env bash
# Installs everything (system packages included) into .venv and runs lint, types and all tests.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo"
export DEBIAN_FRONTEND=noninteractive
browser() { for name in chromium google-chrome; do "$name" --version >/dev/null 2>&1 && return 0; done; return 1; }
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  $sudo apt-get update -qq && $sudo apt-get install -y -qq python3-venv
fi
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
if ! [ -x .venv-tools/bin/python ]; then  # where this fails, the tests that need it are skipped and say so
  { python3 -m venv .venv-tools && .venv-tools/bin/python -m pip install --quiet --disable-pip-version-check -r tests/tools.txt; } ||
    rm -rf .venv-tools
fi
if ! browser; then  # Debian has a real package; Ubuntu's is a stub, there playwright brings its own build
  { $sudo apt-get update -qq && $sudo apt-get install -y -qq chromium && browser; } ||
    .venv/bin/playwright install --with-deps chromium
fi
if ! { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1; then  # tests start a server of their own
  $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends postgresql
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
if [ $# -gt 0 ]; then exec .venv/bin/python -m pytest "$@"; fi
# Side by side, one thread each: two threads on one test gain little. Browser tests need the machine for themselves.
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "not browser" -n auto --maxprocesses 4 --dist loadfile
.venv/bin/python -m pytest -m browser
