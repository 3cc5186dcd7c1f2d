"""A plug-in for hpctune: see its pyproject.toml for the names that it adds."""
