#!/bin/sh
# breaking.sh [REF]: fails if the API differs from that of a git ref (default main) in a way that breaks callers.
# The ref does not hold build/proto, so its API is laid beside ours.
set -eu
cd "$(dirname "$0")/.."
tools/fetch-protos.sh
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive --format=tar "${1:-main}" buf.yaml api/proto | tar -x -C "$old"
mkdir -p "$old/build"
cp -r build/proto "$old/build/"
go tool -modfile=tools/go.mod buf breaking --against "$old"
