"""What `scripts/fuzz.py` attacks npgen with: malformed files, malformed arguments, and the processes that take them."""
