#!/bin/sh
# Lays the google/api files that api/proto imports into build/proto. They come from a pinned npm package, because the
# Buf schema registry can't be reached from everywhere; the checksum is that of the package's contents.
set -eu
cd "$(dirname "$0")/.."

version=5.0.8
sum=e5953c96ba2c50e9ec22bf89c41246f0c45d8f61a5814ddc9fb1f78ebd131afc
files="annotations http field_behavior resource"
stamp=build/proto/.google-gax-$version

[ -e "$stamp" ] && exit 0
command -v npm >/dev/null || { echo "fetch-protos: npm is missing: apt-get install npm" >&2; exit 1; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd "$tmp" && npm pack --silent "google-gax@$version" >/dev/null)
package=$tmp/google-gax-$version.tgz
echo "$sum  $package" | sha256sum --check --quiet || { echo "fetch-protos: google-gax@$version is not what it was" >&2; exit 1; }
tar -xzf "$package" -C "$tmp" package/build/protos/google/api

rm -rf build/proto
mkdir -p build/proto/google/api
for f in $files; do cp "$tmp/package/build/protos/google/api/$f.proto" build/proto/google/api/; done
: >"$stamp"
