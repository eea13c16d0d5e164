#!/bin/sh
# Lays the files that api/proto imports into build/proto: google/api from a pinned npm package, buf/validate from a pinned Go
# module, because the Buf schema registry can't be reached from everywhere. The checksums are those of the packages' contents.
set -eu
cd "$(dirname "$0")/.."

version=5.0.8
sum=e5953c96ba2c50e9ec22bf89c41246f0c45d8f61a5814ddc9fb1f78ebd131afc
files="annotations field_behavior http httpbody resource"
rules=github.com/bufbuild/protovalidate@v1.2.2
rules_sum=h1:2H/9/Kr97etSRqW3IJjTTb09z+zutkK2GDhDRbOnqr4=
stamp=build/proto/.google-gax-$version-${rules##*@}

[ -e "$stamp" ] && exit 0
command -v npm >/dev/null || { echo "fetch-protos: npm is missing: apt-get install npm" >&2; exit 1; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd "$tmp" && npm pack --silent "google-gax@$version" >/dev/null)
package=$tmp/google-gax-$version.tgz
echo "$sum  $package" | sha256sum --check --quiet || { echo "fetch-protos: google-gax@$version is not what it was" >&2; exit 1; }
tar -xzf "$package" -C "$tmp" package/build/protos/google/api

module=$(cd "$tmp" && go mod download -json "$rules") || { echo "$module" >&2; exit 1; }
field() { echo "$module" | sed -n 's/^\t"'"$1"'": "\(.*\)",*$/\1/p'; }
[ "$(field Sum)" = "$rules_sum" ] || { echo "fetch-protos: $rules is not what it was" >&2; exit 1; }

rm -rf build/proto
mkdir -p build/proto/google/api build/proto/buf/validate
cp "$(field Dir)/proto/protovalidate/buf/validate/validate.proto" build/proto/buf/validate/
chmod 644 build/proto/buf/validate/validate.proto
for f in $files; do cp "$tmp/package/build/protos/google/api/$f.proto" build/proto/google/api/; done
: >"$stamp"
