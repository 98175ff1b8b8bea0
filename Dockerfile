# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY storage storage
COPY collector collector
COPY analytics analytics
COPY alerts alerts
COPY api api
COPY spanwise spanwise
RUN python -m venv /opt/spanwise \
    && /opt/spanwise/bin/pip install --no-cache-dir .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/spanwise --create-home spanwise
COPY --from=build /opt/spanwise /opt/spanwise
ENV PATH=/opt/spanwise/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SPANWISE_DATA_DIR=/var/lib/spanwise \
    SPANWISE_HOST=0.0.0.0 \
    SPANWISE_LOG_FORMAT=json
USER spanwise
WORKDIR /var/lib/spanwise
VOLUME /var/lib/spanwise
EXPOSE 4317 4318 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["spanwise"]
CMD ["serve"]
