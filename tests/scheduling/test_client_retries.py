"""The retries of brokers' own clients: none repeats a message whose answer was lost."""

from __future__ import annotations

from typing import Any

import pytest

from fullresult.scheduling.client_retries import switch_off


@pytest.mark.parametrize(
    ("transport", "given", "changed"),
    [
        (
            ("sqs",),
            {"client-config": {"region_name": "eu-west-1"}},
            {"client-config": {"region_name": "eu-west-1", "retries": {"total_max_attempts": 1}}},
        ),
        (("azureservicebus",), {"retry_total": 3}, {"retry_total": 0}),
        (
            ("kafka",),
            {"kafka_producer_config": {"acks": "all", "retries": 5}},
            {"kafka_producer_config": {"acks": "all", "retries": 0}},
        ),
        (("confluentkafka", "kafka"), {}, {"kafka_producer_config": {"retries": 0}}),
        (("memory", None), {"polling_interval": 1}, {"polling_interval": 1}),
    ],
    ids=str,
)
def test_a_client_is_told_to_send_once(
    transport: tuple[Any, ...], given: dict[str, Any], changed: dict[str, Any]
) -> None:
    options = dict(given)

    switch_off(transport, options)

    assert options == changed


def test_an_idempotent_producer_of_kafka_is_left_alone() -> None:
    """Its broker drops what comes twice."""
    options = {"kafka_producer_config": {"enable.idempotence": True}}

    switch_off({"kafka"}, options)

    assert options == {"kafka_producer_config": {"enable.idempotence": True}}


def test_what_the_app_has_set_is_not_changed_for_its_own_connections() -> None:
    config = {"retries": 5}

    switch_off({"kafka"}, {"kafka_producer_config": config})

    assert config == {"retries": 5}
