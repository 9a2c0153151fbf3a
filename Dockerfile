# One image for the front end, the Dask scheduler and the workers: equal versions everywhere. compose.yaml starts all three.
FROM python:3.11-slim

RUN useradd --create-home voxelforest && mkdir -p /data /state/labels && chown -R voxelforest /state
WORKDIR /opt/voxelforest
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY numba_ops numba_ops
COPY pipeline pipeline
COPY web web
RUN pip install --no-cache-dir -c constraints.txt ".[cloud,formats,viewer]"

USER voxelforest
# Jobs, uploads, settings and compiled kernels outlive a container in this folder.
ENV VOXELFOREST_DATA_DIR=/state XDG_CACHE_HOME=/state/cache
VOLUME /state
EXPOSE 8080
# Anything but loopback asks for VOXELFOREST_TOKEN.
ENTRYPOINT ["voxelforest"]
CMD ["serve", "--config", "/data/voxelforest.toml", "--host", "0.0.0.0"]
