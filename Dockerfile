# syntax=docker/dockerfile:1
FROM python:3.11.15-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY deploy/constraints.txt deploy/
COPY storage storage
COPY collector collector
COPY analytics analytics
COPY alerts alerts
COPY api api
COPY spanwise spanwise
RUN python -m venv --without-pip /opt/spanwise \
    && pip --python /opt/spanwise/bin/python install --no-cache-dir --no-compile --constraint deploy/constraints.txt .

FROM python:3.11.15-slim-bookworm
# /keys is a volume of docker-compose.yml: a new one takes this owner and mode
RUN groupadd --gid 10001 spanwise \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/spanwise --create-home --shell /usr/sbin/nologin spanwise \
    && install --directory --owner=spanwise --group=spanwise --mode=0750 /keys
COPY --from=build /opt/spanwise /opt/spanwise
ENV PATH=/opt/spanwise/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SPANWISE_DATA_DIR=/var/lib/spanwise \
    SPANWISE_HOST=0.0.0.0 \
    SPANWISE_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/spanwise
VOLUME /var/lib/spanwise
EXPOSE 4317 4318 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["spanwise"]
CMD ["serve"]
