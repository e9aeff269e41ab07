#!/usr/bin/env bash
# Checks that a commit always gives the same bytes: builds HEAD twice, from two folders into two folders, and compares.
#
#   deploy/reproducible.sh                           the binary, as it is released (two full builds: about an hour on two cores)
#   deploy/reproducible.sh -p trivium-model --lib    any other target
#
# What makes it hold: Cargo.lock and rust-toolchain.toml fix all sources and the compiler; paths are mapped to fixed names, in
# Rust and in C; SOURCE_DATE_EPOCH is the commit's time; nothing is built incrementally. The web UI is taken from ui/dist, when
# it was built, for both. Needs the registry's crates in Cargo's cache; nothing is fetched by the builds themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --bin trivium
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cargo fetch --locked --quiet
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0
cargo_home="${CARGO_HOME:-$HOME/.cargo}"

build() { # NAME CARGO-ARGUMENTS...
  local source="$work/$1/a-source-of-$1" target="$work/$1/target"
  shift
  mkdir -p "$source"
  git archive HEAD | tar -x -C "$source"
  [ ! -d ui/dist ] || cp -r ui/dist "$source/ui/"
  local map="$source=trivium $target=target $cargo_home=cargo" rust="" c="" one
  for one in $map; do
    rust+=" --remap-path-prefix=$one"
    c+=" -ffile-prefix-map=$one"
  done
  (cd "$source" && RUSTFLAGS="$rust" CFLAGS="$c" CXXFLAGS="$c" CARGO_TARGET_DIR="$target" \
    cargo build --locked --offline --quiet --release "$@")
  (cd "$target/release" && find . -maxdepth 1 -type f ! -name '*.d' ! -name '.*' | sort | xargs sha256sum)
}

first="$(build one "$@")"
second="$(build another "$@")"
echo "$first"
if [ "$first" != "$second" ]; then
  echo "the second build differs:" >&2
  echo "$second" >&2
  exit 1
fi
echo "both builds of $(git rev-parse --short HEAD) are the same"
