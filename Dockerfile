# Builds the service, and minikms-p11, into a virtual environment, and takes that alone, with Python and the libraries
# that it loads: the image has no shell and no other program.
ARG PYTHON=python:3.13-slim
FROM ${PYTHON} AS build
WORKDIR /src
COPY LICENSE pyproject.toml setup.cfg setup.py deploy/build-constraints.txt ./
COPY minikms minikms
COPY doors doors
COPY integrations/p11 integrations/p11
# pip reads the first name from version 25.3 on, and before that the second.
ENV PIP_BUILD_CONSTRAINT=/src/build-constraints.txt PIP_CONSTRAINT=/src/build-constraints.txt
RUN python -m venv --without-pip /opt/minikms \
    && pip --python /opt/minikms/bin/python install --no-cache-dir '.[postgres]' ./integrations/p11
COPY deploy/image.py /image.py
# The number of its user, 999, is a promise: whoever mounts a folder of their own gives it to this user.
RUN python /image.py /opt/minikms /image

FROM scratch
COPY --from=build /image /
COPY deploy/health.py /health.py
# Docker lets any user bind a port below 1024 (net.ipv4.ip_unprivileged_port_start=0).
ENV PATH=/opt/minikms/bin MINIKMS_HOST=0.0.0.0 MINIKMS_PORT=80
ENV MINIKMS_AWS_HOST=0.0.0.0 MINIKMS_VAULT_HOST=0.0.0.0 MINIKMS_EUDIPLO_HOST=0.0.0.0
USER 999
# Keys, where they are kept: relative names in options are names in here.
WORKDIR /data
VOLUME /data
EXPOSE 80
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "/health.py"]
# Without a shell in between, so that SIGTERM arrives.
ENTRYPOINT ["minikms"]
CMD ["serve"]
