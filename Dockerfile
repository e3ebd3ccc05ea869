# Images of jwt-gate:
#
#   docker build --target companion -t jwt-gate-auth .    the companion
#   docker build --target envoy     -t jwt-gate-envoy .   Envoy with the gate and envoy/envoy.yaml
#   docker build --target backend   -t jwt-gate-backend . the example backend
#   docker build --target filter    -t jwt-gate-filter .  the filter alone, for Istio and Envoy Gateway to fetch
#
# No image holds a secret; each that runs does so as user 65532 and needs no writable root file system.

FROM rust:1.95-slim-bookworm AS build
RUN rustup target add wasm32-wasip1
WORKDIR /build

# Dependencies first: this layer lasts until a manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src/token/Cargo.toml src/token/
COPY src/gate/Cargo.toml src/gate/
COPY src/gate/config/Cargo.toml src/gate/config/
COPY src/wasm/Cargo.toml src/wasm/
COPY src/module/Cargo.toml src/module/
COPY src/companion/Cargo.toml src/companion/
COPY src/cli/Cargo.toml src/cli/
COPY tests/Cargo.toml tests/
COPY xtask/Cargo.toml xtask/
COPY xtask/empty-filter/Cargo.toml xtask/empty-filter/
COPY xtask/floor-filter/Cargo.toml xtask/floor-filter/
COPY xtask/alone/Cargo.toml xtask/alone/
RUN for crate in src/token src/gate src/gate/config src/wasm src/module src/companion src/cli tests xtask xtask/empty-filter xtask/floor-filter xtask/alone; do \
        mkdir -p "$crate/src" && echo '//! Stands in.' > "$crate/src/lib.rs"; \
    done \
    && for program in src/companion src/cli xtask; do printf '//! Stands in.\nfn main() {}\n' > "$program/src/main.rs"; done \
    && cargo build --locked --release --package jwt-gate-auth \
    && cargo build --locked --package xtask --features tools \
    # With the flags of `cargo xtask wasm`, or cargo would compile all of it again there.
    && RUSTFLAGS="--remap-path-prefix=/build=/jwt-gate --remap-path-prefix=$CARGO_HOME=/cargo" \
        cargo build --locked --profile wasm --target wasm32-wasip1 --package jwt-gate-wasm

# Then the programs. Cargo looks at modification times: the sources must be younger than the stand-ins' build.
COPY src src
COPY xtask xtask
COPY envoy envoy
RUN find src xtask -name '*.rs' -exec touch {} + \
    && cargo build --locked --release --package jwt-gate-auth \
    && cargo xtask wasm


# One layer with plugin.wasm: the form of a wasm module that both fetch.
FROM scratch AS filter
COPY --from=build /build/target/jwt_gate.wasm /plugin.wasm


FROM debian:bookworm-slim AS companion
# A volume takes over the owner of the folder that it is first mounted on.
RUN install -d -o 65532 -g 65532 /run/jwt-gate /var/lib/jwt-gate
COPY --from=build /build/target/release/jwt-gate-auth /usr/local/bin/jwt-gate-auth
COPY envoy/with-secret.sh /usr/local/bin/with-secret
USER 65532:65532
WORKDIR /var/lib/jwt-gate
ENV JWT_GATE_LISTEN=0.0.0.0:3000 \
    JWT_GATE_PRIVATE_LISTEN=0.0.0.0:3001 \
    DATABASE_URL=sqlite:/var/lib/jwt-gate/users.db \
    JWT_GATE_LOG_FORMAT=json
EXPOSE 3000
VOLUME /var/lib/jwt-gate
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/3001 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["with-secret", "jwt-gate-auth"]
CMD ["serve"]


FROM envoyproxy/envoy:v1.40.0 AS envoy
COPY --from=build /build/target/jwt_gate.wasm /etc/envoy/jwt_gate.wasm
COPY envoy/envoy.yaml /etc/envoy/envoy.yaml
COPY envoy/with-secret.sh /usr/local/bin/with-secret
COPY envoy/run-envoy.sh /usr/local/bin/run-envoy
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9901 && printf 'GET /ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["with-secret", "run-envoy"]
CMD ["/etc/envoy/envoy.yaml", "--disable-hot-restart"]


FROM python:3.13-slim-bookworm AS backend
COPY envoy/backend/requirements.txt /app/
RUN pip install --no-cache-dir --require-hashes --requirement /app/requirements.txt
COPY envoy/backend/main.py /app/
USER 65532:65532
WORKDIR /app
ENV PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/', timeout=2)"]
CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]
