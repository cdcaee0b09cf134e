"""Great Expectations' own page of a result document, made to read without a network.

Their pages load Bootstrap, jQuery, Vega, icons and a logo from eight hosts. Reports are opened from a bucket, often from a
network without a way out, and should not tell third parties when they are read. So scripts and external references are
taken out, and a stylesheet and a content security policy are put in (`offline_style.html`; the policy also stops markup
that hides in a value). What is lost: charts, sorting, and the "failed only" switch. The import of Great Expectations takes
seconds, which is why this page is made on request only; `page` is the one that is always there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from millrace.quality.quiet import quiet

STYLE = Path(__file__).with_name("offline_style.html")
FILE_NAME = "great_expectations.html"
TAKEN_OUT = re.compile(
    r"<script\b.*?</script>|<footer\b.*?</footer>"
    r"|<link\b[^>]*>|<img\b[^>]*>"
    r'|(?<=<a) href="(?!#)[^"]*"',  # to pages of a site that is not there
    re.DOTALL | re.IGNORECASE,
)


def write_page(folder: Path, document: dict[str, Any]) -> Path:
    """Write Great Expectations' page of a result document into `folder` and return its path."""
    with quiet():
        from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        result = expectationSuiteValidationResultSchema.load(document)
        page = DefaultJinjaPageView().render(ValidationResultsPageRenderer(run_info_at_end=True).render(result))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(offline(page), encoding="utf-8")
    return path


def offline(page: str) -> str:
    """The page without scripts and references to other hosts, in a style of its own."""
    return TAKEN_OUT.sub("", page).replace("</head>", STYLE.read_text(encoding="utf-8") + "</head>", 1)
