# The image that runs every role and the operator's command. Build it with BuildKit, which is Docker's default:
#
#   docker build --tag quintile:0.1.0 .
#
# and try all five services, on a volume that keeps their data:
#
#   docker run --rm --read-only --volume quintile:/var/lib/quintile --publish 7701-7705:7701-7705 --env QUINTILE_LISTEN__HOST=0.0.0.0 quintile:0.1.0
#
# Both images are of one release of Debian: what is linked against a libc runs on that one.

# That of rust-toolchain.toml, which stays outside: with it, components would be installed that no build needs.
ARG RUST_VERSION=1.95.0
ARG DEBIAN_RELEASE=trixie

FROM rust:${RUST_VERSION}-slim-${DEBIAN_RELEASE} AS toolchain
WORKDIR /build
RUN cargo install --locked cargo-chef@0.1.77

# The recipe is the manifests and the lock file: it stays the same, and with it the layer below, until a dependency changes.
FROM toolchain AS recipe
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM toolchain AS build
COPY --from=recipe /build/recipe.json recipe.json
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo chef cook --locked --profile dist --package quintile --recipe-path recipe.json
COPY . .
# The recipe stood in for every build script with an empty one; by its time, cargo sees that this one is another.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    touch crates/proto/build/main.rs && \
    cargo build --locked --profile dist --package quintile

FROM debian:${DEBIAN_RELEASE}-slim
LABEL org.opencontainers.image.title="quintile" \
      org.opencontainers.image.description="Customer value scoring and segmentation, five gRPC services in one binary" \
      org.opencontainers.image.licenses="Apache-2.0"
# Whoever mounts a new volume there, mounts it as it is here. Authorities and time zones are in the binary.
RUN install --directory --owner=65532 --group=65532 --mode=0700 /var/lib/quintile
COPY --from=build /build/target/dist/quintile /usr/local/bin/quintile
USER 65532:65532
# Without a configuration the data directory is one below the place that a process starts in. It is the only one that it writes to.
WORKDIR /var/lib/quintile
EXPOSE 7701 7702 7703 7704 7705
ENTRYPOINT ["/usr/local/bin/quintile"]
CMD ["serve"]
