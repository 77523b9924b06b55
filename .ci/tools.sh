#!/usr/bin/env bash
# Servers that the tests run and no package registry has as programs: a Jaeger and an OpenTelemetry Collector, built from
# source by Go, once for each version, into a cache outside the repository.
#
#   .ci/tools.sh [NAME...]      build what is missing (all of them, if none is named)
#   .ci/tools.sh --path NAME    print where that program is, or would be
#
# NAME is jaeger or collector. PUSH_SIDECAR_TOOLS names another cache. The tests find the programs by `--path`
# (tests/support/tools.py).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PUSH_SIDECAR_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/push-sidecar/tools}

jaeger_version=v1.76.0 # of the Go module; the program calls itself v2
builder_version=v0.160.0
collector_manifest=$here/collector.yaml

path_of() {
  case $1 in
    jaeger) echo "$cache/jaeger-$jaeger_version/jaeger" ;;
    # Its version is that of all its parts.
    collector) echo "$cache/collector-$(sha256sum "$collector_manifest" | cut -c1-12)/otelcol" ;;
    *) echo "$0: jaeger or collector, not '$1'" >&2; return 2 ;;
  esac
}

# Each builds its program into the folder $1, which it may fill with what it likes, and is a process of its own.
build_jaeger() {
  set -e
  # `go install` refuses a module with `replace` lines, so its source is copied out of Go's cache, and built there.
  mkdir "$1/download"
  cd "$1/download"
  go mod init download
  go mod download "github.com/jaegertracing/jaeger@$jaeger_version"
  cp -r "$(go env GOMODCACHE)/github.com/jaegertracing/jaeger@$jaeger_version" "$1/source"
  chmod -R u+w "$1/source"
  cd "$1/source"
  go build -trimpath -ldflags '-s -w' -o "$1/jaeger" ./cmd/jaeger
}

build_collector() {
  set -e
  GOBIN=$1 go install "go.opentelemetry.io/collector/cmd/builder@$builder_version"
  sed "s|^dist:|&\n  output_path: $1/source|" "$collector_manifest" >"$1/manifest.yaml"
  "$1/builder" --config "$1/manifest.yaml" --ldflags '-s -w'
  mv "$1/source/otelcol" "$1/otelcol"
}

build() {
  local name=$1 program folder
  program=$(path_of "$name")
  [[ ! -x $program ]] || return 0
  command -v go >/dev/null || { echo "$name is built by Go, which is missing: https://go.dev/dl" >&2; return 1; }
  mkdir -p "$(dirname "$program")"
  exec 9>"$cache/$name.lock"
  flock 9 # somebody else may be building it
  [[ ! -x $program ]] || return 0
  echo "push-sidecar: building $name into $cache, some minutes the first time"
  folder=$(mktemp -d "$cache/$name.XXXXXX")
  # shellcheck disable=SC2064  # the folder's name, not the variable, which is gone by then
  trap "rm -rf '$folder'" EXIT
  # A command that is tested runs without `set -e`, so the builder is started and waited for.
  ("build_$name" "$folder") >"$folder/log" 2>&1 &
  wait $! || { tail -n 20 "$folder/log" >&2; return 1; }
  mv "$folder/$(basename "$program")" "$program"
}

if [[ ${1:-} == --path ]]; then
  path_of "$2"
else
  for name in "${@:-jaeger collector}"; do
    for each in $name; do
      path_of "$each" >/dev/null
      (build "$each")
    done
  done
fi
