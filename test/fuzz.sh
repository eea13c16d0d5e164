#!/bin/sh
# fuzz.sh [TIME]: runs every fuzz target of the tree for TIME (10s), one after the other. A crash leaves its input in
# the package's testdata/fuzz; it becomes a named row of that target's seeds.
set -eu
cd "$(dirname "$0")/.."
time=${1:-10s}

grep -rl --include='*_test.go' '^func Fuzz' internal cmd | xargs -n 1 dirname | sort -u | while read -r folder; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$folder"/*_test.go | sort -u | while read -r target; do
		echo "== $folder $target"
		go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=10x "./$folder" </dev/null
	done
done
