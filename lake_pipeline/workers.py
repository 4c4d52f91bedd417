"""Who works on a manifest: a name that tells whether its process, if it ran on this machine, is still there."""

from __future__ import annotations

import os
import socket

import psutil


def worker_name() -> str:
    """This process: its host, its id, and when it started (ids are used again)."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def is_dead(worker: str) -> bool:
    """Whether the worker ran on this machine and its process is gone; of other machines nothing is known."""
    host, _, process = worker.rpartition("/")[0].rpartition("/")
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        found = psutil.Process(int(process))
        return f"{found.create_time():.2f}" != worker.rpartition("/")[2] or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
