"""The command: settings, logging, and the composition of the rooms into processes."""

from __future__ import annotations

import sys
from pathlib import Path

# A wheel carries the rooms (storage, collector, …) in here, so that their generic names never land in site-packages.
_ROOMS = Path(__file__).parent / "_rooms"
if _ROOMS.is_dir():
    sys.path.insert(0, str(_ROOMS))

__version__ = "0.1.0"
