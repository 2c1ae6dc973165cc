"""Measures one node, from inside it and as user mcp: see ../bench.

usage: bench.py PHASE...   each phase adds to ~/bench/results.json
       bench.py table      prints what is there

A contest times the same thing done by several contestants. They take turns,
in another order each round, so that whatever else the machine does falls on
all alike. Only the timed commands count: neither what puts things back
afterwards nor the way into the node.
"""

import datetime
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HOME = Path.home()
WORK = HOME / "bench"
RESULTS = WORK / "results.json"
QUADLET = HOME / ".config/containers/systemd"
IMAGE = "localhost/lab/web:v1"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "10"))
# By default one sweep of the agent falls into it, wherever it begins.
IDLE_SECONDS = int(os.environ.get("BENCH_IDLE", "60"))
SERVICES = 50  # deployed for `mcp ps` and the agent's memory
UNITS = 200  # rendered
COMPONENTS = 100  # a definition has at most this many
SETTLE = 0.2  # seconds between two timed commands

GENERATOR = "/usr/libexec/podman/quadlet"


def run(*command, env=None):
    """Runs a command to its end; a failure ends the benchmark."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=None if env is None else {**os.environ, **env},
    )
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def systemctl(*words):
    run("systemctl", "--user", *words)


class Contest:
    """One thing to do, and the times of those who did it."""

    def __init__(self, name, rounds=ROUNDS):
        self.name = name
        self.rounds = rounds
        self.contestants = []

    def add(self, who, timed, after=lambda: None):
        """`timed` is given the number of the round."""
        self.contestants.append((who, timed, after))

    def hold(self):
        times = {who: [] for who, _, _ in self.contestants}
        # Shuffled, for a command is slower or faster for what ran before it;
        # the same way each time.
        order = random.Random(self.name)
        # Round 0 is for warming up, and not counted.
        for number in range(self.rounds + 1):
            for who, timed, after in order.sample(self.contestants, len(self.contestants)):
                time.sleep(SETTLE)
                start = time.perf_counter()
                timed(number)
                elapsed = (time.perf_counter() - start) * 1000
                after()
                if number > 0:
                    times[who].append(elapsed)
        record(self.name, times)


def record(name, value):
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = value
    RESULTS.write_text(json.dumps(results))
    print(f"  {name}", file=sys.stderr)


# --- the contestants -----------------------------------------------------------
HEALTH = """[components.health]
cmd = ["/bin/health"]
interval = "2s"
"""


def definition(service, components=1, environment="", health=""):
    parts = [f'name = "{service}"\n']
    for number in range(components):
        component = service if components == 1 else f"c{number}"
        parts.append(
            f'[[components]]\nname = "{component}"\nimage = "{IMAGE}"\n'
            f'env = {{ N = "{environment}" }}\n{health}'
        )
    return "".join(parts)


class Mcp:
    """`mcp deploy` of a definition."""

    def __init__(self, service, health=""):
        self.service, self.health = service, health
        self.file = WORK / f"{service}.toml"

    def deploy(self, environment):
        self.file.write_text(definition(self.service, 1, environment, self.health))
        run("mcp", "deploy", self.service, "-f", self.file)

    def remove(self):
        run("mcp", "undeploy", self.service)


class ByHand:
    """The very file that mcp renders, put in place with systemctl."""

    def __init__(self, service, health=""):
        self.service = service
        self.file = QUADLET / f"{service}.container"
        source = WORK / f"{service}.toml"
        source.write_text(definition(service, 1, "@N@", health))
        run("mcp", "render", source, "--out", WORK / "rendered")
        rendered = WORK / f"rendered/containers/systemd/mcp/{service}/{service}.container"
        self.text = rendered.read_text()

    def write(self, environment):
        QUADLET.mkdir(parents=True, exist_ok=True)
        self.file.write_text(self.text.replace("@N@", str(environment)))
        systemctl("daemon-reload")

    def start(self, environment):
        self.write(environment)
        systemctl("start", f"{self.service}.service")

    def restart(self, environment):
        self.write(environment)
        systemctl("restart", f"{self.service}.service")

    def remove(self):
        systemctl("stop", f"{self.service}.service")
        self.file.unlink()
        systemctl("daemon-reload")


class Compose:
    """podman-compose; by default it makes a network for each project."""

    def __init__(self, service, network=""):
        self.network = f"    network_mode: {network}\n" if network else ""
        self.directory = WORK / service
        self.directory.mkdir(exist_ok=True)

    def up(self, environment):
        file = self.directory / "compose.yaml"
        file.write_text(
            f"services:\n  web:\n    image: {IMAGE}\n{self.network}"
            f'    environment:\n      N: "{environment}"\n'
        )
        run("podman-compose", "-f", file, "up", "-d")

    def remove(self):
        run("podman-compose", "-f", self.directory / "compose.yaml", "down")


class Ansible:
    """A play that makes a Quadlet file and starts or restarts its unit."""

    PLAY = """- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - containers.podman.podman_container:
        name: SERVICE
        image: IMAGE
        state: quadlet
        env: {N: "{{ n }}"}
      register: quadlet
    - ansible.builtin.systemd_service:
        scope: user
        name: SERVICE.service
        daemon_reload: "{{ quadlet.changed }}"
        state: "{{ quadlet.changed | ternary('restarted', 'started') }}"
"""
    # What a person who cares for speed sets.
    ENVIRONMENT = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"}

    def __init__(self, service):
        self.service = service
        self.play = WORK / f"{service}.yml"
        self.play.write_text(self.PLAY.replace("SERVICE", service).replace("IMAGE", IMAGE))

    def apply(self, environment):
        run(
            "ansible-playbook", "-i", "localhost,", "-e", f"n={environment}", self.play,
            env=self.ENVIRONMENT,
        )

    def forget_starts(self):
        """Its unit may be started five times in ten seconds, not more."""
        systemctl("reset-failed", f"{self.service}.service")

    def remove(self):
        systemctl("stop", f"{self.service}.service")
        (QUADLET / f"{self.service}.container").unlink()
        systemctl("daemon-reload")


# --- phases --------------------------------------------------------------------
def deploys():
    """Deploys of one service of one component; its image is there."""
    mcp, hand, ansible = Mcp("bm"), ByHand("hand"), Ansible("play")
    # What it does unless told otherwise, and with the network that podman,
    # and so the others, give a container.
    compose, pasta = Compose("compose"), Compose("composepasta", "pasta")

    contest = Contest("new")
    contest.add("mcp", mcp.deploy, mcp.remove)
    contest.add("by hand", hand.start, hand.remove)
    contest.add("podman-compose", compose.up, compose.remove)
    contest.add("podman-compose, pasta", pasta.up, pasta.remove)
    contest.add("Ansible", ansible.apply, ansible.remove)
    contest.hold()

    contest = Contest("changed")
    contest.add("mcp", mcp.deploy)
    contest.add("by hand", hand.restart)
    contest.add("podman-compose", compose.up)
    contest.add("podman-compose, pasta", pasta.up)
    contest.add("Ansible", ansible.apply, ansible.forget_starts)
    contest.hold()

    contest = Contest("nothing", rounds=ROUNDS * 2)
    contest.add("mcp", lambda _: mcp.deploy(ROUNDS))
    contest.add("podman-compose", lambda _: compose.up(ROUNDS))
    contest.add("podman-compose, pasta", lambda _: pasta.up(ROUNDS))
    contest.add("Ansible", lambda _: ansible.apply(ROUNDS))
    contest.hold()
    for contestant in (mcp, hand, compose, pasta, ansible):
        contestant.remove()

    gated, hand = Mcp("gated", HEALTH), ByHand("gatedhand", HEALTH)
    contest = Contest("new, with a health check")
    contest.add("mcp", gated.deploy, gated.remove)
    contest.add("by hand", hand.start, hand.remove)
    contest.hold()

    contest = Contest("changed, with a health check")
    contest.add("mcp", gated.deploy)
    contest.add("by hand", hand.restart)
    contest.hold()
    gated.remove()
    hand.remove()


def fifty():
    """What runs: 50 services, each deployed by itself."""
    for number in range(SERVICES):
        Mcp(f"s{number}").deploy(number)
    contest = Contest("ps", rounds=ROUNDS * 2)
    contest.add("mcp", lambda _: run("mcp", "ps"))
    contest.add("podman", lambda _: run("podman", "ps"))
    contest.hold()


def hundred():
    """As many services again, for the agent to watch."""
    for number in range(SERVICES, 2 * SERVICES):
        Mcp(f"s{number}").deploy(number)


def death():
    """From the death of a container's process to the event that tells it.

    Each service dies once: what comes and goes is told less often.
    """
    times = []
    for number in range(ROUNDS):
        service = f"s{number}"
        shown = subprocess.run(
            ["podman", "inspect", "--format", "{{.State.Pid}}", service],
            check=True, capture_output=True, text=True,
        )
        time.sleep(SETTLE)
        killed = time.time()
        os.kill(int(shown.stdout), signal.SIGKILL)
        deadline = time.monotonic() + 90
        while not (told := failures(service)):
            if time.monotonic() > deadline:
                sys.exit(f"the death of {service} was not told")
            time.sleep(SETTLE)
        at = datetime.datetime.fromisoformat(told[0]["at"])
        times.append((at.timestamp() - killed) * 1000)
    record("death", {"mcp": times})


def failures(service):
    """The events that tell of a failure of a service."""
    shown = subprocess.run(
        ["mcp", "--json", "events", service, "--kind", "failed"],
        check=True, capture_output=True, text=True,
    )
    return [json.loads(line) for line in shown.stdout.splitlines()]


def render():
    """200 units: ours from definitions, podman's from our files."""
    out = WORK / "units"
    files = []
    for number in range(UNITS // COMPONENTS):
        file = WORK / f"big{number}.toml"
        file.write_text(definition(f"big{number}", COMPONENTS, number))
        run("mcp", "render", file, "--out", out)
        files.append(file)
    containers = out / "containers/systemd"
    assert len(list(containers.rglob("*.container"))) == UNITS

    def ours(_):
        for file in files:
            run("mcp", "render", file)

    contest = Contest("render", rounds=ROUNDS * 2)
    contest.add("mcp", ours)
    contest.add(
        "podman's generator",
        lambda _: run(GENERATOR, "-dryrun", "-user", env={"QUADLET_UNIT_DIRS": str(containers)}),
    )
    contest.hold()


def agent(what):
    """Returns a property of the agent's unit."""
    shown = subprocess.run(
        ["systemctl", "show", f"--property={what}", "--value", "mcp-agent.service"],
        check=True, capture_output=True, text=True,
    )
    return shown.stdout.strip()


def fields(path):
    lines = (line.split(":", 1) for line in path.read_text().splitlines())
    return {key: value.split() for key, value in lines}


def sleeps(process, seen):
    """Notes, by thread, how often it went to sleep: as often it was woken.

    That others took the processor away says nothing of the agent.
    """
    for task in process.glob("task/*"):
        try:
            seen[task.name] = int(fields(task / "status")["voluntary_ctxt_switches"][0])
        except FileNotFoundError:  # it has just ended, and was seen before
            pass


def cpu_us():
    """The processor time of the agent and of all that it ran (cgroups(7))."""
    group = Path("/sys/fs/cgroup") / agent("ControlGroup").lstrip("/")
    times = (line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(dict(times)["usage_usec"])


def idle(when):
    """The agent with nothing to do."""
    process = Path("/proc") / agent("MainPID")
    time.sleep(15)  # threads that were lent for something end after 10 s
    before, after = {}, {}
    sleeps(process, before)
    spent = cpu_us()
    end = time.monotonic() + IDLE_SECONDS
    while time.monotonic() < end:
        time.sleep(1)
        sleeps(process, after)
    spent = cpu_us() - spent
    wakes = sum(count - before.get(thread, 0) for thread, count in after.items())
    status = fields(process / "status")
    record(
        f"idle, {when}",
        {
            "rss_mb": int(status["VmRSS"][0]) * 1024 / 1e6,
            "anonymous_mb": int(status["RssAnon"][0]) * 1024 / 1e6,
            "threads": int(status["Threads"][0]),
            "wakes": wakes,
            "cpu_ms": spent / 1e3,
            "seconds": IDLE_SECONDS,
        },
    )


# --- boots -----------------------------------------------------------------------
CHAIN = 20  # components that wait for each other to be ready
LINKS = HOME / ".config/systemd/user"


def chain(service):
    """Components of which each waits for the one before to be ready."""
    parts = [f'name = "{service}"\n']
    for number in range(CHAIN):
        waits = f'depends_on = ["c{number - 1}"]\n' if number else ""
        parts.append(
            f'[[components]]\nname = "c{number}"\nimage = "{IMAGE}"\n{waits}{HEALTH}'
        )
    return "".join(parts)


def without_targets(line):
    """A line by hand: no target of MCP is named; none, if nothing is left."""
    key, _, value = line.partition("=")
    if key == "WantedBy":
        return "WantedBy=default.target"
    words = value.split()
    kept = [word for word in words if not word.endswith(".target")]
    if kept == words:
        return line
    return f"{key}={' '.join(kept)}" if kept else None


class BootSet:
    """Units that a boot brings up: mcp's own, and the same ones by hand.

    By hand means: the files that mcp renders under other names, wanted by
    default.target, and without the targets that MCP puts around them. They
    keep what else they are ordered after: each other, and the unit that makes
    podman's pause process, for without it some hang until their limit (ADR
    0010), which says nothing of speed.
    """

    def __init__(self, name, definitions):
        self.name, self.definitions = name, definitions

    def prepare(self):
        for service, text in self.definitions.items():
            file = WORK / f"{service}.toml"
            file.write_text(text)
            run("mcp", "deploy", service, "-f", file)
            by_hand = WORK / f"hand-{service}.toml"
            by_hand.write_text(text.replace(f'name = "{service}"', f'name = "hand{service}"'))
            run("mcp", "render", by_hand, "--out", WORK / "hand")

    def services(self):
        return list(self.definitions)

    def files(self):
        """The files by hand, as name and text."""
        for service in self.services():
            rendered = WORK / f"hand/containers/systemd/mcp/hand{service}"
            for file in sorted(rendered.glob("*.container")):
                lines = (without_targets(line) for line in file.read_text().splitlines())
                yield file.name, "".join(f"{line}\n" for line in lines if line is not None)

    def units(self, who):
        if who == "by hand":
            return [name.replace(".container", ".service") for name, _ in self.files()]
        rendered = HOME / ".config/containers/systemd/mcp"
        return [
            file.name.replace(".container", ".service")
            for service in self.services()
            for file in (rendered / service).glob("*.container")
        ]


def boot_sets():
    independent = {f"i{number}": definition(f"i{number}", 1, "", HEALTH) for number in range(SERVICES)}
    return {
        "chain": BootSet("chain", {"chain": chain("chain")}),
        "independent": BootSet("independent", independent),
    }


def boot_prepare():
    for group in boot_sets().values():
        group.prepare()


def boot_choose(argument):
    """Has the next boot bring up one set of one contestant, and nothing else."""
    chosen, who = argument.split(",")
    for name, group in boot_sets().items():
        for service in group.services():
            link = LINKS / f"mcp.target.wants/{service}.target"
            link.unlink(missing_ok=True)
            if (name, "mcp") == (chosen, who):
                link.symlink_to(f"../{service}.target")
        for file, text in group.files():
            (QUADLET / file).unlink(missing_ok=True)
            if (name, "by hand") == (chosen, who):
                (QUADLET / file).write_text(text)


def boot_measure(argument):
    """From the user manager's start until the last unit of the set is ready."""
    chosen, who = argument.split(",")
    units = boot_sets()[chosen].units(who)

    def show(*words):
        done = subprocess.run(
            ["systemctl", "--user", "show", *words], check=True, capture_output=True, text=True
        )
        return [line.partition("=")[2] for line in done.stdout.split() if line]

    deadline = time.monotonic() + 300
    while set(states := show("--property=ActiveState", *units)) != {"active"}:
        if time.monotonic() > deadline:
            sys.exit(f"not up in time: {dict(zip(units, states, strict=True))}")
        time.sleep(1)
    (began,) = show("--property=UserspaceTimestampMonotonic")
    ready = show("--property=ActiveEnterTimestampMonotonic", *units)
    name = f"boot, {chosen}"
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    times = results.get(name, {})
    times.setdefault(who, []).append((max(map(int, ready)) - int(began)) / 1000)
    record(name, times)


# --- the table -----------------------------------------------------------------
class Table:
    def __init__(self, *heading):
        self.rows = [heading]

    def add(self, *row):
        self.rows.append(row)

    def __str__(self):
        widths = [max(len(row[column]) for row in self.rows) for column in range(len(self.rows[0]))]
        lines = []
        for row in self.rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(lines)


def shown(times):
    digits = 1 if statistics.median(times) < 100 else 0
    low, middle, high = (f"{t:.{digits}f}" for t in (min(times), statistics.median(times), max(times)))
    return f"{middle} ms ({low}..{high})"


def verdict(good):
    return "ok" if good else "MISS"


def table():
    results = json.loads(RESULTS.read_text())
    out = Table("what", "n", "mcp", "against", "took", "ratio", "goal", "")

    def versus(what, name, other, at_most=None, faster=None):
        # A run that was cut short has some contestants and not others.
        if not {"mcp", other} <= results.get(name, {}).keys():
            return
        ours, theirs = results[name]["mcp"], results[name][other]
        ratio = statistics.median(ours) / statistics.median(theirs)
        if at_most is not None:
            said, goal, good = f"{ratio:.2f} x", f"<= {at_most} x", verdict(ratio <= at_most)
        elif faster is not None:
            said = f"{1 / ratio:.1f} x faster"
            goal, good = f">= {faster} x faster", verdict(1 / ratio >= faster)
        else:
            said, goal, good = f"{ratio:.2f} x", "", ""
        out.add(what, str(len(ours)), shown(ours), other, shown(theirs), said, goal, good)

    for what, name in [
        ("deploy: restart, environment changed", "changed"),
        ("deploy: start of a new service", "new"),
    ]:
        versus(what, name, "by hand", at_most=1.25)
        versus(what, name, "podman-compose", faster=3)
        versus(what, name, "podman-compose, pasta", faster=3)
        versus(what, name, "Ansible", faster=3)
        versus(f"{what}, health-gated", f"{name}, with a health check", "by hand", at_most=1.25)
    what = "deploy: nothing to do"
    if "nothing" in results:
        ours = results["nothing"]["mcp"]
        good = verdict(statistics.median(ours) < 20)
        out.add(what, str(len(ours)), shown(ours), "", "", "", "< 20 ms", good)
    versus(what, "nothing", "podman-compose", faster=50)
    versus(what, "nothing", "podman-compose, pasta", faster=50)
    versus(what, "nothing", "Ansible", faster=50)
    versus(f"ps, {SERVICES} containers", "ps", "podman", faster=3)
    if "death" in results:
        took = results["death"]["mcp"]
        good = verdict(statistics.median(took) < 100)
        out.add("container's death to event", str(len(took)), shown(took), "", "", "", "< 100 ms", good)
    versus(f"render {UNITS} units", "render", "podman's generator")
    for name, what in [
        ("boot, chain", f"boot, {CHAIN} units in a ready chain"),
        ("boot, independent", f"boot, {SERVICES} independent services"),
    ]:
        versus(what, name, "by hand", at_most=1.05)
    for name, value in results.items():
        if not name.startswith("idle, "):
            continue
        what = f"agent, {name}"
        memory = f"{value['rss_mb']:.1f} MB resident"
        detail = f"{value['anonymous_mb']:.1f} MB of it its own, {value['threads']} threads"
        out.add(what, "1", memory, detail, "", "", "<= 15 MB", verdict(value["rss_mb"] <= 15))
        wakes = f"{value['wakes']} wake-ups in {value['seconds']} s"
        share = value["cpu_ms"] / value["seconds"] / 10
        # Below a tick of 10 ms it is nothing to whoever looks with ps or top.
        good = verdict(value["wakes"] == 0 and value["cpu_ms"] < 10)
        cpu = f"{value['cpu_ms']:.1f} ms of CPU"
        out.add(what, "1", wakes, cpu, "", f"{share:.3f} %", "none", good)
    print(out)


def main():
    WORK.mkdir(exist_ok=True)
    for phase in sys.argv[1:]:
        name, _, argument = phase.partition("=")
        phases = {
            "deploys": deploys,
            "fifty": fifty,
            "hundred": hundred,
            "death": death,
            "render": render,
            "boot-prepare": boot_prepare,
            "table": table,
        }
        of_something = {"idle": idle, "boot-choose": boot_choose, "boot-measure": boot_measure}
        if name in of_something:
            of_something[name](argument)
        else:
            phases[name]()


main()
