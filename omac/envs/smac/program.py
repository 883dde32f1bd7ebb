"""Why StarCraft II's program, though it is there, cannot be run on this machine."""

import os
import platform
import re
import subprocess
from pathlib import Path

MACHINES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}  # ELF's numbers: what Linux calls them
FOREIGN_PROGRAMS = {
    b"MZ": "Windows",
    b"\xcf\xfa\xed\xfe": "macOS",
    b"\xca\xfe\xba\xbe": "macOS",
}  # first bytes: their system
ALIASES = {"AMD64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}  # other words for a machine
LOADER = re.compile(rb"(/[\w/.+-]*/ld-[\w.+-]+)\0")  # what a program of Linux is started by
LDD_SECONDS = 20  # seconds for the list of its libraries
OTHER_MACHINE = "install the game's package for this machine, or fight on another one (Linux: x86_64 alone)"


def launched_by(environment):
    """Return the program that the package's environment launches, and the variables that it gives to it; (None, None) before."""
    try:
        config = environment._run_config
        base = f"Base{config.version.build_version:05d}"
        return Path(config.data_dir, "Versions", base, config._exec_name), config.env
    except AttributeError:  # it has not come so far
        return None, None


def obstacle(path, env=None):
    """Say in one line why the program at `path` cannot be run here, and what to do; "" where nothing is found.

    env: the variables that it is run with, those that name folders of libraries among them.
    """
    if path is None or not os.path.isfile(path):
        return ""
    if not os.access(path, os.X_OK):
        return f"{path} is not executable: `chmod +x {path}`, or mount its disk without noexec"
    with open(path, "rb") as f:
        found = _made_for(f.read(20))
    if found:
        return f"{path} is {found}; this machine is {platform.system()} on {platform.machine()}: {OTHER_MACHINE}"
    absent = _absent_libraries(path, env)
    if absent:
        return f"{path} needs {', '.join(absent)}, not on this machine: install what has it (`ldd {path}` lists all)"
    return ""


def _made_for(head):
    """What a program's first bytes say that it is, where that does not run here; "" where it may."""
    system, here = platform.system(), ALIASES.get(platform.machine(), platform.machine())
    for mark, name in FOREIGN_PROGRAMS.items():
        if head.startswith(mark):
            return "" if system == {"macOS": "Darwin"}.get(name, name) else f"a program for {name}"
    if head.startswith(b"\x7fELF") and len(head) == 20:
        machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
        built = MACHINES.get(machine, f"machine {machine}")
        fits = system == "Linux" and here in (built, "x86_64" if built == "x86" else built)
        return "" if fits else f"a program for Linux on {built}"
    return "" if head.startswith(b"#!") else f"no program (it begins with {head[:8]!r}), a broken download perhaps"


def _absent_libraries(path, env):
    """What is not here of all that a program is linked with: its loader, or libraries and versions of them."""
    if platform.system() != "Linux":
        return []
    with open(path, "rb") as f:
        loader = LOADER.search(f.read(4096))
    if loader and not os.path.exists(loader[1]):
        return [loader[1].decode()]
    try:
        words = ["ldd", str(path)]
        done = subprocess.run(words, env=env, capture_output=True, text=True, errors="replace", timeout=LDD_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    said = done.stdout + done.stderr
    return [*re.findall(r"^\s*(\S+) => not found", said, re.MULTILINE), *re.findall(r"version `(\S+)' not found", said)]
