# The program, and nothing else: static, without a shell, as a user without rights.
FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /analytics ./cmd/analytics

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /analytics /analytics
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m CMD ["/analytics", "healthcheck"]
ENTRYPOINT ["/analytics"]
CMD ["run"]
