# shellcheck shell=bash
#
# One bridge in a network namespace of its own; every name is one port of it.
# That namespace is also the nodes' gateway, which answers "unreachable" for
# everything outside the lab at once, and their DNS server.

# The address of a name: node1.., old1.., registry, ws, host, gateway.
addr() {
  local host=
  case $1 in
    gateway) host=1 ;;
    ws) host=2 ;;
    registry) host=3 ;;
    host) host=254 ;;
  esac
  if [[ $1 =~ ^node([1-9][0-9]?)$ ]] && ((BASH_REMATCH[1] <= MAX_NODES)); then
    host=$((10 + BASH_REMATCH[1]))
  elif [[ $1 =~ ^old([1-9])$ ]] && ((BASH_REMATCH[1] <= MAX_OLD)); then
    host=$((100 + BASH_REMATCH[1]))
  fi
  [[ -n $host ]] || die "no such name: $1"
  echo "$LAB_NET.$host"
}

all_names() {
  echo gateway ws registry host
  seq -f 'node%.0f' "$MAX_NODES"
  seq -f 'old%.0f' "$MAX_OLD"
}

write_hosts() {
  local name
  echo '127.0.0.1 localhost'
  for name in $(all_names); do echo "$(addr "$name") $name.lab $name"; done
}

ns() { echo "$LAB_NAME-$1"; }
in_ns() { nsenter --net="/run/netns/$(ns "$1")" -- "${@:2}"; }
has_ns() { ip netns list | grep -qE "^$(ns "$1")( |\$)"; }

# A namespace counts only when the mark that it is complete is there: what an
# interrupted command left half-made is made again.
net_done() { [[ -e $RUN/net.$1 ]] && has_ns "$1"; }

net_up() {
  if net_done net; then return 0; fi
  rm -f "$RUN"/net.*
  ip link del "${LAB_NAME}0" 2>/dev/null || true
  ip netns del "$(ns net)" 2>/dev/null || true
  ip netns add "$(ns net)"
  in_ns net sh -ec "
    ip link set lo up
    ip link add br0 type bridge forward_delay 0
    ip addr add $(addr gateway)/24 dev br0
    ip link set br0 up
    ip route add unreachable default
    echo 1 >/proc/sys/net/ipv4/ip_forward
  "
  ip link add "${LAB_NAME}0" type veth peer name host netns "$(ns net)"
  ip addr add "$(addr host)/24" dev "${LAB_NAME}0"
  ip link set "${LAB_NAME}0" up
  in_ns net ip link set host master br0 up
  net_rules
  touch "$RUN/net.net"
}

# Makes the namespace and the one interface, eth0, of a name.
net_attach() {
  if net_done "$1"; then return 0; fi
  ip netns del "$(ns "$1")" 2>/dev/null || true
  in_ns net ip link del "$1" 2>/dev/null || true
  ip netns add "$(ns "$1")"
  ip link add eth0 netns "$(ns "$1")" type veth peer name "$1" netns "$(ns net)"
  in_ns net ip link set "$1" master br0 up
  in_ns "$1" sh -ec "
    ip link set lo up
    ip addr add $(addr "$1")/24 dev eth0
    ip link set eth0 up
    ip route add default via $(addr gateway)
  "
  touch "$RUN/net.$1"
}

# Answers for every name, and below it (anything.node1.lab is node1).
dns_up() {
  local root=$1 name args=()
  is_populated net && return 0
  mkdir -p "$CG/net"
  for name in $(all_names); do
    args+=(--address="/$name/$name.lab/$(addr "$name")")
  done
  ( exec 9>&-
    echo 0 >"$CG/net/cgroup.procs"
    exec setsid nsenter --net="/run/netns/$(ns net)" chroot "$root" dnsmasq \
      --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
      --local=/#/ --bind-interfaces --listen-address="$(addr gateway)" \
      --user=nobody --group=nogroup --pid-file= --log-facility=- "${args[@]}"
  ) </dev/null >"$RUN/dns.log" 2>&1 &
  wait_for 5 in_ns net sh -c "ss -Hlnu src $(addr gateway):53 | grep -q ." ||
    die "dnsmasq does not start: $(cat "$RUN/dns.log")"
}

# Renders $RUN/partitions, lines "FROM TO" with * for all, as rules on the
# bridge: a frame is lost in silence, established connections included.
net_rules() {
  local from to
  {
    echo 'table bridge lab'
    echo 'delete table bridge lab'
    echo 'table bridge lab {'
    echo '  chain forward { type filter hook forward priority 0; }'
    echo '  chain input { type filter hook input priority 0; }'
    echo '  chain output { type filter hook output priority 0; }'
    echo '}'
    while read -r from to; do
      case "$from $to" in
        "* "*) echo "add rule bridge lab forward oifname \"$to\" drop"
          echo "add rule bridge lab output oifname \"$to\" drop" ;;
        *" *") echo "add rule bridge lab forward iifname \"$from\" drop"
          echo "add rule bridge lab input iifname \"$from\" drop" ;;
        *) echo "add rule bridge lab forward" \
          "iifname \"$from\" oifname \"$to\" drop" ;;
      esac
    done < <(cat "$RUN/partitions" 2>/dev/null)
  } | in_ns net nft -f -
}

# Runs a command on the workstation: this host's files, environment and
# working directory, with the lab's network, names and ssh set-up.
on_ws() {
  local d=$RUN/ws f name
  mkdir -p "$d"
  [[ -e $d/hosts ]] || write_hosts >"$d/hosts"
  [[ -e $d/resolv.conf ]] || echo "nameserver $(addr gateway)" >"$d/resolv.conf"
  {
    echo "Host node* old* registry registry.lab"
    echo "  IdentityFile $KEYS/id_ed25519"
    echo "  IdentitiesOnly yes"
    echo "  UserKnownHostsFile $d/known_hosts"
    echo "  StrictHostKeyChecking yes"
    echo "Host *"
    cat /etc/ssh/ssh_config 2>/dev/null || true
  } >"$d/ssh_config.$$"
  for name in $(existing_nodes); do
    echo "$name,$name.lab,$(addr "$name") $(cut -d' ' -f1,2 \
      "$NODES/$name/upper/etc/ssh/ssh_host_ed25519_key.pub")"
  done >"$d/known_hosts.$$"
  # Renamed, as others may be reading them just now.
  mv "$d/ssh_config.$$" "$d/ssh_config"
  mv "$d/known_hosts.$$" "$d/known_hosts"
  # shellcheck disable=SC2016  # expanded by the inner shell
  nsenter --net="/run/netns/$(ns ws)" -- \
    unshare --mount --propagation private bash -c '
    exec 9>&-
    for f in hosts:/etc/hosts resolv.conf:/etc/resolv.conf \
      ssh_config:/etc/ssh/ssh_config; do
      [[ ! -e ${f#*:} ]] || mount --bind "$1/${f%%:*}" "${f#*:}" || exit 125
    done
    cd "$2" 2>/dev/null || cd /
    exec "${@:3}"' - "$d" "$PWD" "$@"
}
