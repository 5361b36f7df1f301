"""Without a Prefect server nothing is emitted, and Prefect is not even imported."""

from __future__ import annotations

import subprocess
import sys


def test_without_a_server_nothing_is_sent_and_nobody_waits(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    program = (
        "import sys; from flows.events import RETRAIN_REQUESTED, emit; "
        "print(emit(RETRAIN_REQUESTED, 'pump', {'reason': 'drift'}), 'prefect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
