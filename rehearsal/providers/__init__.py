"""Stand-ins for providers whose real plugins can't be had; `python -m rehearsal.providers NAME` serves each."""
