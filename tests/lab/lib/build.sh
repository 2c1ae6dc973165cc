# shellcheck shell=bash
#
# Root filesystems, test images, keys: all that is made once and cached.
#
#   base-SUITE-HASH.tar   Debian packages only (slow, needs the mirror)
#   root-SUITE-HASH/      the base unpacked, with rootfs/, users and images
#   site-HASH/            a layer above it: this lab's addresses, keys, CA
#
# The hash covers what the thing is made from, so nothing stale is ever used
# and a change of recipe needs no clean-up.

# What every node has.
readonly NODE_PACKAGES=(systemd systemd-sysv dbus dbus-user-session
  libpam-systemd podman crun uidmap passt slirp4netns netavark aardvark-dns
  fuse-overlayfs catatonit iproute2 iputils-ping iptables nftables
  ca-certificates procps openssh-server openssl curl jq sqlite3 busybox-static
  python3 dnsmasq-base docker-registry libfaketime)

# Has no business in a node, or would only slow its boot.
readonly MASKED_UNITS=(console-getty.service getty.target
  docker-registry.service apt-daily.timer apt-daily-upgrade.timer
  dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
  systemd-journald-audit.socket systemd-pcrextend.socket
  systemd-networkd.service systemd-modules-load.service)

# Data directories of the services that the tests deploy.
readonly SRV_DIRS=(mcq metacrypt mcns mcr mc-proxy)

sha() { sha256sum | cut -c1-16; }

# Comma separated; the extra ones go to the lab's main suite only.
packages_of() {
  local list="${NODE_PACKAGES[*]}"
  [[ $1 != "$LAB_SUITE" ]] || list+=" ${LAB_EXTRA_PACKAGES//,/ }"
  # shellcheck disable=SC2086  # the list is split at blanks
  printf '%s\n' $list | paste -sd,
}

base_tar() {
  echo "$CACHE/base-$1-$({ dpkg --print-architecture; packages_of "$1"
    declare -f build_base; } | sha).tar"
}
root_dir() {
  echo "$CACHE/root-$1-$({ base_tar "$1"
    declare -p MASKED_UNITS SRV_DIRS MCP_UID ALICE_UID
    declare -f build_root build_images image
    cd "$HERE"
    find rootfs images -type f -printf '%p %m\n' | sort
    find rootfs images -type f -print0 | sort -z | xargs -0 sha256sum; } | sha)"
}
site_dir() {
  echo "$CACHE/site-$({ echo "$1"; write_hosts; declare -f make_site
    cat "$KEYS"/*.pub "$KEYS"/*.crt; } | sha)"
}

# The Debian mirror of this host's apt: any suite will do, the same archive
# carries the others.
mirror() {
  local uri
  if [[ -n $LAB_MIRROR ]]; then echo "$LAB_MIRROR"; return; fi
  # shellcheck disable=SC2016  # $(..) here is apt's own syntax
  uri=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' \
    'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == "Debian" {print $3; exit}')
  # Without downloaded lists the origin is not known: take the first source.
  # shellcheck disable=SC2016
  if [[ -z $uri ]] && grep -qx 'ID=debian' /etc/os-release; then
    uri=$(apt-get indextargets --format '$(REPO_URI)' \
      'Created-By: Packages' 2>/dev/null | grep -v security | head -n1)
  fi
  [[ -n $uri ]] || die "apt here knows no Debian mirror; set LAB_MIRROR"
  echo "$uri"
}

build_base() {
  local suite=$1 out=$2
  timeout "$BUILD_TIMEOUT" mmdebstrap --quiet --format=tar --variant=minbase \
    --include="$(packages_of "$suite")" \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$out.part" "$(mirror)" >&2 </dev/null
  mv "$out.part" "$out"
}

build_root() {
  local tar=$1 out=$2 new=$2.part unit dir
  local etc=$new/etc
  mkdir -p "$new"
  tar -C "$new" --xattrs --xattrs-include='*' --numeric-owner -xpf "$tar"
  cp -a --no-preserve=ownership "$HERE/rootfs/." "$new/"

  for dir in "${SRV_DIRS[@]}"; do
    install -d -o "$MCP_UID" -g "$MCP_UID" "$new/srv/$dir"
  done
  # Someone else who may log in, and may do nothing to mcp's things.
  chroot "$new" useradd --uid "$ALICE_UID" --user-group --create-home \
    --shell /bin/bash alice

  # These belong to a node, not to its root filesystem.
  rm -f "$etc"/ssh/ssh_host_* "$etc/hostname" "$etc/machine-id"
  mkdir -p "$etc"/systemd/system/{sysinit,multi-user}.target.wants
  ln -s ../lab-node.service "$etc/systemd/system/sysinit.target.wants/"
  for unit in "${MASKED_UNITS[@]}"; do
    ln -sfn /dev/null "$etc/systemd/system/$unit"
  done
  # Nothing of what a first boot after an upgrade would do is needed.
  touch "$etc/.updated" "$new/var/.updated"

  # The images are in mcp's own store, of which every node gets a copy, before
  # there is a user mcp: the package makes it.
  mkdir -p "$new/usr/share/lab"
  build_images "$new/usr/bin/busybox" "$new/usr/share/lab/images.tar"
  chroot "$new" useradd --system --uid "$MCP_UID" --user-group \
    --home-dir "$MCP_HOME" --create-home mcp
  chroot "$new" usermod --add-subuids 1000000-1065535 --add-subgids 1000000-1065535 mcp
  # shellcheck disable=SC2016  # expanded by the inner shell
  unshare --mount --pid --fork --mount-proc bash -ec '
    mount --bind "$1" "$1"
    cd "$1"
    mount --bind /dev dev
    mount -t tmpfs tmpfs dev/shm
    mount -t proc proc proc
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs tmp
    install -d -o "$2" -g "$2" -m 700 "run/user/$2"
    # Not chroot: in a chroot no user namespace can be made.
    pivot_root . mnt
    umount -l /mnt
    exec setpriv --reuid="$2" --regid="$2" --init-groups env -i HOME="$3" \
      PATH=/usr/bin:/usr/sbin XDG_RUNTIME_DIR="/run/user/$2" podman \
      --log-level=error --cgroup-manager=cgroupfs load -q \
      -i /usr/share/lab/images.tar
    ' - "$new" "$MCP_UID" "$MCP_HOME" >/dev/null </dev/null
  # The database would remember paths of this step; it is made again.
  rm -f "$new$MCP_HOME"/.local/share/containers/storage/db.sql*
  [[ -z $(find "$new$MCP_HOME" ! -uid "$MCP_UID" -print -quit) ]] ||
    die "images have files that depend on the subordinate ids of this step"
  chroot "$new" userdel mcp
  find "$new$MCP_HOME" -mindepth 1 -maxdepth 1 ! -name .local -exec rm -r {} +
  mv "$new" "$out"
}

# Tars a directory so that the same content gives the same bytes.
tar_same() {
  tar -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --format=posix --pax-option=delete=atime,delete=ctime -cf "$2" .
}

# All test images in one docker-archive, made with tar and jq alone: neither
# podman nor a registry is needed.  Two layers: a busybox with images/bin, and
# a web server without a shell.
build_images() {
  local busybox=$1 out=$2 tmp applet
  tmp=$(mktemp -d "$CACHE/images.XXXXXX")
  mkdir -p "$tmp"/app/{bin,etc,proc,sys,dev,run,tmp,data} "$tmp/archive" \
    "$tmp"/static/{etc,proc,sys,dev,run,tmp}

  cp "$busybox" "$tmp/app/bin/busybox"
  cp "$HERE"/images/bin/* "$tmp/app/bin/"
  for applet in $("$busybox" --list); do
    [[ -e $tmp/app/bin/$applet ]] || ln -s busybox "$tmp/app/bin/$applet"
  done
  printf 'root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n' \
    >"$tmp/app/etc/passwd"
  printf 'root:x:0:\napp:x:1000:\n' >"$tmp/app/etc/group"
  chmod 1777 "$tmp"/app/{tmp,run,data}

  # A busybox under the name of one applet is that applet and nothing else.
  cp "$busybox" "$tmp/static/httpd"
  echo ok >"$tmp/static/health"
  echo v1 >"$tmp/static/version"

  tar_same "$tmp/app" "$tmp/archive/app.tar"
  tar_same "$tmp/static" "$tmp/archive/static.tar"

  image app web:v1 '{}' VERSION=v1
  image app web:v2 '{}' VERSION=v2
  image app web:bad '{}' VERSION=bad HEALTH=bad
  image app web-hc:v1 '{Healthcheck: {Test: ["CMD", "/bin/health"],
    Interval: 1000000000, Timeout: 2000000000, Retries: 3}}' VERSION=v1
  image app slow:v1 '{}' VERSION=v1 DELAY=5
  image app crash:v1 '{}' MODE=idle EXIT_AFTER=2 EXIT_CODE=1
  image app job:v1 '{}' MODE=idle EXIT_AFTER=1 EXIT_CODE=0
  image app sick:v1 '{}' VERSION=v1 HEALTH=bad
  image app stubborn:v1 '{}' VERSION=v1 IGNORE_TERM=1
  image app echo:v1 '{}' MODE=echo PORT=7
  # As PID 1 it has no handler for SIGTERM: only SIGKILL ends it.
  image static static:v1 '{StopSignal: "SIGKILL",
    Entrypoint: ["/httpd", "-f", "-p", "8080"]}'

  jq -cs . "$tmp/list" >"$tmp/archive/manifest.json"
  tar_same "$tmp/archive" "$out"
  rm -rf "$tmp"
}

# image LAYER NAME CONFIG VARIABLE=VALUE...: one image of build_images, with
# CONFIG (jq) over the defaults.
image() {
  local layer=$1 name=$2 extra=$3 dir=$tmp/archive config sum diff; shift 3
  diff=$(sha256sum "$dir/$layer.tar" | cut -d' ' -f1)
  config=$(jq -cn --arg arch "$(dpkg --print-architecture)" \
    --arg diff "sha256:$diff" '{
      architecture: $arch, os: "linux", created: "2025-01-01T00:00:00Z",
      config: ({Entrypoint: ["/bin/app"], WorkingDir: "/",
        Env: (["PATH=/bin"] + $ARGS.positional),
        ExposedPorts: {"8080/tcp": {}}} + ('"$extra"')),
      rootfs: {type: "layers", diff_ids: [$diff]},
      history: [{created: "2025-01-01T00:00:00Z", created_by: "lab"}]
    }' --args "$@")
  sum=$(printf '%s' "$config" | sha256sum | cut -d' ' -f1)
  printf '%s' "$config" >"$dir/$sum.json"
  jq -cn --arg config "$sum.json" --arg tag "localhost/lab/$name" \
    --arg layer "$layer.tar" \
    '{Config: $config, RepoTags: [$tag], Layers: [$layer]}' >>"$tmp/list"
}

make_keys() {
  local tmp=$KEYS.part
  [[ ! -d $KEYS ]] || return 0
  rm -rf "$tmp"
  mkdir -m 700 "$tmp"
  ssh-keygen -q -t ed25519 -N '' -C lab -f "$tmp/id_ed25519"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=lab CA' \
    -keyout "$tmp/ca.key" -out "$tmp/ca.crt" 2>/dev/null
  openssl req -new -newkey rsa:2048 -nodes -subj '/CN=registry.lab' \
    -keyout "$tmp/registry.key" -out "$tmp/registry.csr" 2>/dev/null
  openssl x509 -req -in "$tmp/registry.csr" -CA "$tmp/ca.crt" \
    -CAkey "$tmp/ca.key" -CAcreateserial -days 3650 -out "$tmp/registry.crt" \
    -extfile <(printf 'subjectAltName=DNS:registry.lab,DNS:registry') \
    2>/dev/null
  mv "$tmp" "$KEYS"
}

# What depends on keys and addresses is kept out of the root filesystem.
make_site() {
  local root=$1 out tmp
  out=$(site_dir "$root") tmp=$out.part
  [[ ! -d $out ]] || return 0
  mkdir -p "$tmp"/etc/ssh "$tmp/etc/ssl/certs"
  write_hosts >"$tmp/etc/hosts"
  echo "nameserver $(addr gateway)" >"$tmp/etc/resolv.conf"
  cp "$KEYS/id_ed25519.pub" "$tmp/etc/ssh/lab_authorized_keys"
  cat "$root/etc/ssl/certs/ca-certificates.crt" "$KEYS/ca.crt" \
    >"$tmp/etc/ssl/certs/ca-certificates.crt"
  cp "$KEYS/ca.crt" "$tmp/etc/ssl/certs/lab.pem"
  ln -s lab.pem "$tmp/etc/ssl/certs/$(openssl x509 -hash -noout \
    -in "$KEYS/ca.crt").0"
  mv "$tmp" "$out"
}

# build SUITE: makes what is missing, prints the root filesystem's path.
build() {
  local suite=$1 base root tool
  for tool in mmdebstrap systemd-nspawn nft ssh-keygen openssl jq; do
    command -v "$tool" >/dev/null || die "$tool is missing: run 'lab deps'"
  done
  mkdir -p "$CACHE"
  # Labs of another name may share the cache.
  exec 8>"$LAB_DIR/build.lock"
  flock -w "$BUILD_TIMEOUT" 8 || die "another build is running"
  rm -rf --one-file-system "$CACHE"/*.part "$CACHE"/images.*
  base=$(base_tar "$suite") root=$(root_dir "$suite")
  if [[ ! -d $root ]]; then
    if [[ ! -f $base ]]; then
      say "building $(basename "$base")"
      build_base "$suite" "$base"
    fi
    say "building $(basename "$root")"
    build_root "$base" "$root"
  fi
  make_keys
  make_site "$root"
  exec 8>&-
  echo "$root"
}

# Drops what neither the present recipes (of the given suites) nor any node
# of any lab uses.
prune() {
  local f suite keep
  keep=$(for suite; do
      base_tar "$suite"; root_dir "$suite"; site_dir "$(root_dir "$suite")"
    done
    cat "$LAB_DIR"/nodes/*/*/lower 2>/dev/null || true)
  for f in "$CACHE"/{base,root,site,mirror}-*; do
    [[ ! -e $f ]] || grep -qxF "$f" <<<"$keep" || rm -rf --one-file-system "$f"
  done
}
