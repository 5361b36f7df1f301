"""What to do about the last nights: one decision, with its reasons in sentences. No clock and no file here.

| decision | when | who acts |
|---|---|---|
| OK | nothing has changed that the detector minds | nobody |
| RECALIBRATE | the errors have changed for good, the data have not: the cut no longer means what it says | aeflow: the calibration alone |
| RETRAIN | the data have changed for good and broadly, and enough of them is not flagged | aeflow: a new detector |
| SENSOR_FAULT | one sensor has changed and the others have not followed | people: the sensor |
| INCIDENT | a burst of flags in data that are otherwise as ever | people: the machine |
| HOLD | something has changed, and acting on it now would be wrong; the reason says what is waited for | time, or people |

A fault is never learnt from because it lasts: what is flagged stays out of the training data, a slow change
of few channels is taken for wear, and where most of what came is flagged people are asked first.
"""

from aeflow.retraining.decision import Circumstances, RetrainingDecision, decide_retraining
from aeflow.retraining.judgement import Judgement, Outcome, judge_nights
from aeflow.retraining.measurements import Drift, ErrorRise, Night, Shift

__all__ = [
    "Circumstances",
    "Drift",
    "ErrorRise",
    "Judgement",
    "Night",
    "Outcome",
    "RetrainingDecision",
    "Shift",
    "decide_retraining",
    "judge_nights",
]
