# aeflow in a container, as an ordinary user. Build for a GPU with: docker build --build-arg TORCH_BACKEND=auto
# Mount the folder that holds configs/, and a volume for everything that is written:
#   docker run --rm -v "$PWD:/project" -v aeflow:/home/aeflow/data aeflow score pumps --pending
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
ARG TORCH_BACKEND=cpu
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY aeflow aeflow
COPY flows flows
RUN python -m venv /opt/aeflow \
 && /opt/aeflow/bin/pip install --no-cache-dir --constraint constraints.txt uv \
 && /opt/aeflow/bin/uv pip install --no-cache --compile-bytecode --python /opt/aeflow/bin/python \
    --torch-backend "${TORCH_BACKEND}" --constraint constraints.txt '.[postgresql]'

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 1000 aeflow && install -d -o aeflow /home/aeflow/data /project
COPY --from=build /opt/aeflow /opt/aeflow
ENV PATH=/opt/aeflow/bin:$PATH AEFLOW_HOME=/home/aeflow/data
USER aeflow
WORKDIR /project
ENTRYPOINT ["aeflow"]
CMD ["--help"]
