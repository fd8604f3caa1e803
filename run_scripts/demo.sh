#!/usr/bin/env bash
# The demo without make: run_scripts/demo.sh [--language fr] [--updates N] [--folder FOLDER], in an environment with
# pip install 'el_plugins[fairseq,nmt]'.
set -euo pipefail
exec python -m el_plugins.nmt.demo "$@"
