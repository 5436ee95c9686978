"""Row P7's comparison: lifetimes fits BG/NBD to the same customers and predicts their purchases.

    lifetimes_clv.py FOLDER ROUNDS TIME

FOLDER holds `repeats.f64`, `recency.f64` and `age.f64`, little-endian. Prints, as JSON, the best seconds of a fit and of a prediction for TIME
ahead, the parameters, and the sum of what is predicted.
"""
import json
import pathlib
import sys
import time
import warnings

import numpy
from lifetimes import BetaGeoFitter


def timed(work):
    """What some work gives, and the seconds that it takes."""
    begun = time.perf_counter()
    given = work()
    return given, time.perf_counter() - begun


def main(folder, rounds, ahead):
    """Measures both."""
    warnings.simplefilter("ignore")
    repeats, recency, age = (numpy.fromfile(folder / f"{name}.f64") for name in ("repeats", "recency", "age"))
    fits, predictions = [], []
    for _ in range(rounds):
        model, seconds = timed(lambda: BetaGeoFitter().fit(repeats, recency, age))
        fits.append(seconds)
        predicted, seconds = timed(
            lambda: model.conditional_expected_number_of_purchases_up_to_time(ahead, repeats, recency, age))
        predictions.append(seconds)
    print(json.dumps({"fit": min(fits), "prediction": min(predictions), "predicted": float(numpy.nansum(predicted)),
                      "parameters": {name: float(value) for name, value in model.params_.items()}}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
