# syntax=docker/dockerfile:1
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
# The repository is not in the context, so Go cannot tell.
ARG COMMIT=
WORKDIR /src
COPY go.mod go.sum ./
COPY api/ api/
COPY registry/ registry/
COPY controllers/ controllers/
COPY internal/ internal/
COPY cmd/ cmd/
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /operator ./cmd/operator

FROM gcr.io/distroless/static:nonroot
LABEL org.opencontainers.image.title="cachewright" \
      org.opencontainers.image.description="Application-cache policy and invalidation as Kubernetes resources" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]
