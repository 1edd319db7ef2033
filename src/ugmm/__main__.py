"""`python -m ugmm`."""

import sys

from ugmm.cli import main

sys.exit(main())
