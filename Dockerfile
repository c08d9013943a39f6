# syntax=docker/dockerfile:1
# librdkafka and OpenSSL are compiled in: the result needs glibc and nothing else.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin wms-connector \
    && cp target/release/wms-connector /usr/local/bin/wms-connector

FROM debian:bookworm-slim
# The vendors' certificates are checked against these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/wms-connector /usr/local/bin/wms-connector
# The spool and a token file, where they are used, live here: mount a volume.
RUN useradd --system --uid 10001 --home-dir /var/lib/wms-connector --create-home wms
USER wms
WORKDIR /var/lib/wms-connector
EXPOSE 8080
ENTRYPOINT ["wms-connector"]
CMD ["run", "--config", "/etc/wms-connector/wms-connector.toml"]
