#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What tracing costs: `make bench`.

Short MPTCP connections over loopback, as many a second as one thread can make, untraced and
under each of the contenders in turn. Every round runs all of them, in an order that moves on
with each round; ratios are to the untraced runs of the same round, so a machine that gets
slower or faster meanwhile takes both along. Written is to tmpfs, by everybody.

Timing never makes this fail. A contender that can't be run does, and so does a count that is
not exact: mpscope must tell each handshake of the load, on both ends, and lose nothing.
"""
import argparse
import ctypes
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".build/release/mpscope"
OBJECT = ROOT / "Sources/CEvent/generated/mpscope.bpf.o"
FLOOR_SOURCE = Path(__file__).resolve().parent / "floor.c"
FLOOR = ROOT / "build/bench/floor"
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")

# The same socket states that mpscope looks at, and the same ends and owner.
BPFTRACE = """
tracepoint:sock:inet_sock_set_state /args->protocol == 6 || args->protocol == 262/ {
  print((args->protocol, args->oldstate, args->newstate, args->sport, args->dport,
    ntop(args->saddr), ntop(args->daddr), pid, comm));
}"""


class Problem(Exception):
    """Something could not be run, or a count is wrong."""


# Whatever still runs when the benchmark ends, however it ends.
running = []


def start(command, **options):
    """A process in a session of its own: a Ctrl-C comes to us alone, and we end it."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    running.append(process)
    return process


def finish(process, number=signal.SIGINT, patience=20):
    """Ends it in its own way, and says what it used in all. None: it had to be killed."""
    if number:
        process.send_signal(number)
    timer = threading.Timer(patience, process.kill)
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    running.remove(process)
    if process.returncode == -signal.SIGKILL:
        raise Problem(f"{process.args[0]} did not end")
    return usage


def cpu_seconds(pid):
    """Of all its threads, from the clock that the kernel keeps for each process."""
    return time.clock_gettime(~pid << 3 | 2)


def memory(pid):
    """The most that it held at once, and what of it now is its alone, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^(VmHWM|RssAnon):\s+(\d+) kB", text, re.M))
    return int(found["VmHWM"]) / 1024, int(found["RssAnon"]) / 1024


def wait_for(what, process, condition, patience=20):
    end = time.monotonic() + patience
    while not condition():
        if process.poll() is not None:
            raise Problem(f"{process.args[0]} ended with status {process.returncode} before {what}")
        if time.monotonic() > end:
            raise Problem(f"{process.args[0]}: {what} did not come")
        time.sleep(0.0005)


def wait_until_quiet(patience=2.0):
    """The namespace of the last run is taken down by the kernel after it: let it."""
    def busy():
        fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4], sum(fields)
    end = time.monotonic() + patience
    before = busy()
    while time.monotonic() < end:
        time.sleep(0.1)
        now = busy()
        if now[0] - before[0] <= 0.1 * (now[1] - before[1]):
            return
        before = now


def fdinfo(pid):
    """What the kernel says of each descriptor of a process."""
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            yield dict(re.findall(r"^(\w+):\s*(.*)$", entry.read_text(), re.M))
        except OSError:
            continue  # closed meanwhile


# ---------------------------------------------------------------- the load

class Load:
    """The connections. Others may use MPTCP meanwhile: they are known by the listener's port."""

    def __init__(self, count):
        self.count = count
        self.port = 0

    def run(self):
        """Connections a second."""
        self.port = random.randrange(10_000, 30_000)
        process = start([PROGRAM, "__actor", "churn", "--count", str(self.count), "--new-netns", "1",
                         "--port", str(self.port)],
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        said = process.stdout.read()
        process.stdout.close()
        finish(process, number=None, patience=120)
        found = dict(re.findall(r"(\w+)=(\d+)", said))
        if int(found.get("connections", 0)) != self.count:
            raise Problem(f"the load failed: {said.strip() or process.returncode}")
        return int(found["per_second"])


# ---------------------------------------------------------------- who traces it

class Contender:
    """Starts a tracer, and counts what it told of the load."""
    name = ""
    # How long after its sign of life it may still be attaching, in seconds.
    settle = 0.2

    def __init__(self, place):
        self.output = place / "output"
        self.errors = place / "errors"
        self.ready = place / "ready"

    def command(self):
        raise NotImplementedError

    def is_ready(self, process):
        return self.ready.exists()

    def start(self):
        for path in (self.output, self.errors, self.ready):
            path.unlink(missing_ok=True)
        with self.output.open("wb") as out, self.errors.open("wb") as errors:
            return start(self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=errors)

    def attach(self):
        process = self.start()
        wait_for("its being attached", process, lambda: self.is_ready(process))
        time.sleep(self.settle)
        return process

    def count(self, load):
        """(what it told, what it says that it lost)"""
        text = self.output.read_bytes()
        lost = sum(int(n) for n in re.findall(rb"Lost (\d+)", text + self.errors.read_bytes()))
        return text.count(b"\n"), lost


class Mpscope(Contender):
    def __init__(self, place, steps):
        super().__init__(place)
        self.steps = steps
        self.name = "mpscope, every step" if steps else "mpscope, handshakes"

    def command(self):
        return [PROGRAM, "trace", "--format", "json", "-o", self.output, "--ready-file", self.ready,
                *(["--steps"] if self.steps else [])]

    def count(self, load):
        sides = {b"client": 0, b"server": 0}
        lines, mark, summary = 0, b'"port":%d}' % load.port, None
        with self.output.open("rb") as file:
            for line in file:
                lines += 1
                if b'"type":"handshake"' in line:
                    if mark in line and b'"outcome":"mptcp"' in line:
                        found = re.search(rb'"side":"(client|server)"', line)
                        sides[found[1]] += 1
                elif b'"type":"summary"' in line:
                    summary = line
        lost = re.search(rb'"lost_total":(\d+)', summary or b"")
        if not lost:
            raise Problem(f"{self.name}: no summary; {self.errors.read_text().strip()}")
        if int(lost[1]) or set(sides.values()) != {load.count}:
            raise Problem(f"{self.name}: of {load.count} connections it told {sides[b'client']} client and "
                          f"{sides[b'server']} server handshakes, and lost {int(lost[1])} events")
        return lines, int(lost[1])


class Floor(Contender):
    def __init__(self, place, steps, json):
        super().__init__(place)
        self.steps = steps
        self.json = json
        self.lines = place / "lines"
        self.name = "C floor, " + ("every step" if steps else "handshakes") + (", JSON" if json else "")

    def command(self):
        return [FLOOR, "--object", OBJECT, "--ready-file", self.ready,
                *(["--steps"] if self.steps else []), *(["--json", self.lines] if self.json else [])]

    def count(self, load):
        found = re.match(r"events=(\d+) lost=(\d+)", self.output.read_text())
        if not found:
            raise Problem(f"{self.name}: {self.errors.read_text().strip()}")
        return int(found[1]), int(found[2])


class Bpftrace(Contender):
    name = "bpftrace, states, JSON"
    settle = 0.5  # it says so before it attaches

    def command(self):
        return ["bpftrace", "-f", "json", "-e", BPFTRACE]

    def is_ready(self, process):
        return b"attached_probes" in self.output.read_bytes()


class Tcpstates(Contender):
    name = "tcpstates"

    def command(self):
        return [shutil.which("tcpstates", path=os.environ.get("PATH", "") + ":/usr/sbin"), "-T"]

    def is_ready(self, process):
        return any("link_type" in info for info in fdinfo(process.pid))


# ---------------------------------------------------------------- the rounds

class Series:
    """What one contender did, round by round."""

    def __init__(self):
        self.rates, self.ratios, self.cpu, self.peak, self.own, self.told, self.lost = ([] for _ in range(7))


def run_rounds(contenders, load, rounds):
    untraced = Series()
    series = {contender.name: Series() for contender in contenders}
    # Untraced twice: at the beginning and in the middle of what is turned round by round.
    half = (len(contenders) + 1) // 2
    order = [None, *contenders[:half], None, *contenders[half:]]
    for number in range(rounds):
        turn = number * 3 % len(order)
        rates, plain = {}, []
        for contender in order[turn:] + order[:turn]:
            progress(f"round {number + 1}/{rounds}: {contender.name if contender else 'untraced'}")
            wait_until_quiet()
            if contender is None:
                plain.append(load.run())
                continue
            process = contender.attach()
            before = cpu_seconds(process.pid)
            rate = load.run()
            peak, own = memory(process.pid)
            usage = finish(process)
            told, lost = contender.count(load)
            if told < load.count:
                raise Problem(f"{contender.name} told {told} events of {load.count} connections")
            result = series[contender.name]
            rates[contender.name] = rate
            result.cpu.append(usage.ru_utime + usage.ru_stime - before)
            result.peak.append(peak)
            result.own.append(own)
            result.told.append(told / load.count)
            result.lost.append(lost)
        untraced.rates += plain
        untraced.ratios += [rate / statistics.mean(plain) for rate in plain]
        for name, rate in rates.items():
            series[name].rates.append(rate)
            series[name].ratios.append(rate / statistics.mean(plain))
    progress("")
    return {"untraced": untraced, **series}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def spread(values, digits):
    return (f"{statistics.median(values):.{digits}f} "
            f"[{min(values):.{digits}f}..{max(values):.{digits}f}]")


def print_table(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())


def print_rounds(series, load, rounds):
    print(f"\n{load.count} connections a run, {rounds} rounds: median [min..max]; "
          "told and lost are medians\n")
    rows = []
    for name, result in series.items():
        row = [name, spread(result.rates, 0), spread(result.ratios, 3)]
        if result.cpu:
            row += [spread([cpu * 20_000 / load.count for cpu in result.cpu], 2),
                    f"{statistics.median(result.peak):.1f} / {statistics.median(result.own):.1f}",
                    f"{statistics.median(result.told):.1f}", f"{statistics.median(result.lost):.0f}"]
        else:
            row += ["", "", "", ""]
        rows.append(row)
    print_table(["", "connections/s", "of untraced", "CPU s per 20000", "MiB peak / own",
                 "told per conn.", "lost"], rows)
    print("\nTold: lines, of the floor events. The rings, mapped, are part of a peak: 16 MiB of\n"
          "mpscope's and the floor's. tcpstates leaves MPTCP sockets out, so it sees subflows only.")


# ---------------------------------------------------------------- nanoseconds per program

CGROUP_ATTACH = {"0": "skb_ingress", "1": "skb_egress", "2": "sock_create", "34": "sock_release"}


def program_times(pid):
    """Nanoseconds and runs, by program, of a process that holds programs and links to them."""
    times, names = {}, {}
    for info in fdinfo(pid):
        if "run_time_ns" in info:
            times[info["prog_id"]] = (int(info["run_time_ns"]), int(info["run_cnt"]))
        elif info.get("link_type") == "raw_tracepoint":
            names[info["prog_id"]] = info["tp_name"]
        elif info.get("link_type") == "cgroup":
            names[info["prog_id"]] = CGROUP_ATTACH.get(info["attach_type"], info["attach_type"])
    return {name: times[number] for number, name in names.items() if number in times}


def print_program_times(contender, load):
    process = contender.attach()
    before = program_times(process.pid)
    load.run()
    after = program_times(process.pid)
    finish(process)
    rows, total = [], 0.0
    for name in sorted(after):
        spent, runs = (after[name][i] - before[name][i] for i in (0, 1))
        total += spent / load.count
        rows.append([name, f"{runs / load.count:.1f}", f"{spent / runs:.0f}" if runs else "-",
                     f"{spent / load.count / 1000:.2f}"])
    rows.append(["all", "", "", f"{total / 1000:.2f}"])
    print_table([contender.name, "runs per conn.", "ns per run", "us per conn."], rows)
    print()


def bounce(messages):
    """Small messages to and fro on one plain TCP connection, in a namespace of their own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), "unshare")
            with socket.socket() as any_socket:  # SIOCSIFFLAGS: IFF_UP
                fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))
            listener = socket.create_server(("127.0.0.1", 0))
            client = socket.create_connection(listener.getsockname())
            server = listener.accept()[0]
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(messages):
                client.send(b"x" * 64)
                server.recv(64)
                server.send(b"x" * 64)
                client.recv(64)
            status = 0
        finally:
            os._exit(status)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise Problem("the TCP transfer failed")


def print_established_times(contender, messages=50_000):
    process = contender.attach()
    before = program_times(process.pid)
    bounce(messages)
    after = program_times(process.pid)
    finish(process)
    rows = []
    for name in ("skb_ingress", "skb_egress"):
        spent, runs = (after[name][i] - before[name][i] for i in (0, 1))
        rows.append([name, str(runs), f"{spent / runs:.0f}" if runs else "-"])
    print_table([f"established TCP, {contender.name}", "packets", "ns per run"], rows)
    print()


# ---------------------------------------------------------------- start to attached

def print_starts(contenders, times):
    rows = []
    for contender in contenders:
        took = []
        for _ in range(times):
            wait_until_quiet(0.5)
            began = time.monotonic()
            process = contender.start()
            wait_for("its ready file", process, contender.ready.exists)
            took.append((time.monotonic() - began) * 1000)
            finish(process)
        rows.append([contender.name, spread(took, 0)])
    print_table(["start to attached", f"ms, {times} starts"], rows)


def build_floor():
    if FLOOR.exists() and FLOOR.stat().st_mtime > max(
            path.stat().st_mtime for path in (FLOOR_SOURCE, OBJECT, ROOT / "bpf/event.h")):
        return
    FLOOR.parent.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("gcc") or shutil.which("clang") or "cc"
    subprocess.run([compiler, "-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                    "-I", ROOT / "bpf", FLOOR_SOURCE, "-o", FLOOR, "-lbpf"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--count", type=int, default=20_000, help="connections a run")
    parser.add_argument("--quick", action="store_true", help="3 rounds, to see that it works")
    parser.add_argument("--only", default="", metavar="WORDS",
                        help="only contenders whose names have one of these, comma-separated")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    if rounds < 1 or options.count < 1:
        parser.error("--rounds and --count must be at least 1")
    if os.geteuid() != 0:
        raise Problem("run it as root")
    for path in (PROGRAM, OBJECT):
        if not path.exists():
            raise Problem(f"{path.relative_to(ROOT)} is missing: make build")
    build_floor()

    place = Path(tempfile.mkdtemp(prefix="mpscope-bench.", dir="/dev/shm"))
    stats_before = STATS.read_text()
    try:
        load = Load(options.count)
        handshakes, steps = Mpscope(place, steps=False), Mpscope(place, steps=True)
        floors = [Floor(place, False, False), Floor(place, True, False), Floor(place, True, True)]
        contenders = [handshakes, steps, *floors]
        for contender, tool in ((Bpftrace(place), "bpftrace"), (Tcpstates(place), "tcpstates")):
            if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin"):
                raise Problem(f"{tool} is missing: Debian packages bpftrace, libbpf-tools")
            contenders.append(contender)
        wanted = [word for word in options.only.split(",") if word]
        if wanted:
            contenders = [c for c in contenders if any(word in c.name for word in wanted)]

        print(f"Linux {os.uname().release} {os.uname().machine}, {os.cpu_count()} CPUs, load average "
              f"{' '.join(f'{n:.2f}' for n in os.getloadavg())}")
        STATS.write_text("0")
        print_rounds(run_rounds(contenders, load, rounds), load, rounds)

        print("\nBPF programs (kernel.bpf_stats_enabled=1, which adds to each run):\n")
        STATS.write_text("1")
        for contender in (handshakes, steps):
            print_program_times(contender, load)
        for contender in (handshakes, steps):
            print_established_times(contender)
        STATS.write_text("0")
        print_starts([handshakes, steps, floors[0]], max(rounds, 3) if options.quick else 11)
    finally:
        STATS.write_text(stats_before)
        for process in list(running):
            process.kill()
            process.wait()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    # `kill` ends it as Ctrl-C does: through every `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except (Problem, OSError, subprocess.CalledProcessError) as problem:
        progress("")
        sys.exit(f"bench: {problem}")
    except KeyboardInterrupt:
        progress("")
        sys.exit(130)
