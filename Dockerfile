# syntax=docker/dockerfile:1
FROM --platform=$BUILDPLATFORM golang:1.26@sha256:3aff6657219a4d9c14e27fb1d8976c49c29fddb70ba835014f477e1c70636647 AS build
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

FROM gcr.io/distroless/static:nonroot@sha256:e2e927ec666bae08560abb3c55d0659eceabb657f56b6782ab500a9fc7f555e3
LABEL org.opencontainers.image.title="cachewright" \
      org.opencontainers.image.description="Application-cache policy and invalidation as Kubernetes resources" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]
