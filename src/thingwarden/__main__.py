"""``python -m thingwarden``: the command line for people whose PATH does not hold the script.

In: the process's arguments. Out: its exit code.
Must never: hold anything but the call.
"""

from thingwarden.cli import main

raise SystemExit(main())
