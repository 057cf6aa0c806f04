"""Switches off the retries of brokers' own clients: after no answer a message may have arrived."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def switch_off(transport: Collection[Any], options: dict[str, Any]) -> None:
    """Change the *options* of a connection; *transport* has the names that kombu knows it by.

    Redis has its own way, as its retries may be in the URL.
    """
    if "sqs" in transport:
        known = options.get("client-config") or {}
        options["client-config"] = {**known, "retries": {"total_max_attempts": 1}}
    elif "azureservicebus" in transport:
        options["retry_total"] = 0
    elif "kafka" in transport:
        known = options.get("kafka_producer_config") or {}
        # With idempotence the broker drops what comes twice, and refuses a client without retries.
        if not known.get("enable.idempotence"):
            options["kafka_producer_config"] = {**known, "retries": 0}
