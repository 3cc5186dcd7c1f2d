"""``python -m hpctune`` is the command ``hpctune``."""

from hpctune.cli.main import main

if __name__ == "__main__":
    main()
