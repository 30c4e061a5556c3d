# The server in an image of nothing but its program. It copies what `make release` built, so that image and release hold the same bytes:
#
#   make release VERSION=v1.2.3 && docker build --build-arg VERSION=1.2.3 --tag qgjob .
#   docker run --read-only --publish 8443:8443 --volume "$PWD/data:/data" qgjob
#
# /data must hold cert.pem, key.pem and token, and belong to 65532: without TLS and a token the server does not listen to others.
# Other commands: docker run qgjob submit --help
FROM scratch
ARG VERSION
ARG TARGETOS=linux
ARG TARGETARCH=amd64
COPY dist/qgjob_${VERSION}_${TARGETOS}_${TARGETARCH} /qgjob
COPY --chown=65532:65532 LICENSE /data/LICENSE
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8443
ENTRYPOINT ["/qgjob"]
CMD ["server", "--listen=0.0.0.0:8443", "--data-dir=/data", "--tls-cert=/data/cert.pem", "--tls-key=/data/key.pem", "--token-file=/data/token"]
