"""Installs the package in a booted Debian and does to it what happens to a Pi, a power cut for instance."""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from machine import QEMU, Failed, Machine, kvm_works
from stay import UNIT, Skipped, Stay, say
from steps import STEPS

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


def perform(stay: Stay, last: str) -> dict[str, str]:
    """Does the steps; what has become of each."""
    results = {}
    for step in STEPS:
        started = time.monotonic()
        print(f"\n== {step.__name__}: {step.__doc__}", flush=True)
        try:
            step(stay)
            results[step.__name__] = "PASS"
        except Skipped as reason:
            results[step.__name__] = "SKIP"
            print(f"!! SKIPPED: {reason}", flush=True)
        except (Failed, OSError) as reason:
            results[step.__name__] = "FAIL"
            print(f"!! FAILED: {reason}", flush=True)
            show_journal(stay.machine)
        stay.receiver.recover()
        print(f"== {step.__name__}: {results[step.__name__]} after {time.monotonic() - started:.0f} s", flush=True)
        if step.__name__ == last or results["install"] == "FAIL":
            break
    return results


def show_journal(machine: Machine) -> None:
    """The end of the journal, to see why."""
    try:
        say(machine.run(f"systemctl status --no-pager -n 0 {UNIT}; journalctl --no-pager -q -n 40").text)
    except (Failed, OSError) as reason:
        say(f"no journal to be had: {reason}")


def main() -> int:
    """Reads the command line, makes the machine, does the steps."""
    parser = argparse.ArgumentParser(prog="boot-test.sh", description=__doc__.split(".", maxsplit=1)[0])
    parser.add_argument("deb", type=Path, help="the package, for amd64")
    parser.add_argument("newer", type=Path, nargs="?", help="what to upgrade to; else the same with a higher version")
    parser.add_argument("--tcg", action="store_true", help="emulate the processor, also where KVM works")
    parser.add_argument("--until", choices=[step.__name__ for step in STEPS], default="remove", help="the last step")
    parser.add_argument("--allow-skips", action="store_true", help="succeed though the package lacks something")
    wanted = parser.parse_args()
    for deb in filter(None, [wanted.deb, wanted.newer]):
        if not deb.is_file():
            parser.error(f"there is no {deb}")
    for tool, package in {QEMU: "qemu-system-x86", "qemu-img": "qemu-utils", "mmdebstrap": "mmdebstrap"}.items():
        if not shutil.which(tool):
            parser.error(f"{tool} is missing: apt-get install {package}")

    work = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve() / "boot-test"
    work.mkdir(parents=True, exist_ok=True)
    lock = open(work / "lock", "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        parser.error(f"another one runs in {work}")
    subprocess.run([HERE / "root.sh", work], check=True)
    shutil.rmtree(work / "layers", ignore_errors=True)

    emulate = wanted.tcg or not kvm_works(work)
    print(f"== {wanted.deb.name} in a machine that is {'emulated: slow' if emulate else 'run by KVM'}", flush=True)
    machine = Machine(work, emulate)
    machine.add_disk("control", "1M")
    # An end by a signal is an end like any other: the machine goes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = time.monotonic()
    try:
        machine.power_on()
        say(f"booted after {time.monotonic() - started:.0f} s")
        say(machine.check("uname -sr; systemctl --version | head -1"))
        results = perform(Stay(machine, wanted.deb, wanted.newer), wanted.until)
    finally:
        machine.cut_power()
        shutil.rmtree(work / "layers", ignore_errors=True)

    print(f"\n== in all, after {time.monotonic() - started:.0f} s")
    for name, result in results.items():
        print(f"{result}  {name}")
    passed = {"PASS", "SKIP"} if wanted.allow_skips else {"PASS"}
    return 0 if set(results.values()) <= passed else 1


if __name__ == "__main__":
    sys.exit(main())
