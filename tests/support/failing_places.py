"""Places for copies of experiments, real ones, that fail in the ways in which such places do."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from hpctune.mirror import status
from hpctune.storage.layout import ExperimentPaths
from tests.support.ssh_lab import Laptop, Proxy, Sshd, cluster_processes

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>"


class Place:
    """A place. ``url``: of the directory of copies; ``env``: what a program needs to reach it from ``home``."""

    url: str
    ways: tuple[str, ...]
    """The ways in which it fails."""
    works_s = (0.8, 2.5)
    """For how many seconds it works, at least and at most."""

    def env(self, home: Path) -> dict[str, str]:
        return {}

    def holds_since(self, when: float, paths: ExperimentPaths) -> bool:
        """Whether the copy of the experiment is of a moment after ``when`` (Unix seconds)."""
        told = status.read(paths)
        return told is not None and told.complete_at > when

    def fail(self, way: str) -> None:
        """Fail from now on."""
        raise NotImplementedError

    def heal(self) -> None:
        """Work from now on."""
        raise NotImplementedError

    def close(self) -> None:
        self.heal()


class S3Place(Place):
    """An S3 server, behind a proxy that drops connections before or after the server has heard them, answers errors,
    and stalls."""

    ways = ("drop", "deaf", "500", "503", "stall")

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self._target = self._server.get_host_and_port()
        self.url = f"s3://bucket/{uuid4()}"  # all servers of a process share their buckets
        self.way = ""
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                place.answer(self, body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._proxy.daemon_threads = True
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        self._ask("PUT", "/bucket", b"", {})

    def env(self, home: Path) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._proxy.server_port}", "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
        }  # fmt: skip

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[Any, bytes]:
        with contextlib.closing(http.client.HTTPConnection(*self._target, timeout=30)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer, answer.read()

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        way = self.way
        while self.way == "stall":
            time.sleep(0.05)
        if way in ("500", "503"):
            handler.send_response(int(way))
            handler.send_header("Content-Length", str(len(SLOW_DOWN)))
            handler.end_headers()
            handler.wfile.write(SLOW_DOWN)
            return
        if way != "drop":
            answer, content = self._ask(handler.command, handler.path, body, dict(handler.headers.items()))
        if way in ("drop", "deaf"):  # before or after it was done
            handler.close_connection = True
            handler.connection.close()
            return
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def fail(self, way: str) -> None:
        self.way = way

    def heal(self) -> None:
        self.way = ""

    def close(self) -> None:
        self.heal()
        self._proxy.shutdown()
        self._proxy.server_close()
        self._server.stop()


class DirectoryPlace(Place):
    """A mounted directory that is taken away, so that there is nothing, an empty directory or a file in its place; or,
    where a small filesystem may be mounted, that is full."""

    def __init__(self, directory: Path) -> None:
        self._path, self._away, self._filler = directory, directory.with_name("away"), directory / "filler"
        self._path.mkdir()
        self.url = f"file://{self._path / 'copies'}"
        self._small = directory.with_name("small")
        self._small.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(self._small)]
        self._mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        if self._mounted:
            (self._small / "copies").mkdir()
            (self._path / "copies").symlink_to(self._small / "copies")
        self.ways = ("nothing", "empty", "file", *(["full"] if self._mounted else []))

    def holds_since(self, when: float, paths: ExperimentPaths) -> bool:
        """In the directory itself; the last pass may have met another one in its place."""
        place = self._small if self._mounted else self._path
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads((place / "copies" / "exp" / "mirror.json").read_text())["made_at"] > when)
        return False

    def fail(self, way: str) -> None:
        if way == "full":
            with contextlib.suppress(OSError), (self._small / "filler").open("wb") as file:
                while True:
                    file.write(bytes(1 << 16))
            return
        self._path.rename(self._away)
        if way == "empty":
            self._path.mkdir()
        elif way == "file":
            self._path.touch()

    def heal(self) -> None:
        (self._small / "filler").unlink(missing_ok=True)
        if not self._away.exists():
            return
        while self._path.exists():  # something may be written into it at this moment
            if self._path.is_dir():
                shutil.rmtree(self._path, ignore_errors=True)
            else:
                self._path.unlink()
        self._away.rename(self._path)

    def close(self) -> None:
        self.heal()
        if self._mounted:
            subprocess.run(["umount", "-l", str(self._small)], check=True)


class SftpPlace(Place):
    """An sshd that is killed, with its sessions; and connections that are cut or freeze."""

    ways = ("killed", "cut", "frozen")
    works_s = (3.0, 6.0)

    def __init__(self, directory: Path) -> None:
        path = os.environ["PATH"]
        self._sshd = Sshd(directory / "sshd", directory / "there", {"PATH": path})
        self._sshd.start()
        self._proxy = Proxy(self._sshd.port, 3)
        self._laptops: dict[Path, Laptop] = {}
        self.url = "sftp://place/~/copies"

    def env(self, home: Path) -> dict[str, str]:
        if home not in self._laptops:
            laptop = self._laptops[home] = Laptop(home, home.with_name(f"{home.name}-work"))
            laptop.may_enter(self._sshd)
            laptop.knows(self._sshd, self._proxy.port)
            laptop.config.write_text(
                f"Host place\n  HostName 127.0.0.1\n  Port {self._proxy.port}\n  User {getpass.getuser()}\n"
                "  ServerAliveInterval 1\n  ServerAliveCountMax 2\n  ConnectTimeout 3\n"
            )
        return {}

    def fail(self, way: str) -> None:
        if way == "frozen":
            self._proxy.frozen.set()
        elif way == "cut":
            self._proxy.between = (100, 20_000)
            self._proxy.cut()
        else:
            assert self._sshd.process is not None
            self._sshd.process.kill()
            self._sshd.process.wait()
            self._sshd.process = None
            for pid in cluster_processes(self._sshd.home):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def heal(self) -> None:
        self._proxy.frozen.clear()
        self._proxy.between = None
        self._proxy.cut()
        if self._sshd.process is None:
            self._sshd.start()

    def close(self) -> None:
        self.heal()
        self._proxy.close()
        self._sshd.stop()


class Disturber:
    """Makes a place fail and work again at random, in a thread. ``happened``: the ways in which it failed."""

    def __init__(self, place: Place, seed: int) -> None:
        self._place, self._rng = place, random.Random(seed)
        self._over = threading.Event()
        self.happened: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._rng.uniform(*self._place.works_s)):
            way = self._rng.choice(self._place.ways)
            self.happened.append(way)
            self._place.fail(way)
            self._over.wait(self._rng.uniform(0.2, 1.0))
            self._place.heal()

    def stop(self) -> None:
        """End it; the place works from now on."""
        self._over.set()
        self._thread.join()
        self._place.heal()
