"""`python -m fvm_core COMMAND`."""

import sys

from fvm_core.cli.main import main
from fvm_core.jobs.kept_memory import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
