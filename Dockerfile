# The image of the agent: docker build -t windlass .
# For both kinds of machine: docker buildx build --platform linux/amd64,linux/arm64 . (nothing of the other kind is run).

# For the build, and where Node itself is taken from.
ARG NODE=node:24-bookworm-slim
# Has to have glibc, libstdc++ and libgcc, and nothing else: no shell is needed.
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${NODE} AS node

FROM --platform=${BUILDPLATFORM} ${NODE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY LICENSE ./
COPY .ci/build .ci/build
COPY src src
ARG TARGETARCH
# The command's first line names Node by its full path, as env is missing in the base.
RUN node .ci/build/build.ts --to /out/opt/windlass --cpu "${TARGETARCH}" && \
    sed -i '1s|.*|#!/usr/local/bin/node|' /out/opt/windlass/main.js && \
    mkdir -p /out/usr/local/bin /out/var/lib /store/windlass && \
    ln -s /opt/windlass/main.js /out/usr/local/bin/windlass

FROM ${BASE}
# The layer that changes least comes first: an update of the agent is a few MB.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/LICENSE /opt/windlass/LICENSE-node
COPY --from=build /out/ /
# The default of store.path.
COPY --from=build --chown=65532:65532 /store/ /var/lib/
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="windlass" \
      org.opencontainers.image.description="A registry mirror on every Kubernetes node: haul every image into the cluster once." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
# Node is PID 1, with no init before it: the agent starts no processes, and src/main.ts sees to the signals. No HEALTHCHECK:
# Kubernetes does not look at it, and probes ask /healthz and /readyz on the status port.
ENTRYPOINT ["/usr/local/bin/windlass"]
CMD ["agent"]
