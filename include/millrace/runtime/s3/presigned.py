"""Presigned URLs: past their time they are refused, also where nobody verifies signatures.

What this file does not do: it verifies no signature. With credentials `signature.py` has done so before, and lets no
signature of version 2 come this far.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from millrace.runtime.s3.errors import AccessDenied


def check_expiry(query: Mapping[str, str]) -> None:
    """
    Raises:
        AccessDenied: the URL has expired, or its time cannot be read.
    """
    try:
        if "X-Amz-Expires" in query:
            signed = datetime.strptime(query.get("X-Amz-Date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            expiry = signed.timestamp() + int(query["X-Amz-Expires"])
        elif "Signature" in query and "Expires" in query:  # signature version 2, boto3's default for presigning
            expiry = int(query["Expires"])
        else:
            return
    except (ValueError, OverflowError) as error:
        raise AccessDenied(f"the presigned URL's time cannot be read: {error}") from error
    if time.time() > expiry:
        raise AccessDenied("Request has expired")
