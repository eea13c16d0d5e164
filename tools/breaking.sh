#!/bin/sh
# breaking.sh: fails if the API differs from the accepted one, api/accepted.binpb.gz, in a way that breaks callers.
# breaking.sh accept: the API as it is becomes the accepted one. A break that is meant is to be seen in the commit that has it.
set -eu
cd "$(dirname "$0")/.."
tools/fetch-protos.sh
buf() { go tool -modfile=tools/go.mod buf "$@"; }
accepted=api/accepted.binpb.gz
case "${1:-}" in
accept) buf build api/proto --exclude-source-info -o "$accepted" ;;
"") buf breaking api/proto --against "$accepted" || {
	echo "breaking.sh: this breaks callers of the API; if that is meant: make accept" >&2
	exit 1
} ;;
*)
	echo "usage: breaking.sh [accept]" >&2
	exit 2
	;;
esac
