# aeflow in a container, as an ordinary user. A GPU's build of PyTorch: --build-arg TORCH_BACKEND=cu130 (as uv names it;
# `auto` would look for a GPU where the image is built, and find none).
# Mount the folder that holds configs/, and a volume for everything that is written:
#   docker run --rm -v "$PWD:/project:ro" -v aeflow:/home/aeflow/data aeflow score pumps --pending
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
ARG TORCH_BACKEND=cpu
# Extras of aeflow, and further packages such as the Prefect worker of a cluster: prefect-kubernetes.
ARG EXTRAS=postgresql
ARG PACKAGES=""
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY aeflow aeflow
COPY flows flows
RUN python -m venv /opt/aeflow \
 && /opt/aeflow/bin/pip install --no-cache-dir --constraint constraints.txt uv \
 && /opt/aeflow/bin/uv pip install --no-cache --compile-bytecode --python /opt/aeflow/bin/python \
    --torch-backend "${TORCH_BACKEND}" --constraint constraints.txt ".[${EXTRAS}]" ${PACKAGES} \
 && /opt/aeflow/bin/uv pip uninstall --python /opt/aeflow/bin/python uv

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 1000 aeflow && install -d -o aeflow /home/aeflow/data /project
COPY --from=build /opt/aeflow /opt/aeflow
ENV PATH=/opt/aeflow/bin:$PATH AEFLOW_HOME=/home/aeflow/data PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false MLFLOW_DISABLE_TELEMETRY=true GX_ANALYTICS_ENABLED=false \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false PREFECT_RESULTS_DEFAULT_SERIALIZER=json
# By number: a cluster that asks for an ordinary user (runAsNonRoot) cannot look up a name.
USER 1000
WORKDIR /project
ENTRYPOINT ["aeflow"]
CMD ["--help"]
