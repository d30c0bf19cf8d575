# One image for all programs: `ct-edge` (default: one machine), `ct-balancer`, `ct-worker`, and `ct-secret`, which makes the
# secret that they share. Debian's glibc is not needed: no package that runs here is compiled. To pin the base:
# docker build --build-arg NODE_IMAGE=node:24-bookworm-slim@sha256:…
# For a release, its labels and the date of its SBOM too: docs/operators/install.md, "Digests and SBOM".
ARG NODE_IMAGE=node:24-bookworm-slim

# --- the programs, with the packages that they use ---
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Not `npm ci`, and no install scripts: docs/adr/0003.
RUN --mount=type=cache,target=/root/.npm \
    npm install --no-save --ignore-scripts --include=dev --no-audit --no-fund --loglevel=error
COPY tsconfig.json ./
COPY shared ./shared
COPY balancer ./balancer
COPY worker ./worker
COPY edge ./edge
# The date in the SBOM; a build argument is in the environment of RUN.
ARG SOURCE_DATE_EPOCH
RUN node edge/build.mjs && chmod +x dist/*/main.js dist/edge/make-secret.js

# --- the image ---
FROM ${NODE_IMAGE} AS runtime
WORKDIR /app
# Any user id with group 0 can run it (OpenShift chooses one): the folders that are written belong to that group too, and so does
# a volume that is first mounted there. Nothing else is written, so the root can be read-only; /tmp is for paths of sockets that
# would be too long in the data directory.
RUN ln -s /app/dist/edge/main.js /usr/local/bin/ct-edge \
 && ln -s /app/dist/balancer/main.js /usr/local/bin/ct-balancer \
 && ln -s /app/dist/worker/main.js /usr/local/bin/ct-worker \
 && ln -s /app/dist/edge/make-secret.js /usr/local/bin/ct-secret \
 && install -d -o node -g root -m 0770 /var/lib/codetogether /secret \
 && install -d -o node -g root -m 0775 /var/log/codetogether /opt/codetogether \
 && ln -s /app/dist /opt/codetogether/runtime \
 && ln -s /var/lib/codetogether/forever /opt/codetogether/.forever \
 && ln -s /var/log/codetogether /var/log/nginx
# Where operators' scripts look: the paths of the product that came before.
COPY deploy/image/start-codetogether deploy/image/licensing.properties /opt/codetogether/
COPY deploy/image/forever /usr/local/bin/forever
COPY package.json LICENSE ./
# With the list of the packages in it, dist/sbom.cdx.json.
COPY --from=build /app/dist ./dist
COPY deploy/healthy.mjs ./deploy/healthy.mjs
# Every program has its status port at one place here, so that one health check serves all.
ENV NODE_ENV=production \
    CT_DATA_DIR=/var/lib/codetogether \
    CT_STATUS_PORT=1081
# The user `node`, as a number: only then can Kubernetes see that it is not root.
USER 1000
EXPOSE 1080 1443
STOPSIGNAL SIGTERM
# The time limit is for a machine that is so busy that a Node takes seconds to start; the check itself waits for 2 s.
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=3 \
  CMD ["node", "/app/deploy/healthy.mjs"]
# At the end, because they differ in each build.
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="CodeTogether edge" \
      org.opencontainers.image.description="A self-hosted edge for live collaborative coding" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Not the base's entrypoint, a shell script: the program itself gets the signals.
ENTRYPOINT []
CMD ["ct-edge", "start", "--log-dir", "/var/log/codetogether"]
