"""Exit codes."""

from __future__ import annotations

from typing import Final

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
RUN_FAILED: Final = 3
RUN_NOT_ENDED: Final = 4
INTERRUPTED: Final = 130

EXIT_CODES: Final = {
    OK: "Done. Also where there is nothing to list yet.",
    ERROR: "It could not be done, or not all of it (`import`, `replay`); standard error says why and what to do. "
    "`doctor`: something is wrong.",
    USAGE: "The command line was wrong: an unknown command, option or value.",
    RUN_FAILED: "`watch`, `show --exit-status`: the run failed or was cancelled.",
    RUN_NOT_ENDED: "`show --exit-status`: the run has not ended. `watch --timeout`: it has not in that time.",
    INTERRUPTED: "`watch`: Ctrl-C ended it before the run had ended.",
}
