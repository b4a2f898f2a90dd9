"""What happens to the package, step by step. A step returns, or raises what went wrong."""

import json
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

from stay import DATABASE, UNIT, Skipped, Stay, expect, say

ENV_FILE = "/etc/notify-api/notify-api.env"
APT = "apt-get -qq -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold -y --no-install-recommends"
# 0 is none, 10 is all that a service can be exposed to.
EXPOSURE = 1.3
# So many times the plug is pulled.
CUTS = 3


def install(stay: Stay) -> None:
    """Installed, it runs, on loopback, behind its sandbox"""
    machine = stay.machine
    machine.put("/root/notify-api.deb", stay.deb.read_bytes())
    say(machine.check(f"{APT} install /root/notify-api.deb", 300))
    say(machine.check("dpkg-query -W notify-api"))
    say(machine.check(f"systemctl is-active {UNIT}") + machine.check(f"systemctl is-enabled {UNIT}"))
    stay.wait_until_up()
    listening = machine.check("ss -Hltnp | grep '\"notify-api\"'")
    say(listening)
    for line in listening.splitlines():
        address = line.split()[3]
        expect(re.match(r"127\.0\.0\.1:|\[::1\]:", address) is not None, f"it listens on {address}")
    owner = machine.check(f"stat -c '%U %G %a %n' {DATABASE} {ENV_FILE}; ps -o user= -p {stay.value('MainPID')}")
    say(owner)
    security = machine.check(f"systemd-analyze security --no-pager {UNIT}")
    say("\n".join(line for line in security.splitlines() if "✗" in line or "→" in line))
    exposure = re.search(r"exposure level for \S+: (\d+\.\d+)", security)
    expect(exposure is not None and float(exposure[1]) <= EXPOSURE, f"it is more exposed than {EXPOSURE}")
    units = " ".join(stay.files(r"/lib/systemd/system/.*\.(service|socket|timer)$"))
    # There are no manual pages in the machine that could be looked for.
    complaints = machine.check(f"systemd-analyze verify --man=no {units}")
    expect(not complaints, f"systemd-analyze verify says of {units}:\n{complaints}")
    say(f"systemd-analyze verify has nothing to say of {units}")


def send(stay: Stay) -> None:
    """A notification is delivered, and the journal is quiet"""
    body = json.dumps({"id": "first", "type": "HTTPPOST", "endpoint": stay.receiver.url, "payload": {"body": "hello"}})
    stay.machine.put("/root/first.json", body)
    stay.machine.check("curl -fsS -d @/root/first.json 127.0.0.1:8080/send")
    stay.must_know({"first"})
    status = "curl -fsS -d @/root/first.json 127.0.0.1:8080/status"
    say(stay.machine.wait_until(f"{status} | tee /dev/stderr | grep -q '\"state\":1'", 10))
    scripts = stay.scripts("send")
    scripts.wait_for(20)
    ids, refused = scripts.stop()
    expect(not refused, f"refused: {refused[:3]}")
    stay.must_know(ids)
    say(f"{len(ids)} more, sent by four scripts at once, are delivered")
    journal = stay.journal()
    say(journal)
    expect(not re.search(r"denied|ERROR|WARN|panic", journal), "the journal isn't quiet")
    kernel = stay.machine.run("journalctl -k -q -o cat | grep -E 'type=1326|SIGSYS|Out of memory'").text
    expect(not kernel, f"the kernel says:\n{kernel}")


def readiness(stay: Stay) -> None:
    """systemd knows when it is ready, and how it fares"""
    if stay.value("Type") != "notify":
        raise Skipped(f"the unit is Type={stay.value('Type')}, not notify")
    text = stay.value("StatusText")
    say(f"StatusText={text}")
    expect(bool(text), "it tells no status")
    # Ready means that it answers: the very next command may send.
    stay.machine.check(f"systemctl restart {UNIT} && curl -fsS 127.0.0.1:8080/health")
    say("right after a restart it answers")


def watchdog(stay: Stay) -> None:
    """Hung, it is restarted by the watchdog"""
    if stay.value("WatchdogUSec") in ("0", "infinity"):
        raise Skipped("the unit has no WatchdogSec")
    say(f"WatchdogUSec={stay.value('WatchdogUSec')}, shortened for this step")
    machine = stay.machine
    seconds = 10 if machine.patience == 1 else 20
    drop_in = f"/run/systemd/system/{UNIT}.d/watchdog.conf"
    machine.put(drop_in, f"[Service]\nWatchdogSec={seconds}\n")
    machine.check(f"systemctl daemon-reload && systemctl restart {UNIT}")
    stay.wait_until_up()
    # Fed, it doesn't bark.
    before = stay.value("MainPID")
    time.sleep(2 * seconds)
    expect(stay.value("MainPID") == before, "the watchdog bites one that works")
    ended_and_restarted(stay, "hang", "STOP", "atchdog")
    machine.check(f"rm {drop_in} && systemctl daemon-reload && systemctl restart {UNIT}")
    stay.wait_until_up()


def kill(stay: Stay) -> None:
    """Killed, it is restarted"""
    ended_and_restarted(stay, "kill", "KILL", "status=9/KILL")


def ended_and_restarted(stay: Stay, name: str, sign: str, reason: str) -> None:
    """A signal in the middle of accepting; systemd sees why, starts it again, and nothing is lost."""
    since, process = stay.now(), stay.value("MainPID")
    clients = stay.clients(name)
    stay.send_some(clients, 100)
    stay.machine.check(f"kill -{sign} {process}")
    stay.machine.wait_until(f"now=$(systemctl show --value -p MainPID {UNIT}); (( now > 0 && now != {process} ))", 60)
    stay.send_some(clients, 100)
    ids = clients.stop()
    journal = stay.journal(since)
    say("\n".join(line for line in journal.splitlines() if re.search(UNIT, line)))
    expect(reason in journal, f"the journal doesn't say {reason!r}")
    stay.must_know(ids)
    say(f"{len(ids)} acknowledged before and after ({len(clients.refused)} not), all known and delivered")


def power_cut(stay: Stay) -> None:
    """The plug is pulled in the middle of accepting"""
    machine = stay.machine
    for round_number in range(1, CUTS + 1):
        # Behind a receiver that hangs, all that is accepted is still to be sent when the power goes.
        hanging = round_number == 2
        if hanging:
            stay.receiver.hang()
        clients = stay.clients(f"cut-{round_number}")
        stay.send_some(clients, 300)
        # The control: what was written to a disk but not flushed is what a power cut loses.
        write = "dd status=none if=/root/control of=/dev/vdb oflag=direct bs=4096"
        machine.check("head -c 4096 /dev/zero | tr '\\0' x > /root/control")
        machine.check(f"{write} seek={2 * round_number} conv=fsync && {write} seek={2 * round_number + 1}")
        time.sleep(random.uniform(0, 1) * machine.patience)
        machine.cut_power()
        ids = clients.stop()
        arrived = len(ids & stay.receiver.arrived)
        stay.receiver.recover()
        say(f"cut {round_number}: {len(ids)} acknowledged, {arrived} of them delivered; power on")
        machine.power_on()
        read = "dd status=none if=/dev/vdb bs=4096 count=1 | tr -d '\\0' | wc -c"
        flushed, unflushed = (machine.check(read.replace("bs", f"skip={n} bs")).strip()
                              for n in (2 * round_number, 2 * round_number + 1))  # fmt: skip
        expect((flushed, unflushed) == ("4096", "0"), f"it was no power cut: kept {flushed}, lost all but {unflushed}")
        stay.wait_until_up()
        stay.must_know(ids)
        say("the machine has lost what wasn't flushed; all acknowledged ones are known and delivered")
        stay.must_have_kept_all()


def reboot(stay: Stay) -> None:
    """Rebooted, it comes back with its data"""
    stay.machine.reboot()
    say(stay.machine.check(f"systemctl is-active {UNIT}"))
    stay.wait_until_up()
    clients = stay.clients("reboot")
    stay.send_some(clients, 20)
    stay.must_know(clients.stop())
    stay.must_have_kept_all()


def sockets(stay: Stay) -> None:
    """Behind a socket no request is lost over a restart; port 80 takes no privileges"""
    if not stay.files(r"/notify-api\.socket$"):
        raise Skipped("the package has no notify-api.socket")
    machine = stay.machine
    enabled = machine.run("systemctl is-enabled notify-api.socket").text.strip()
    expect(enabled == "disabled", f"the socket is {enabled} without being asked for")
    machine.check(f"systemctl stop {UNIT} && systemctl enable --now notify-api.socket && systemctl start {UNIT}")
    scripts = stay.scripts("socket")
    for _ in range(3):
        scripts.wait_for(20)
        machine.check(f"systemctl restart {UNIT}")
    scripts.wait_for(20)
    ids, refused = scripts.stop()
    expect(not refused, f"{len(refused)} of {len(ids)} refused over restarts: {refused[:3]}")
    stay.must_know(ids)
    say(f"three restarts, {len(ids)} sent all the while, none refused")

    drop_in = "/etc/systemd/system/notify-api.socket.d/port.conf"
    machine.put(drop_in, "[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n")
    restart = f"systemctl daemon-reload && systemctl stop notify-api.socket {UNIT} && systemctl start notify-api.socket"
    machine.check(restart)
    # The first one that knocks starts it.
    machine.check("curl -fsS --max-time 30 127.0.0.1:80/health")
    say(machine.check("ss -Hltnp 'sport = :80'"))
    status = machine.check(f"grep -E '^(Uid|CapEff)' /proc/{stay.value('MainPID')}/status")
    say(status)
    expect("CapEff:\t0000000000000000" in status and "Uid:\t0\t" not in status, "it has privileges")
    machine.check(f"rm -r {os.path.dirname(drop_in)} && systemctl disable --now notify-api.socket")
    machine.check(f"systemctl daemon-reload && systemctl restart {UNIT}")
    stay.wait_until_up()


def credentials(stay: Stay) -> None:
    """A secret as a credential is honoured and shows nowhere"""
    machine = stay.machine
    secret = "a-secret-of-the-boot-test"
    loaded = re.search(r"(?m)^LoadCredential=NOTIFY_TOKEN:(\S+)", machine.check(f"systemctl cat {UNIT}"))
    if not loaded:
        raise Skipped("the unit has no LoadCredential=NOTIFY_TOKEN")
    path = loaded[1]
    machine.put(path, secret + "\n")
    machine.check(f"chmod 600 {path} && systemctl restart {UNIT}")
    stay.wait_until_up()
    ask = "curl -sS -o /dev/null -w '%{http_code}' -d '{\"id\": \"first\"}' 127.0.0.1:8080/status"
    without, given = machine.check(ask), machine.check(f"{ask} -u :{secret}")
    shown = machine.run(
        f"systemctl show {UNIT} | grep -c {secret}; journalctl -q -u {UNIT} | grep -c {secret};"
        f" tr '\\0' '\\n' < /proc/{stay.value('MainPID')}/environ | grep -c {secret};"
        f" tr '\\0' '\\n' < /proc/{stay.value('MainPID')}/cmdline | grep -c {secret}"
    ).text.split()
    machine.check(f"rm {path} && systemctl restart {UNIT}")
    stay.wait_until_up()
    expect((without, given) == ("401", "200"), f"without the token {without}, with it {given}")
    expect(shown == ["0"] * 4, f"found in systemctl show, journal, environment, arguments: {shown} times")
    say("401 without the token, 200 with it; not in systemctl show, the journal, the environment or the arguments")


def backup(stay: Stay) -> None:
    """The timer's backup is whole, and the service doesn't mind"""
    services = [Path(name).name for name in stay.files(r"/lib/systemd/system/.*backup.*\.service$")]
    if not services:
        raise Skipped("the package has no backup service")
    machine = stay.machine
    service = services[0]
    clients = stay.clients("backup")
    stay.send_some(clients, 50)
    before = set(clients.acknowledged)
    machine.check(f"touch /root/before && systemctl start {service}", 120)
    stay.send_some(clients, 50)
    ids = clients.stop()
    made = machine.check(
        "find /var -xdev -type f -newer /root/before -size +0"
        " | xargs grep -lsa '^SQLite format 3' | grep -vE '/notify\\.db(-wal|-shm)?$' || true"
    ).split()
    expect(len(made) == 1, f"{service} has made {made or 'no backup'}:\n{machine.check(f'journalctl -q -u {service}')}")
    path = made[0]
    say(machine.check(f"stat -c '%A %U:%G %s %n' {path}"))
    mode = machine.check(f"stat -c %a {path}").strip()
    expect(mode.endswith("00"), f"others can read it: {mode}")
    text = machine.check(f"sqlite3 -readonly {path} 'pragma integrity_check; select notify_id from items'").splitlines()
    expect(text[0] == "ok", f"the backup is damaged: {text[0]}")
    lost = (stay.acknowledged | before) - set(text[1:])
    expect(not lost, f"{len(lost)} acknowledged before aren't in it")
    say(f"{len(text) - 1} notifications are in it, all that were acknowledged before among them")
    # Another one beside it, and a restart: whose files they are is the same.
    machine.check(f"systemctl start {service}", 120)
    machine.check(f"systemctl restart {UNIT}")
    stay.wait_until_up()
    stay.must_know(ids)
    owners = machine.check(f"stat -c %U {DATABASE}* | sort -u").split()
    user = machine.check(f"ps -o user:32= -p {stay.value('MainPID')}").strip()
    expect(owners == [user], f"the database belongs to {owners}, the service runs as {user}")
    stay.must_have_kept_all()


def upgrade(stay: Stay) -> None:
    """Upgraded, it is restarted with the same data and the admin's configuration"""
    machine = stay.machine
    newer = stay.newer or newer_version(stay.deb, machine.work)
    machine.check(f"echo NOTIFY_THREADS=7 >> {ENV_FILE}")
    config = machine.check(f"cat {ENV_FILE}")
    before = stay.value("MainPID")
    machine.put("/root/newer.deb", newer.read_bytes())
    say(machine.check(f"{APT} install /root/newer.deb", 300))
    say(machine.check("dpkg-query -W notify-api"))
    expect(machine.check(f"systemctl is-active {UNIT}").strip() == "active", "it isn't active")
    stay.wait_until_up()
    expect(stay.value("MainPID") != before, "it wasn't restarted")
    expect(stay.value("NeedDaemonReload") == "no", "systemd doesn't know the new unit")
    expect(machine.check(f"cat {ENV_FILE}") == config, "the admin's configuration has changed")
    environment = machine.check(f"tr '\\0' '\\n' < /proc/{stay.value('MainPID')}/environ")
    expect("NOTIFY_THREADS=7" in environment, "the admin's configuration isn't honoured")
    stay.must_have_kept_all()


def newer_version(deb: Path, work: Path) -> Path:
    """The same package, one version later."""
    tree, newer = work / "newer", work / "newer.deb"
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", r"\g<0>+boottest1", control.read_text()))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, newer], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return newer


def remove(stay: Stay) -> None:
    """Removed, it leaves its data; installed again, it has it; purged, it leaves nothing"""
    machine = stay.machine
    config = machine.check(f"cat {ENV_FILE}")
    say(machine.check(f"{APT} remove notify-api"))
    expect(machine.run(f"systemctl is-active {UNIT}").code != 0, "it still runs")
    expect(machine.run("pgrep -x notify-api").code != 0, "a process is still there")
    expect(machine.check(f"cat {ENV_FILE}") == config, "the configuration has changed")
    stay.must_have_kept_all()
    say(machine.check(f"{APT} install /root/newer.deb"))
    stay.wait_until_up()
    expect(machine.check(f"cat {ENV_FILE}") == config, "the configuration has changed")
    clients = stay.clients("again")
    stay.send_some(clients, 20)
    stay.must_know(clients.stop())
    stay.must_have_kept_all()
    # The ways in which an admin may have changed it, and which leave traces.
    machine.run("systemctl enable --now notify-api-backup.timer; systemctl enable notify-api.socket")
    # That a unit has failed is remembered until somebody has seen it.
    machine.run("systemctl reset-failed")
    say(machine.check(f"{APT} purge notify-api"))
    left = machine.check(
        "find / -xdev -name '*notify-api*' ! -path '/root/*' ! -path '/proc/*' ! -path '/sys/*' ! -path '/run/log/*';"
        " find /run /dev/shm /tmp -name '*notify-api*'; systemctl list-unit-files | grep notify-api;"
        " systemctl list-units --all | grep notify-api; systemctl --failed --no-legend;"
        " getent passwd notify-api; getent group notify-api; true"
    )
    expect(not left, f"left after the purge:\n{left}")
    say("no file, unit, user or group of it is left")


STEPS = [install, send, readiness, watchdog, kill, power_cut, reboot, sockets, credentials, backup, upgrade, remove]
