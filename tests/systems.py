"""What is tested only on systems that can do it: Windows cannot."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

import pytest

needs_fork: Final = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
needs_locks: Final = pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
needs_posix_spawn: Final = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs POSIX processes")
needs_signals: Final = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no signals")
