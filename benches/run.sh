#!/bin/sh
# Both benchmarks on the telemetry of ../shared/data; see benches/README.md. Arguments go to the query benchmark.
set -eu
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/trivium-target}"

grep -m1 'model name' /proc/cpuinfo || true
echo "cores: $(nproc), memory: $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)"
git log -1 --format='commit %h of %cs' || true

cargo bench --locked --bench ingest
cargo bench --locked --bench query -- "$@"
