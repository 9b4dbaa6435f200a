"""`python -m npgen.cli`."""

from npgen_command import main

main()
