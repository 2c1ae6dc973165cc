# shellcheck shell=bash
#
# Nodes: their cgroups, disks, boot and end, and commands inside them.

# --- cgroups -----------------------------------------------------------------
# The lab lives in one cgroup v2 subtree, a child per node, so that "every
# process of node1" is a thing the kernel knows: no pid file can go stale.
# On a host with cgroup v1 or hybrid the v2 tree is mounted too, without the
# controllers that v1 holds (memory, cpu, pids: limits then do nothing).
cgroup_root() {
  local root
  root=$(findmnt -rn -t cgroup2 -o TARGET | head -n1)
  if [[ -z $root ]]; then
    root=$RUN/cgroup2
    mkdir -p "$root"
    mount -t cgroup2 cgroup2 "$root"
  fi
  echo "$root"
}
CG= # where the lab's cgroup is, once cgroup_init was called
cgroup_init() { CG=$(cgroup_root)/$LAB_NAME; }
cgroup_create() {
  local dir c
  mkdir -p "$CG"
  # Best effort: a controller that v1 holds, or that a host's cgroup
  # namespace does not hand down, stays out.
  for dir in "${CG%/*}" "$CG"; do
    for c in $(<"$dir/cgroup.controllers"); do
      { echo "+$c" >"$dir/cgroup.subtree_control"; } 2>/dev/null || true
    done
  done
}

# Kills every process in a cgroup and its children, and removes it.
cgroup_kill() {
  local dir=$1 p
  [[ -d $dir ]] || return 0
  if [[ -e $dir/cgroup.kill ]]; then
    echo 1 >"$dir/cgroup.kill"
  else
    while read -r p; do kill -KILL "$p" 2>/dev/null || true; done \
      < <(find "$dir" -name cgroup.procs -exec cat {} +)
  fi
  wait_for 60 cgroup_empty "$dir" || die "processes in $dir do not die"
  # A cgroup is briefly busy after its last process went.
  wait_for 30 cgroup_remove "$dir" || die "cannot remove $dir"
}
cgroup_empty() { grep -qx 'populated 0' "$1/cgroup.events"; }
cgroup_remove() {
  [[ ! -d $1 ]] || find "$1" -depth -type d -exec rmdir {} +
}

# The host's pid of a node's PID 1; fails when the node is not running.
leader() {
  local p status
  while read -r p; do
    # All at once: a shell that reads line by line seeks back after each, and
    # the kernel writes the file anew then, a little longer or shorter.
    status=$(cat "/proc/$p/status" 2>/dev/null) || continue
    if [[ $status =~ NSpid:[^$'\n']*[[:space:]]1$'\n' ]]; then
      echo "$p"
      return 0
    fi
  done < <(cat "$CG/$1/machine/payload/init.scope/cgroup.procs" 2>/dev/null)
  return 1
}
is_running() { leader "$1" >/dev/null; }
is_populated() { [[ -d $CG/$1 ]] && ! cgroup_empty "$CG/$1"; }
is_stopped() { ! is_populated "$1"; }
is_stopped_or_running() { is_stopped "$1" || is_running "$1"; }
# is_another NODE PID: it runs, and its PID 1 is not that one any more.
is_another() { local now; now=$(leader "$1") && [[ $now != "$2" ]]; }

# --- settings of the host that all nodes share ---------------------------------
# A per-user limit counts for the users of all nodes together.  Raised while
# a lab is up, put back by the `lab down` of the last one: each lab that is up
# has a record of what they were.
readonly AT_LEAST=(fs/inotify/max_user_instances:8192
  fs/inotify/max_user_watches:1048576
  kernel/keys/maxkeys:20000 kernel/keys/maxbytes:2000000)
# Where the host's AppArmor forbids user namespaces, podman needs them.
readonly EXACTLY=(kernel/apparmor_restrict_unprivileged_userns:0)

limits_raise() {
  local l f old
  if [[ ! -e $RUN/limits ]]; then
    for l in "${AT_LEAST[@]}" "${EXACTLY[@]}"; do
      f=/proc/sys/${l%:*}
      if [[ -e $f ]]; then echo "$f $(<"$f") ${l#*:}"; fi
    done >"$RUN/limits.part"
    mv "$RUN/limits.part" "$RUN/limits"
  fi
  while read -r f old l; do
    if ((old >= l)) && [[ " ${AT_LEAST[*]}" == *" ${f#/proc/sys/}:"* ]]; then
      continue
    fi
    # A container without the right to write here does without.
    { echo "$l" >"$f"; } 2>/dev/null || true
  done <"$RUN/limits"
}
# As long as another lab is up it keeps them, and gets what was there before.
limits_restore() {
  local f old other heir=
  [[ -e $RUN/limits ]] || return 0
  # A lab that came up later took what this one had raised for what it was.
  for other in /run/*/limits; do
    [[ $other != "$RUN/limits" && -e ${other%/*}/up ]] || continue
    grep -q "^/proc/sys/${AT_LEAST[0]%:*} " "$other" || continue
    cp "$RUN/limits" "$other.part"
    mv "$other.part" "$other"
    heir=1
  done
  if [[ -n $heir ]]; then rm "$RUN/limits"; return; fi
  while read -r f old _; do
    { echo "$old" >"$f"; } 2>/dev/null || true
  done <"$RUN/limits"
  rm "$RUN/limits"
}

# --- a node's life -------------------------------------------------------------
# Nodes with a disk, in order.
existing_nodes() {
  [[ -d $NODES ]] || return 0
  find "$NODES" -mindepth 1 -maxdepth 1 -type d ! -name '*.part' \
    -printf '%f\n' | sort -V
}

node_create() {
  local name=$1 root=$2 dir=$NODES/$1 tmp=$NODES/$1.part
  local etc=$tmp/upper/etc
  [[ ! -d $dir ]] || return 0
  rm -rf --one-file-system "$tmp"
  mkdir -p "$tmp"/{upper,work,root,containers} "$etc/ssh"
  chmod 755 "$tmp" # it becomes the node's /
  # Container storage must not be on overlayfs: these two are plain
  # directories of the host's disk, bound into the node.
  cp -a --reflink=auto "$root$MCP_HOME" "$tmp/home"
  echo "$name" >"$etc/hostname"
  tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id"
  ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$etc/ssh/ssh_host_ed25519_key"
  printf '%s\n' "$root" "$(site_dir "$root")" >"$tmp/lower"
  if [[ $name == registry ]]; then
    mkdir -p "$etc/lab" "$etc/systemd/system/multi-user.target.wants"
    cp "$KEYS"/{registry.crt,registry.key} "$etc/lab/"
    ln -s /etc/systemd/system/lab-registry.target \
      "$etc/systemd/system/multi-user.target.wants/"
  fi
  mv "$tmp" "$dir"
}

# Starts systemd-nspawn for a node, in a mount namespace of its own: whatever
# happens to it, the kernel then drops the node's mounts with it.
node_boot() {
  local name=$1 dir=$NODES/$1 root site
  is_populated "$name" && return 0
  { read -r root; read -r site; } <"$dir/lower"
  [[ -d $root && -d $site ]] ||
    die "$name was made from $root, which is gone: lab down"
  net_attach "$name"
  cgroup_kill "$CG/$name"
  mkdir -p "$CG/$name/outer"
  # shellcheck disable=SC2016  # expanded by the inner shell
  ( exec 9>&-
    echo 0 >"$CG/$name/outer/cgroup.procs"
    cd /
    exec setsid unshare --mount --propagation private bash -ec '
      name=$1 machine=$2 dir=$3 lower=$4 netns=$5 home=$6 cgroup=$7
      if ! [[ $(stat -f -c %T /sys/fs/cgroup) == cgroup2fs ]]; then
        # v1 or hybrid host: show this one process tree a pure v2 hierarchy
        umount -R /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
      fi
      mount -t overlay "$machine" "$dir/root" \
        -o "lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work"
      # nspawn cleans up here only when it is a tmpfs.
      mkdir -p /run/systemd/nspawn
      mount -t tmpfs tmpfs /run/systemd/nspawn
      export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
      export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
      boot() {
        echo 0 >"$cgroup/machine/cgroup.procs"
        exec systemd-nspawn --quiet --boot --keep-unit --register=no \
          --directory="$dir/root" --machine="$machine" --hostname="$name" \
          --network-namespace-path="$netns" --private-users=no \
          --capability=all --system-call-filter="add_key keyctl bpf" \
          --bind="$dir/home:$home" \
          --bind="$dir/containers:/var/lib/containers" \
          --resolv-conf=off --timezone=off --link-journal=no \
          --console=read-only --setenv=SYSTEMD_COLORS=0
      }
      # 133 is how nspawn says that the machine wants to be rebooted; each
      # boot gets a fresh cgroup.
      status=133
      while ((status == 133)); do
        echo "--- boot at $(date --iso-8601=seconds)"
        mkdir "$cgroup/machine"
        status=0
        (boot) || status=$?
        for ((i = 0; i < 600; i++)); do
          find "$cgroup/machine" -depth -type d -exec rmdir {} + && break
          sleep 0.05
        done
      done
      echo "--- end: status $status"
    ' - "$name" "$LAB_NAME-$name" "$dir" "$site:$root" \
      "/run/netns/$(ns "$name")" "$MCP_HOME" \
      "/sys/fs/cgroup/$LAB_NAME/$name"
  ) </dev/null >>"$dir/console.log" 2>&1 &
  wait_for 60 is_populated "$name" || die "$name does not start"
}

# Ready: the system finished booting and, once there is a user mcp, its manager
# runs.  What the user's own units do meanwhile is not waited for.
node_ready() {
  local state
  is_populated "$1" || return 0 # it ended: node_wait tells
  is_running "$1" || return 1
  enter "$1" root sh -c '[ ! -e /var/lib/systemd/linger/mcp ] ||
    timeout 5 systemctl is-active --quiet "user@$1.service"' - "$MCP_UID" || return 1
  state=$(enter "$1" root timeout 5 systemctl is-system-running || true)
  [[ $state == running || $state == degraded ]]
}
node_wait() {
  wait_for "${2:-$LAB_TIMEOUT}" node_ready "$1" && is_running "$1" && return 0
  say "$1 is not ready (given up after ${LAB_TIMEOUT}s or ended)"
  say "the end of its console:"
  tail -n 20 "$NODES/$1/console.log" >&2
  ! is_running "$1" ||
    enter "$1" root timeout 5 systemctl --no-pager list-jobs >&2
  return 1
}

# Power loss: nothing in the node gets to run again.
node_kill() {
  local p
  # First PID 1, with which the kernel kills the node's whole pid namespace;
  # then whatever is left of the machine around it.
  if p=$(leader "$1"); then kill -KILL "$p"; fi
  cgroup_kill "$CG/$1"
}

# Everything of this lab that runs or is mounted, and the nodes' disks.
teardown() {
  local dir name
  cgroup_init
  for dir in "$CG"/*/; do
    [[ -d $dir ]] && cgroup_kill "${dir%/}"
  done
  cgroup_kill "$CG"
  ! mountpoint -q "$RUN/cgroup2" || umount "$RUN/cgroup2"
  ip link del "${LAB_NAME}0" 2>/dev/null || true
  for name in $(ip netns list | awk '{print $1}' | grep "^$LAB_NAME-" || true)
  do ip netns del "$name"; done
  rm -rf --one-file-system "$NODES" "$PACKAGES" "$PACKAGES.lock"
  rmdir "$LAB_DIR/nodes" "$LAB_DIR/packages" 2>/dev/null || true
  limits_restore
  rm -rf --one-file-system "$RUN"
  mkdir -p "$RUN"
}

# --- commands inside -----------------------------------------------------------
# enter NODE USER COMMAND...: runs a command inside a node; with
# ENTER_EXEC=exec in place of this script, so that killing it (say, by
# `timeout`) kills the command too.
ENTER_EXEC=
# The outer bash stays outside and waits; its child is born in the node's pid
# namespace, moves itself to a cgroup of the node (podman and systemd look at
# where a caller lives), and only then enters the other namespaces.
enter() {
  local node=$1 user=$2 pid cg own priv=() env; shift 2
  pid=$(leader "$node") || { say "$node is not running"; return 125; }
  cg=$CG/$node/machine/payload/init.scope
  env=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    LANG=C.UTF-8 TERM=dumb SHELL=/bin/bash USER="$user" LOGNAME="$user")
  case $user in
    root) env+=(HOME=/root) ;;
    mcp)
      own=${cg%/*}/user.slice/user-$MCP_UID.slice
      own+=/user@$MCP_UID.service/init.scope
      [[ ! -d $own ]] || cg=$own
      env+=(HOME="$MCP_HOME" XDG_RUNTIME_DIR="/run/user/$MCP_UID"
        DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$MCP_UID/bus") ;;
    *) env+=(HOME="/home/$user") ;;
  esac
  # Names are looked up inside: this setpriv is the node's.
  [[ $user == root ]] || priv=(--reuid="$user" --regid="$user" --init-groups)
  # shellcheck disable=SC2016  # expanded by the inner shells
  $ENTER_EXEC nsenter --target "$pid" --pid --no-fork -- bash -c '
    ( exec 9>&-
      echo 0 >"$1/cgroup.procs" || exit 125
      exec nsenter --target "$2" --mount --uts --ipc --net --cgroup -- "${@:3}" )
    exit $?' - "$cg" "$pid" \
    setpriv "${priv[@]}" --pdeathsig KILL -- env -i "${env[@]}" \
    sh -c 'cd && exec "$@"' - "$@"
}
