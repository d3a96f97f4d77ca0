# otel-runs, for `otel-runs serve`: installed from the lock file with its hashes, run by a user without rights.
FROM python:3.13.9-slim-trixie AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/otel-runs
COPY requirements/serve.txt requirements/serve.txt
RUN python -m pip --python /opt/otel-runs/bin/python install --no-cache-dir --require-hashes --requirement requirements/serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY otel_runs otel_runs
RUN python -m pip --python /opt/otel-runs/bin/python install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13.9-slim-trixie
RUN useradd --system --uid 10001 --no-create-home otel-runs && mkdir /data && chown otel-runs /data
COPY --from=build /opt/otel-runs /opt/otel-runs
ENV PATH=/opt/otel-runs/bin:$PATH
USER 10001
WORKDIR /data
EXPOSE 4317 4318
# All addresses of the container, which is on a network of its own; docker-compose.yml says who reaches it.
ENTRYPOINT ["otel-runs"]
CMD ["serve", "--otlp-grpc", "0.0.0.0:4317", "--otlp-http", "0.0.0.0:4318"]
