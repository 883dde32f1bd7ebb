"""Makes the plain `pytest` and `pytest --nbval notebooks/` work from any folder."""

import os
from pathlib import Path

from jaxtyping import install_import_hook

CHECKED = ["omac.nn", "omac.algorithms", "omac.training", "omac.data"]  # under test, shapes of signatures are checked
install_import_hook(CHECKED, "beartype.beartype")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # kernels inherit the environment
os.environ.setdefault("OMAC_PROGRESS", "0")  # no bars in compared outputs
for flag in (
    "--xla_cpu_max_isa=AVX",
    "--xla_cpu_experimental_ynn_fusion_type=",
):  # as omac.envs.smax; whichever test begins JAX
    if flag.split("=")[0] not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
os.environ.setdefault("OMAC_PROFILE", "smoke")  # notebooks under test take the profile that only proves that they run


def pytest_configure(config):
    """nbval: this environment's kernel, whatever a notebook names, and the rules for outputs that differ by nature."""
    option = config.option
    if getattr(option, "nbval", False) or getattr(option, "nbval_lax", False):
        option.nbval_current_env = True
        option.nbval_sanitize_with = option.nbval_sanitize_with or str(
            Path(__file__).parent / "notebooks" / "sanitize.cfg"
        )
