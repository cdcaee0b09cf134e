"""Make a Data Docs site that reads without a network.

Great Expectations' pages load Bootstrap, jQuery, Vega, icons and a logo from eight hosts, and its index is empty until
those scripts run. Reports are opened from a bucket, often from a network without a way out, and should not tell third
parties when they are read. So scripts and external references are taken out, a stylesheet and a content security
policy are put in (`offline_style.html`; the policy also stops markup that hides in a value), and the index is written
anew. What is lost: charts, sorting, and the "failed only" switch.
"""

from __future__ import annotations

import re
import shutil
from html import escape
from pathlib import Path
from urllib.parse import quote

from millrace.verdict import Verdict

STYLE = Path(__file__).with_name("offline_style.html")
TAKEN_OUT = re.compile(
    r"<script\b.*?</script>|<footer\b.*?</footer>"
    r"|<link\b[^>]*>|<img\b[^>]*>",
    re.DOTALL | re.IGNORECASE,
)


def take_offline(site: Path, verdict: Verdict) -> Path:
    """Rewrite the pages under `site` in place, write a new index.html there, and return its path."""
    style = STYLE.read_text(encoding="utf-8")
    pages = sorted(p for p in site.rglob("*.html") if p.parent != site)
    for page in pages:
        plain = TAKEN_OUT.sub("", page.read_text(encoding="utf-8"))
        page.write_text(plain.replace("</head>", style + "</head>", 1), encoding="utf-8")
    shutil.rmtree(site / "static", ignore_errors=True)  # 4 MB of fonts and tutorial pictures that no page refers to
    index = site / "index.html"
    index.write_text(_index(site, pages, verdict, style), encoding="utf-8")
    return index


def _index(site: Path, pages: list[Path], verdict: Verdict, style: str) -> str:
    words = {"validations": "Validation result", "expectations": "Expectation suite"}
    links = [(words.get(p.relative_to(site).parts[0], "Page"), p.relative_to(site).as_posix()) for p in pages]
    items = "".join(f'<li><a href="{quote(link)}">{word}</a></li>' for word, link in sorted(links, reverse=True))
    rows = "".join(f"<tr><td>{escape(f.subject)}</td><td>{escape(f.message)}</td></tr>" for f in verdict.findings)
    table = (
        '<h2>Findings</h2><table class="table"><thead><tr><th scope="col">About</th><th scope="col">What was expected '
        f"and seen</th></tr></thead><tbody>{rows}</tbody></table>"
    )
    title = f"{escape(verdict.gate)}: {'passed' if verdict.passed else 'failed'}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>{style}</head>'
        f'<body><main class="index {"passed" if verdict.passed else "failed"}"><h1>{title}</h1>'
        f"<p>{escape(verdict.summary)}</p><ul>{items}</ul>{table if rows else ''}</main></body></html>"
    )
