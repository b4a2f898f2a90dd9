"""The package's stay in the machine: what the steps ask of it, and what they know of each other."""

import re
from pathlib import Path

from machine import Failed, Machine
from traffic import Clients, Receiver, Scripts, call

UNIT = "notify-api.service"
DATABASE = "/var/lib/private/notify-api/notify.db"
# Seconds that a notification may take to arrive: its first attempts may have met a machine without network.
ARRIVAL = 300


class Skipped(Exception):
    """What the package doesn't have."""


class Stay:
    """The package's stay in the machine: what all steps know of each other."""

    def __init__(self, machine: Machine, deb: Path, newer: Path | None):
        self.machine, self.deb, self.newer = machine, deb, newer
        self.receiver = Receiver()
        self.acknowledged: set[str] = set()

    # What the service says.

    def value(self, name: str, unit: str = UNIT) -> str:
        """A property of the unit."""
        return self.machine.check(f"systemctl show --value -p {name} {unit}").strip()

    def journal(self, since: str = "") -> str:
        """What the service has logged."""
        return self.machine.check(f"journalctl --no-pager -q -o cat -u {UNIT} {since}")

    def now(self) -> str:
        """An option that means: from now on."""
        return "--since=@" + self.machine.check("date +%s").strip()

    def files(self, pattern: str) -> list[str]:
        """Files of the package with such a name."""
        listed = self.machine.check("dpkg -L notify-api").splitlines()
        return [name for name in listed if re.search(pattern, name)]

    def wait_until_up(self) -> None:
        """Returns when it answers."""
        self.machine.wait_until("curl -fsS --max-time 5 http://127.0.0.1:8080/health", 60)

    # What clients do.

    def clients(self, name: str) -> Clients:
        """Clients that send to the receiver from now on."""
        return Clients(self.machine.door, self.receiver.url, name)

    def scripts(self, name: str) -> Scripts:
        """Scripts that send to the receiver from now on."""
        return Scripts(self.machine, self.receiver.url, name)

    def send_some(self, clients: Clients, count: int) -> None:
        """Returns when so many more are acknowledged."""
        if not clients.wait_for(count, 60 * self.machine.patience):
            last = clients.refused[-1] if clients.refused else "no answers"
            raise Failed(f"{count} notifications take over {60 * self.machine.patience} s; the last: {last}")

    def must_know(self, ids: set[str]) -> None:
        """Each is known, and each arrives."""
        for identity in sorted(ids):
            code, text = call(self.machine.door, "/status", {"id": identity})
            if code != 200:
                raise Failed(f"{identity} was acknowledged, and now: {code} {text.decode().strip()}")
        missing = self.receiver.missing(ids, ARRIVAL)
        if missing:
            raise Failed(f"{len(missing)} of {len(ids)} acknowledged ones haven't arrived, {min(missing)} among them")
        self.acknowledged |= ids

    def must_have_kept_all(self) -> None:
        """Whatever was acknowledged since the beginning is in the database, which is whole."""
        text = self.machine.check(f"sqlite3 -readonly {DATABASE} 'pragma integrity_check; select notify_id from items'")
        check, *kept = text.splitlines()
        if check != "ok":
            raise Failed(f"the database is damaged: {check}")
        lost = self.acknowledged - set(kept)
        if lost:
            raise Failed(f"{len(lost)} of {len(self.acknowledged)} acknowledged ones are lost, {min(lost)} among them")
        say(f"all {len(self.acknowledged)} acknowledged so far are in the database, which is whole")


def say(text: str) -> None:
    """A line or more of the report."""
    print("   " + text.rstrip().replace("\n", "\n   "), flush=True)


def expect(holds: bool, otherwise: str) -> None:
    """What has to hold, or else."""
    if not holds:
        raise Failed(otherwise)
