"""A laptop, and a cluster behind a real sshd, for each test."""

from __future__ import annotations

from tests.support.ssh_lab import laptop, proxy, sshd

__all__ = ["laptop", "proxy", "sshd"]
