"""A hook of mkdocs: links out of docs/ lead to the repository where mkdocs.yml has a `repo_url`, and are plain words where it has none."""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """A page's text with its links out of docs/ made so."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def mended(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        if "://" in target or target.startswith(("/", "mailto:")) or path.startswith("docs/"):
            return found[0]
        return f"[{words}]({config['repo_url'].rstrip('/')}/blob/main/{path}{anchor})" if config["repo_url"] else words

    return LINK.sub(mended, markdown)
