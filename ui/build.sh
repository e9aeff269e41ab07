#!/usr/bin/env bash
# Builds the web UI into ui/dist, which the next cargo build takes into the binary. Without Node.js the placeholder is
# served. Nothing is done when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/app"
if ! command -v npm >/dev/null; then
  echo "no npm: the binary will serve the placeholder instead of the web UI"
  exit 0
fi
hash="$(sha256sum package-lock.json | cut -d' ' -f1)"
if [ "$(cat node_modules/.lock-hash 2>/dev/null || true)" != "$hash" ]; then
  npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --silent
  echo "$hash" > node_modules/.lock-hash
fi
sources=(src public scripts index.html vite.config.ts svelte.config.js tsconfig.json package-lock.json)
if [ ! -f ../dist/index.html ] || [ -n "$(find "${sources[@]}" -newer ../dist/index.html -print -quit)" ]; then
  npm run --silent build
fi
