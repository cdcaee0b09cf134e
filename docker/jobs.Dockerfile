# The image that jobs and endpoints run in on AWS. Build in the project's folder:
#   docker build --platform linux/amd64 --file docker/jobs.Dockerfile --tag millrace-jobs .
# The default build of torch carries CUDA. For CPU instances give --build-arg TORCH_INDEX=URL, where URL is the index of
# CPU wheels that PyTorch's installation page names: the image is then several GB smaller.
FROM python:3.11-slim

ARG TORCH_INDEX=""

WORKDIR /build
COPY pyproject.toml requirements.txt docker/extras.py ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && python extras.py jobs > wanted.txt \
    && pip install --no-cache-dir --constraint requirements.txt --requirement wanted.txt boto3 \
    && rm -rf /build/*

# The image's own two programs. Everything else that a job runs travels in its source archive.
COPY include/millrace/training/script_mode.py /opt/millrace/training/script_mode.py
COPY include/millrace/serving/server.py /opt/millrace/serving/server.py
COPY docker/jobs-entrypoint.sh /usr/local/bin/jobs-entrypoint

# The two NVIDIA variables make the GPUs of a GPU instance visible; other instances ignore them.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLBACKEND=Agg \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The server reads SAGEMAKER_BIND_TO_PORT, which SageMaker sets for images with this label.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
EXPOSE 8080
WORKDIR /opt/ml
ENTRYPOINT ["sh", "/usr/local/bin/jobs-entrypoint"]
