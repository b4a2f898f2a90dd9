#!/usr/bin/env python3
"""Prints what the program contains of others on any Linux, and their licenses."""

import json
import pathlib
import subprocess

# The other architectures have no dependency that this one lacks.
TARGET = "x86_64-unknown-linux-gnu"
LICENSE_FILES = ("license", "licence", "copying", "copyright", "notice", "unlicense")

HEAD = """\
notify-api is free software under the Mozilla Public License 2.0. These are in the program, too:

The standard library of Rust, copyright The Rust Project Developers, MIT or Apache-2.0.
SQLite, which is in the public domain.
musl, copyright Rich Felker and others, MIT: in the static programs.
"""


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def license_files(manifest):
    files = (file for file in pathlib.Path(manifest).parent.iterdir() if file.is_file())
    return sorted(file for file in files if file.name.lower().startswith(LICENSE_FILES))


def main():
    tree = cargo("tree", "--locked", "--edges=normal", f"--target={TARGET}", "--prefix=none", "--format={p}")
    used = {tuple(line.split()[:2]) for line in tree.splitlines()}
    packages = json.loads(cargo("metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"))["packages"]
    packages = sorted((p["name"], p["version"], p) for p in packages if p["source"])
    packages = [(f"{name} {version}", p) for name, version, p in packages if (name, "v" + version) in used]

    owners = {}
    print(HEAD)
    for crate, package in packages:
        print(f"{crate}: {package['license']}, {package['repository'] or ', '.join(package['authors'])}")
        for file in license_files(package["manifest_path"]):
            text = file.read_text(errors="replace").strip()
            owners.setdefault(text, []).append(crate)
    for text, crates in owners.items():
        print(f"\n{'=' * 80}\n{', '.join(dict.fromkeys(crates))}:\n\n{text}")


main()
