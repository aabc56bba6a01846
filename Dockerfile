# The service of docs/serving.md, without PyTorch:
#   docker build -t gancolor . && docker run --rm -p 127.0.0.1:8000:8000 gancolor
FROM python:3.12-slim AS build
COPY . /source
RUN /source/docker/install.sh /opt/gancolor

FROM python:3.12-slim
COPY --from=build /opt/gancolor /opt/gancolor
RUN useradd --system --no-create-home --uid 10001 gancolor
USER 10001
ENV PATH=/opt/gancolor/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=5)"]
# Words after the image's name are further options: docker run gancolor --max_megapixels 100
ENTRYPOINT ["gancolor", "serve", "--host", "0.0.0.0"]
