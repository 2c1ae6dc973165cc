# Part of preinst and postinst: subordinate ids (subuid(5), subgid(5)).

# Prints what is to be done about the ids of user mcp in /etc/subuid or
# /etc/subgid, $1: "ok", "missing", or "overlap" with the lines that overlap.
subids_state() {
  [ -e "/etc/$1" ] || { echo missing; return; }
  awk -F: -v user=mcp -v uid=850 '
    NF == 3 && $2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ && $3 > 0 {
      n++; line[n] = $0; first[n] = $2 + 0; end[n] = $2 + $3
      ours[n] = ($1 == user || $1 == uid)
      if (ours[n]) count += $3
    }
    END {
      for (i = 1; i <= n; i++) for (j = 1; j <= n; j++)
        if (ours[i] && !ours[j] && first[i] < end[j] && first[j] < end[i]) {
          print "overlap " line[i] " " line[j]; exit
        }
      print (count >= 65536 ? "ok" : "missing")
    }' "/etc/$1"
}

# Prints the first of 65536 numbers that nobody has, neither as a subordinate
# id nor as an id of its own; nothing if there are none left within the limits
# of login.defs(5).
subids_free() {
  {
    for key in SUB_UID_MIN SUB_UID_MAX SUB_GID_MIN SUB_GID_MAX; do
      awk -v key="$key" '$1 == key && $2 ~ /^[0-9]+$/ { print key, $2 }' /etc/login.defs
    done
    for file in /etc/subuid /etc/subgid; do
      [ ! -e "$file" ] || awk -F: '$2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ { print "used", $2, $3 }' "$file"
    done
    getent passwd | awk -F: '{ print "used", $3, 1 }'
    getent group | awk -F: '{ print "used", $3, 1 }'
  } | awk '
    BEGIN { min = 100000; max = 600100000; need = 65536 }
    /_MIN / { if ($2 > min || !low) min = $2; low = 1 }
    /_MAX / { if ($2 < max || !high) max = $2; high = 1 }
    $1 == "used" { n++; first[n] = $2 + 0; end[n] = $2 + $3 }
    END {
      for (free = min; free + need - 1 <= max; free = next_free) {
        next_free = 0
        for (i = 1; i <= n; i++)
          if (first[i] < free + need && free < end[i] && end[i] > next_free) next_free = end[i]
        if (!next_free) { printf "%.0f\n", free; exit }
      }
    }'
}
