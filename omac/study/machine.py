"""On what rows were made: another kind of processor may give other last bits, and after thousands of steps other rows."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("torch", "jax", "jaxmarl", "numpy")


def machine(device="cpu"):
    """Describe the machine in one line: processor or GPU, instruction set, torch threads, versions."""
    if torch.device(device).type == "cuda":
        made_on = [torch.cuda.get_device_name(device), "CUDA"]
    else:
        made_on = [_processor(), torch.backends.cpu.get_cpu_capability()]
    threads = torch.get_num_threads()
    versions = [f"{name} {version(name).split('+')[0]}" for name in PACKAGES]
    return " | ".join([*made_on, f"{threads} thread{'s' * (threads > 1)}", *versions])


def _processor():
    """The processor's model, as the kernel or, elsewhere, Python calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
