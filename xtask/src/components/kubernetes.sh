#!/bin/sh
# Builds kube-apiserver and kube-controller-manager from what kubernetes.rs downloaded into this directory and checked:
# upstream's source as Debian keeps it, Debian's Go, and Debian's reflect2. Leaves the two programs in `bin`.
set -eu
version=v$1
here=$(pwd)

for package in *.deb; do
    dpkg -x "$package" root
done
source=$here/go/src/k8s.io/kubernetes
mkdir -p "$source" bin
tar -xzf kubernetes_*.orig.tar.gz --strip-components=1 -C "$source"

# The vendored reflect2 does not link with this Go. Debian's goes over it, and what it replaces by other files goes away.
reflect2=vendor/github.com/modern-go/reflect2
cp root/usr/share/gocode/src/github.com/modern-go/reflect2/*.go "$source/$reflect2"
rm -f "$source/$reflect2/go_above_17.go" "$source/$reflect2/go_below_17.go" "$source/$reflect2/go_below_19.go"

# Nothing of the developer's Go: no modules, no flags, no cache, no other toolchain.
export GOROOT="$here/root/usr/lib/go-1.19" GOPATH="$here/go" GOCACHE="$here/cache" GOTMPDIR="$here/tmp" GOENV=off
export GO111MODULE=off GOFLAGS= CGO_ENABLED=0
mkdir -p "$GOTMPDIR"
go=$GOROOT/bin/go
cd "$source"

# The descriptions of the types that the server publishes are not in the tarball: made from the packages that ask for it.
tagged=$(grep -rl --include=*.go '+k8s:openapi-gen=' pkg cmd plugin staging/src/k8s.io |
    grep -v -e /code-generator/ -e /sample-apiserver/ -e /testdata/ -e /zz_generated | xargs -n 1 dirname | sort -u |
    sed -e 's,^staging/src/,k8s.io/kubernetes/vendor/,' -e t -e 's,^,k8s.io/kubernetes/,' | paste -sd , -)
"$go" build -o "$here/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
"$here/openapi-gen" -i "$tagged" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h hack/boilerplate/boilerplate.generatego.txt -r "$here/violations"

flags='-s -w'
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    # In a GOPATH the linker knows a vendored package by its whole path.
    for path in "$package" "k8s.io/kubernetes/vendor/$package"; do
        major=$(echo "$1" | cut -d . -f 1) minor=$(echo "$1" | cut -d . -f 2)
        flags="$flags -X $path.gitVersion=$version -X $path.gitMajor=$major -X $path.gitMinor=$minor"
    done
done
"$go" build -trimpath -ldflags "$flags" -o "$here/bin/" ./cmd/kube-apiserver ./cmd/kube-controller-manager
