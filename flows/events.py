"""What a run tells Prefect's automations. Does nothing without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeflow.settings import prefect_api_configured

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRAIN_REQUESTED = "aeflow.retrain.requested"
"""A retraining is due: an automation runs the retraining deployment. Its resource is `aeflow.pipeline.<name>`."""


def emit(event: str, pipeline: str, payload: Mapping[str, str]) -> bool:
    """Send one event about a pipeline to the Prefect server that `PREFECT_API_URL` names.

    Returns:
        Whether there is a server. The event is on its way then, and sent at the latest when the process ends.
    """
    if not prefect_api_configured():
        # Without an address Prefect would start a server of its own, and this process would wait for it.
        return False
    from prefect.events import emit_event  # noqa: PLC0415 - seconds that only a server is worth

    emit_event(event, resource={"prefect.resource.id": f"aeflow.pipeline.{pipeline}"}, payload=dict(payload))
    return True
