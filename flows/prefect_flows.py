"""The flows as Prefect knows them, over the plain functions: for its server, workers and deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow

from flows.retrain_if_needed import retrain_if_needed
from flows.score_batch import score_batch
from flows.train_detector import train_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prefect import Flow

score_batch_flow: Flow[..., Any] = flow(name="score-batch", flow_run_name="{batch}", persist_result=False)(
    score_batch
)
train_detector_flow: Flow[..., Any] = flow(name="train-detector", persist_result=False)(train_detector)
retrain_if_needed_flow: Flow[..., Any] = flow(name="retrain-if-needed", persist_result=False)(
    retrain_if_needed
)

FLOWS: Mapping[Callable[..., Any], Flow[..., Any]] = {
    score_batch: score_batch_flow,
    train_detector: train_detector_flow,
    retrain_if_needed: retrain_if_needed_flow,
}
"""Plain function -> its flow."""
