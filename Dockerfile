# Build: everything that needs an index stays in the first stage. The kernels are compiled here, for
# the processor that builds; on another one every start compiles them, which takes some 15 s.
FROM python:3.12-slim-bookworm AS build
RUN python -m venv /opt/extauthz
COPY requirements.lock /tmp/
RUN /opt/extauthz/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.lock
COPY extauthz /opt/extauthz/lib/python3.12/site-packages/extauthz
COPY kernels/extauthz_kernels /opt/extauthz/lib/python3.12/site-packages/extauthz_kernels
RUN /opt/extauthz/bin/python -m compileall -q /opt/extauthz/lib \
 && /opt/extauthz/bin/python -c "import extauthz_kernels"

# Serve: nobody's account, nothing written. The model is inside the package.
FROM python:3.12-slim-bookworm
COPY --from=build /opt/extauthz /opt/extauthz
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    EXTAUTHZ_LISTEN=0.0.0.0:50051
EXPOSE 50051
ENTRYPOINT ["/opt/extauthz/bin/python", "-m", "extauthz"]
CMD ["serve"]
# Metrics and /ready stay on the container's own loopback: set EXTAUTHZ_ADMIN=0.0.0.0:9100 to scrape
# them from the pod network. A read-only root is enough:
#   docker run --read-only --cap-drop ALL -p 127.0.0.1:50051:50051 extauthz
