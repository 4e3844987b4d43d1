# A worker as an image: Node, what Millrace needs of npm, its compiled code and a configuration. docs/deployment.md says how
# to run it.

FROM node:26-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# No scripts: the image has Node, and the others bring their binaries.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY connectors connectors
RUN npm run build && find dist -name '*.d.ts' -delete && chmod +x dist/src/main.js

FROM node:26-slim AS dependencies
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund --omit=dev
# SQLite comes with its sources, and with binaries for all systems.
RUN cd node_modules/better-sqlite3 && rm -r deps src \
  && find prebuilds -type f ! -name "linux-$(node -p process.arch).node" -delete

FROM node:26-slim
WORKDIR /app
COPY --from=dependencies /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY package.json ./
COPY config/docker /etc/millrace
RUN ln -s /app/dist/src/main.js /usr/local/bin/millrace && mkdir /data && chown 1000:1000 /data

# SQLite's temporary files go to /data too, so that the root file system may be read-only.
ENV NODE_ENV=production \
  TMPDIR=/data \
  MILLRACE_CONFIG=/etc/millrace/worker.yaml \
  MILLRACE_ADVERTISED_HOST=localhost

# The user node, by number: Kubernetes wants to see that it is not root.
USER 1000:1000
VOLUME /data
# HTTP; the proxy's bootstrap; brokers 0 to 9.
EXPOSE 8083 19092 19100-19109
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8083/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]

# Node itself is process 1: it handles SIGTERM, and Millrace starts no processes that could be left behind.
ENTRYPOINT ["node", "--disable-warning=TimeoutNegativeWarning", "--max-semi-space-size=4", "/app/dist/src/main.js"]
CMD ["run"]
