# suturectl, for a build pipeline. Its keys and pinned roots live in the volume; an operator's own machine is the better home.
#   docker build -f deploy/Dockerfile.ctl -t suturectl .
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p suture-ctl --bin suturectl

FROM debian:bookworm-slim
RUN useradd --system --uid 64121 --home-dir /home/suturectl --create-home --shell /usr/sbin/nologin suturectl \
 && install -d -o suturectl -g suturectl -m 0700 /home/suturectl/.config/suturectl
COPY --from=build /src/target/release/suturectl /usr/bin/suturectl
USER suturectl
VOLUME /home/suturectl/.config/suturectl
ENTRYPOINT ["/usr/bin/suturectl"]
