from __future__ import annotations

import pytest

from tests.unit.report import samples


@pytest.fixture(scope="session")
def water():
    """The real water-flow series as two machines; the second has a stretch without values."""
    values = samples.water_flow()
    second = values[600:1100].copy()
    second[300:310] = float("nan")
    return {"north": values[:600], "south": second}


@pytest.fixture
def series(tmp_path, water):
    """A folder with scores and flags of a series, and the number of its rows."""
    return tmp_path, samples.write_series(tmp_path, water)


@pytest.fixture
def images(tmp_path):
    """A folder with scores and flags of images, and the number of its rows."""
    return tmp_path, samples.write_images(tmp_path, samples.digits(60))
