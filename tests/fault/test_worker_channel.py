"""The door at which a trial's programs report, where the system refuses what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap


def test_what_the_system_refuses_neither_spins_nor_ends_the_thread_that_syncs() -> None:
    script = textwrap.dedent("""
        import json, os, resource, socket, tempfile, threading, time, types
        from hpctune.worker.channel import Channel
        from hpctune.worker.session import Session

        session = Session.__new__(Session)
        session._closed, session.ending, session._unsynced, synced = False, None, False, []
        session._file = types.SimpleNamespace(sync=lambda: synced.append(1))
        channel = Channel.__new__(Channel)
        channel._session, channel._address = session, ""
        address = tempfile.mkdtemp() + "/s"
        channel._listener = channel._bound(address)
        calls, accept = [], channel._accept
        session.watch(channel._listener, lambda: (calls.append(1), accept()))
        one, other = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            one.connect(address)
        time.sleep(1.0)
        without_descriptors = len(calls)
        start = threading.Thread.start

        def refuse(self):
            raise RuntimeError("can't start new thread")

        threading.Thread.start = refuse
        for descriptor in held:
            os.close(descriptor)
        other.connect(address)
        other.settimeout(60)
        hung_up = other.recv(1)
        threading.Thread.start = start
        session._unsynced = True
        deadline = time.monotonic() + 60
        while not synced and time.monotonic() < deadline:
            time.sleep(0.05)
        print(json.dumps([without_descriptors, hung_up.decode(), bool(synced)]))
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=150, env=os.environ)
    assert done.returncode == 0, done.stderr
    calls, hung_up, synced = json.loads(done.stdout)
    assert 1 <= calls < 50
    assert (hung_up, synced) == ("", True)
