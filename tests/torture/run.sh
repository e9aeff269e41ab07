#!/usr/bin/env bash
# The real binary is killed, starved and damaged: `short` in at most nine minutes, `long` for as long as it takes. What needs root, loop
# devices, cgroups, strace or faketime is skipped aloud where these are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/trivium-target}"
for tool in strace faketime; do
  command -v "$tool" >/dev/null || apt-get install -y -qq --no-install-recommends "$tool" || true
done
# As the tests build them: another selection of packages compiles DataFusion once more, with other features.
[ -n "${TRIVIUM_BUILT:-}" ] || cargo test --locked --workspace --no-run --test process --test report
folder="$(mktemp -d)"
# Where the figures stay, for RELIABILITY.md.
results="${TRIVIUM_TORTURE_RESULTS:-$folder/results.json}"
TRIVIUM_COMMIT="$(git rev-parse --short HEAD 2>/dev/null || true)" "$CARGO_TARGET_DIR/debug/torture" "${1:-short}" \
  --binary "$CARGO_TARGET_DIR/debug/trivium" --folder "$folder/work" --json "$results" || failed=1
"$CARGO_TARGET_DIR/debug/torture" report "$results" || true
# A failure leaves its evidence.
if [ -n "${failed:-}" ]; then echo "see $folder"; exit 1; fi
rm -rf "$folder"
