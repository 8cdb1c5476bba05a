"""`python -m stepaudio_cas` is `cas-tool`, for the interpreter that it is called with."""

import sys

from stepaudio_cas.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
