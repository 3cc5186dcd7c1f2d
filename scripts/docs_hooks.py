"""What mkdocs does besides: what only readers of the repository or tests understand is put otherwise, and each page is
looked through."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

_FENCE = re.compile(r"^(```\w+) (?:file=(\S+)|slurm)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)[^)\s]*\)")
_FETCHED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?https?:|<link\b[^>]*\brel=\"?(?:stylesheet|preconnect)[^>]*https?:"
)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """A block that is to be saved has its file's name as its title; one that needs Slurm says so. A link to a file that
    is in the repository alone becomes its name."""
    docs = Path(config["docs_dir"])

    def named(found: re.Match[str]) -> str:
        target = (docs / page.file.src_path).parent.joinpath(found[2]).resolve()
        inside = target.is_relative_to(docs) or not target.exists()
        return found[0] if inside else f"{found[1]} (`{target.relative_to(docs.parent)}` in the repository)"

    markdown = _LINK.sub(named, markdown)
    return _FENCE.sub(lambda found: f'{found[1]} title="{found[2] or "on Slurm"}"', markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page with a fence that was not understood, or that fetches something from elsewhere when it is read."""
    if "```" in output:
        raise PluginError(f"{page.file.src_path}: a fence is not rendered: see _FENCE in scripts/docs_hooks.py")
    if fetched := _FETCHED.search(output):
        raise PluginError(f"{page.file.src_path} fetches something from elsewhere: {fetched[0]}")
    return output
