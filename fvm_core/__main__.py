"""`python -m fvm_core COMMAND`."""

import sys

from fvm_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
