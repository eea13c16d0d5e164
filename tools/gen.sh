#!/bin/sh
# Regenerates api/gen from api/proto (Go, gateway and OpenAPI), and the assembly (tools/asm).
set -eu
cd "$(dirname "$0")/.."
tools/fetch-protos.sh
go tool -modfile=tools/go.mod buf generate
go -C tools run ./openapi ../build/openapi ../api/gen ../api/proto
go -C tools/asm run . ../..
