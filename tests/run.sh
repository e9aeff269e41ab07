#!/usr/bin/env bash
# Everything CI checks. Installs what it needs itself; prints its counts at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/trivium-target}"
export CARGO_TERM_COLOR=never
# Tests kill servers more often than any crash does.
export TRIVIUM_CRASH_LOOP_STARTS=0
venv="${TRIVIUM_VENV:-$HOME/.cache/trivium-venv}"
modules="${TRIVIUM_NODE_MODULES:-$HOME/.cache/trivium-node}"

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "tools"
if ! python3 -c 'import venv, ensurepip' 2>/dev/null || ! command -v cc >/dev/null; then
  apt-get update -qq && apt-get install -y -qq python3-venv python3-pip build-essential
fi
# The differential tests ask a real Prometheus the same questions, and have a real Alertmanager told the same alerts.
if ! command -v prometheus >/dev/null || ! command -v amtool >/dev/null; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager
fi
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
mkdir -p "$modules"
cp tests/clients/package.json tests/clients/package-lock.json tests/clients/export.mjs "$modules/"
(cd "$modules" && npm ci --ignore-scripts --no-audit --no-fund --silent)

# The web UI is looked at in a real browser.
command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

# The target folder outlives the clone, and tests have the clone's path in them: after another clone they are built once more.
checkout="$CARGO_TARGET_DIR/checkout"
if [ "$(cat "$checkout" 2>/dev/null)" != "$PWD" ]; then
  find . -name '*.rs' -not -path './ui/*' -exec touch {} +
  mkdir -p "$CARGO_TARGET_DIR"
  echo "$PWD" > "$checkout"
fi

step "web UI"
./ui/build.sh
(cd ui/app && npm run --silent check && npm test --silent)

step "formatting and lints"
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

# With TRIVIUM_BINARY, tests/hostile sends its table to the real binary, which is built by then.
step "tests"
log="$(mktemp)"
TRIVIUM_PYTHON="$venv/bin/python" TRIVIUM_NODE_CLIENT="$modules/export.mjs" \
  TRIVIUM_BINARY="$CARGO_TARGET_DIR/debug/trivium" \
  cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log" || failed="tests"

step "web UI in Chromium"
ui_log="$(mktemp)"
(cd ui/app && TRIVIUM_BINARY="$CARGO_TARGET_DIR/debug/trivium" node --test --test-reporter=tap tests/browser.mjs) > "$ui_log" 2>&1 || ui_failed="the web UI"
grep -E "^(not )?ok |^# frame" "$ui_log" || true
# Of what failed the reason, and what the test said before.
[ -z "${ui_failed:-}" ] || grep -E -A 24 "^(not ok |# attempt )" "$ui_log" | tail -n 300

step "torture"
TRIVIUM_BUILT=1 ./tests/torture/run.sh short || tortured="torture"

step "done"
awk '/^test result:/ {passed += $4; failed += $6; skipped += $8} END {printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped}' "$log"
echo "web UI: $(grep -c "^ok " "$ui_log" || true) passed, $(grep -c "^not ok " "$ui_log" || true) failed in Chromium"
rm -f "$log" "$ui_log"
for what in "${failed:-}" "${ui_failed:-}" "${tortured:-}"; do
  [ -z "$what" ] || { echo "failed: $what"; exit_code=1; }
done
exit "${exit_code:-0}"
