# Build: everything that needs a compiler or an index stays in the first stage.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/extauthz
COPY requirements.lock ./
RUN /opt/extauthz/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY extauthz ./extauthz
COPY kernels ./kernels
RUN python -m venv /tmp/build \
 && /tmp/build/bin/pip install --no-cache-dir build \
 && /tmp/build/bin/python -m build --wheel \
 && /opt/extauthz/bin/pip install --no-cache-dir --no-deps dist/*.whl

# Serve: no compiler, no shell needed, nothing written. The model is inside the package.
FROM python:3.12-slim-bookworm
COPY --from=build /opt/extauthz /opt/extauthz
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    EXTAUTHZ_LISTEN=0.0.0.0:50051
EXPOSE 50051
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/extauthz/bin/extauthz"]
CMD ["serve"]
# Run it with a read-only root:
#   docker run --read-only --cap-drop ALL -p 127.0.0.1:50051:50051 extauthz
