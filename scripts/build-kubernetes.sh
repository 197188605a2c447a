#!/usr/bin/env bash
# Builds kube-apiserver, kube-controller-manager and kube-scheduler 1.20.2 from Debian's source package into the cache
# folder in which the tests look for them. Only for machines that have no ready ones; takes about 10 minutes on 2 cores.
#
#   scripts/build-kubernetes.sh [--fetch-only]
#
# Needs a Debian with apt and network, dpkg-dev, make, gcc, jq and rsync (as root, missing ones are installed). Nothing
# else on the machine is changed: sources, compiler and apt's package lists live in a folder that is removed at the end.
set -euo pipefail

readonly cache="${XDG_CACHE_HOME:-$HOME/.cache}/galaxy-float-ip"
readonly target="$cache/kubernetes-1.20.2-built"
readonly programs=(kube-apiserver kube-controller-manager kube-scheduler)

say() { printf 'build-kubernetes: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

fetch_only=no
case "${1:-}" in
  "") ;;
  --fetch-only) fetch_only=yes ;;
  *) fail "unknown argument $1; there is only --fetch-only" ;;
esac

if [ "$fetch_only" = no ] && [ -x "$target/kube-scheduler" ]; then
  say "already built: $target"
  exit 0
fi
command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
  fail "the source comes as a Debian package; without apt-get and dpkg set KUBEBUILDER_ASSETS to a folder with ${programs[*]} and etcd"

# The tools that Debian's source and Kubernetes' makefiles call.
missing=()
for tool in dpkg-source:dpkg-dev make:make gcc:gcc jq:jq rsync:rsync; do
  command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done

mkdir -p "$cache"
work="$(mktemp -d "$cache/.build-XXXXXX")"
readonly work
# Go marks its module cache read-only.
trap 'chmod -R u+w "$work" 2>/dev/null || true; rm -rf "$work"' EXIT

# The mirror that apt already uses.
mirror="$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
  grep -E '/debian/?$' | head -n 1 || true)"
readonly mirror
[ -n "$mirror" ] || fail "apt knows no Debian mirror; add one to its sources and run apt-get update"
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || fail "$keyring is missing; install the package debian-archive-keyring"

mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial" "$work/download"
printf '%s\n' \
  "deb [signed-by=$keyring] $mirror bookworm main" \
  "deb-src [signed-by=$keyring] $mirror bookworm main" \
  "deb [signed-by=$keyring] $mirror bullseye main" >"$work/apt/sources.list"
apt=(apt-get -q
  -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=-
  -o "Dir::State=$work/apt/state" -o "Dir::Cache=$work/apt/cache" -o Dir::State::status=/var/lib/dpkg/status)
if [ "$(id -u)" = 0 ]; then
  # Root's downloads would otherwise run as a user who may not write into this folder.
  apt+=(-o APT::Sandbox::User=root)
fi

if [ "${#missing[@]}" -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "missing: ${missing[*]}; install them (apt-get install ${missing[*]})"
  say "installing ${missing[*]}"
  apt-get -q update >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >&2
fi

say "reading the package lists of bookworm and bullseye from $mirror"
"${apt[@]}" update >&2
cd "$work/download"
say "fetching the source of Kubernetes and the compiler Go 1.15"
"${apt[@]}" source --download-only kubernetes/bookworm >&2
# Not a newer Go: built with 1.18 or later, kube-apiserver crashes on the first custom resource (vendored reflect2).
"${apt[@]}" download golang-1.15-go/bullseye golang-1.15-src/bullseye >&2
ls kubernetes_1.20.5+really1.20.2*.dsc >/dev/null 2>&1 ||
  fail "expected the source kubernetes 1.20.5+really1.20.2, got: $(ls | tr '\n' ' ')"

say "unpacking"
for package in golang-1.15-go_*.deb golang-1.15-src_*.deb; do
  dpkg -x "$package" "$work/go"
done
dpkg-source -x kubernetes_*.dsc "$work/kubernetes" >&2

# Debian splits GOROOT over /usr/lib and /usr/share with absolute links; here they are made to point into the folder.
goroot="$work/go/usr/lib/go-1.15"
for link in "$goroot"/*; do
  if [ -L "$link" ]; then
    to="$(readlink "$link")"
    case "$to" in
      /*) ln -sfn "$work/go$to" "$link" ;;
    esac
  fi
done
# The machine's own settings for Go are meant for another version of it.
for setting in $(env | sed -n 's/^\(GO[A-Z0-9]*\|CGO_[A-Z]*\)=.*/\1/p'); do
  unset "$setting"
done
export GOROOT="$goroot" PATH="$goroot/bin:$PATH" GOENV=off GOPATH="$work/gopath" GOCACHE="$work/gocache"
[ "$(go env GOROOT)" = "$goroot" ] || fail "the compiler does not run from $goroot: $(go env GOROOT 2>&1)"
[ -e "$goroot/src/fmt/print.go" ] || fail "the compiler's library is not in $goroot/src"
compiler="$(go version)"
say "compiler: $compiler"

if [ "$fetch_only" = yes ]; then
  say "fetched and unpacked; not built because of --fetch-only"
  exit 0
fi

cd "$work/kubernetes"
printf '%s\n' \
  "KUBE_GIT_COMMIT='faecb196815e248d3ecfb03c680a4507229c2a56'" \
  "KUBE_GIT_TREE_STATE='archive'" \
  "KUBE_GIT_VERSION='v1.20.2'" \
  "KUBE_GIT_MAJOR='1'" \
  "KUBE_GIT_MINOR='20'" >kver
say "building ${programs[*]} (about 10 minutes)"
KUBE_GIT_VERSION_FILE="$PWD/kver" CGO_ENABLED=0 GOPROXY=off \
  make WHAT="cmd/kube-apiserver cmd/kube-scheduler cmd/kube-controller-manager" GOLDFLAGS="-s -w" >&2

# All or nothing: the tests take the folder as soon as it has its name.
finished="$work/finished"
mkdir "$finished"
for program in "${programs[@]}"; do
  cp "_output/local/go/bin/$program" "$finished/"
done
"$finished/kube-apiserver" --version | grep -q 'v1\.20\.2' || fail "the built kube-apiserver does not say v1.20.2"
mv -T "$finished" "$target"
say "done: $target"
