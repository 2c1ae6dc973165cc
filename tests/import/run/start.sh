#!/bin/bash
set -euo pipefail
podman network create shop
# the data base
podman run -d --name shop-db --network shop \
  -e POSTGRES_PASSWORD='it'"'"'s "secret"' -e LANG \
  -v pgdata:/var/lib/postgresql/data:Z \
  --health-cmd 'pg_isready -U postgres' --health-interval 5s --health-retries=3 --health-on-failure=kill \
  --restart=always docker.io/library/postgres:17 -c shared_buffers=256MB
docker run --detach --rm=false --name=shop-web --net shop --net-alias www -p 8080:80 -p 127.0.0.1::81 -p 9000-9001:9000-9001/udp \
  -v "$PWD/site:/usr/share/nginx/html:ro" -v ~/logs:/logs -v /cache --mount type=bind,src=./x,dst=/x \
  --memory 512m --cpus=.5 --ulimit nofile=1024:2048 --cap-drop ALL --security-opt no-new-privileges --gpus all \
  --log-driver json-file --log-opt max-size=1m --add-host=host.docker.internal:host-gateway --env-file ./web.env \
  --label "traefik.http.routers.x.rule=Host(\`a\`)" --entrypoint nginx --restart unless-stopped --link shop-db:db \
  --platform linux/amd64 -it --privileged --hostname w nginx -g 'daemon off;' && echo started
docker run -d --name shop-watch -v /var/run/docker.sock:/var/run/docker.sock:ro -v $SHOP_HOME/conf:/conf -h shop_watch watcher:1
