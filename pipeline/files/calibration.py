"""Calibrations on disk: in the manifest of a set's proposals, in the JSON beside features, and for known
networks in `weights/calibration.json`.

A calibration on disk is an object with `middle`, `spread` and `upper`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.errors import InputError

import numpy as np

from pipeline.calibration import Calibration
from pipeline.files.json_object import read_json

KNOWN = Path(__file__).resolve().parents[2] / "weights" / "calibration.json"


def calibration_json(calibration: Calibration) -> dict[str, float]:
    """The calibration as a JSON object."""
    return asdict(calibration)


def calibration_from(values: Any) -> Calibration | None:
    """The calibration in a JSON object, None where there is no valid one."""
    if not isinstance(values, dict):
        return None
    try:
        middle, spread, upper = (float(values[name]) for name in ("middle", "spread", "upper"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    sound = np.isfinite([middle, spread, upper]).all() and spread > 0 and upper > 0
    return Calibration(middle, spread, upper) if sound else None


def read_calibration(path: Path, weights_sha256: str | None) -> Calibration:
    """The calibration of another set of the same network, from its `manifest.json`.

    Raises `InputError` where there is none, or where it is of other weights and both are known.
    """
    values = read_json(path, "sh run_proposal.sh")
    calibration = calibration_from(values.get("calibration"))
    if calibration is None:
        raise InputError(f"{path}: holds no `calibration`: give the manifest.json of another super_vertex/")
    other = values.get("weights_sha256")
    if other and weights_sha256 and other != weights_sha256:
        raise InputError(
            f"{path}: is of features of another network: give the manifest.json of a set of the same network"
        )
    return calibration


def known_calibration(weights_sha256: str, crop: str) -> Calibration | None:
    """The calibration of a face network, by the SHA-256 of its weights, for this crop; None where unknown."""
    networks = read_json(KNOWN, "git checkout weights").get("networks")
    for network in networks if isinstance(networks, list) else []:
        if network.get("weights_sha256") == weights_sha256 and crop in network.get("crops", ()):
            return calibration_from(network.get("calibration"))
    return None
