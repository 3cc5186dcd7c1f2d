"""``python -m hpctune.ray SCRIPT.py ARGS``: run a script that imports Ray; it gets hpctune."""

from __future__ import annotations

import sys

from hpctune.cli.main import main

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("Usage: python -m hpctune.ray SCRIPT.py [ARGS...]\n\nThe same as: hpctune run SCRIPT.py -- ARGS...")
        sys.exit(0 if len(sys.argv) > 1 else 2)
    sys.argv = ["hpctune", "run", "--ray", "hpctune", sys.argv[1], "--", *sys.argv[2:]]
    main()
