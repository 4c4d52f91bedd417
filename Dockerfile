# One image for Dagster's webserver, daemon, code location and runs on ECS; infra/orchestration.py says each's command.
#   docker build --platform linux/amd64 -t lake .
# Debian's release and Python's minor version are fixed; a digest behind the tag fixes the rest.
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /source
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY lake_pipeline lake_pipeline
COPY glue_scripts glue_scripts
RUN python -m venv /opt/lake \
    && /opt/lake/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.13.9-slim-bookworm
RUN useradd --uid 10001 --create-home lake
COPY --from=build /opt/lake /opt/lake
# The instance is the one of every lake, with a launcher that gives each run a task of its own.
COPY dagster.yaml infra/image/run_launcher.yaml /opt/lake/dagster/
RUN cd /opt/lake/dagster \
    && cat run_launcher.yaml >> dagster.yaml \
    && rm run_launcher.yaml \
    && chown -R lake: /opt/lake/dagster
COPY infra/image/workspace.yaml /opt/lake/workspace.yaml
COPY --chmod=555 infra/image/entrypoint.sh /usr/local/bin/entrypoint.sh
ENV PATH=/opt/lake/bin:$PATH \
    DAGSTER_HOME=/opt/lake/dagster \
    LAKE_HOME=/home/lake/.lake \
    DAGSTER_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
USER lake
WORKDIR /home/lake
ENTRYPOINT ["entrypoint.sh"]
CMD ["lake", "--help"]
