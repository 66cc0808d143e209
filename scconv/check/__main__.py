"""python -m scconv.check NAME|FILE [OPTION=VALUE ...]"""

import sys

from scconv.check import main

sys.exit(main())
