"""Waiting until a GPU's memory is released."""

from __future__ import annotations

import os
import subprocess
import time

from hpctune.errors import UsageError

_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.used,memory.total", "--format=csv,noheader,nounits")


def wait_for_gpu(
    gpu_id: int | str | None = None,
    target_util: float = 0.01,
    retry: int = 20,
    delay_s: int = 5,
    gpu_memory_limit: float | None = None,
) -> bool:
    """Wait until a GPU's memory is free. The previous trial may still be releasing it.

    Args:
        gpu_id: Its index or UUID. Default: the first that this process may use (CUDA_VISIBLE_DEVICES), else GPU 0.
        target_util: The share of its memory (0 to 1) that may be in use.
        retry: How many times to check.
        delay_s: Seconds between two checks.
        gpu_memory_limit: MiB that may be in use; replaces ``target_util``.

    Returns:
        True.

    Raises:
        UsageError: if there is no such GPU.
        RuntimeError: if nvidia-smi is missing or fails, or the memory was not released in time.
    """
    wanted = _visible_gpu() if gpu_id is None else str(gpu_id)
    used = total = 0.0
    for look in range(max(retry, 1)):
        used, total = _gpu_memory(wanted)
        if used <= gpu_memory_limit if gpu_memory_limit is not None else used <= target_util * total:
            return True
        if look < retry - 1:
            time.sleep(delay_s)
    raise RuntimeError(
        f"GPU {wanted} is still in use after {retry} checks, {delay_s} s apart: {used:g} of {total:g} MiB. "
        "To see which process uses it, run nvidia-smi. To wait longer, use wait_for_gpu(retry=...)."
    )


def _visible_gpu() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"


def _gpu_memory(wanted: str) -> tuple[float, float]:
    """Memory in use and total memory, in MiB."""
    try:
        answer = subprocess.run(_QUERY, capture_output=True, text=True, timeout=60, check=True).stdout
    except FileNotFoundError:
        raise RuntimeError("wait_for_gpu needs nvidia-smi, which is not on PATH. Is this a GPU node?") from None
    except (subprocess.SubprocessError, OSError) as error:
        raise RuntimeError(f"nvidia-smi failed: {error}.") from error
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.count(",") == 3]
    for index, uuid, used, total in rows:
        if wanted in (index, uuid) or (wanted.startswith("GPU-") and uuid.startswith(wanted)):
            return float(used), float(total)
    raise UsageError(f"There is no GPU {wanted!r}. Available GPUs: {', '.join(row[0] for row in rows) or 'none'}.")
