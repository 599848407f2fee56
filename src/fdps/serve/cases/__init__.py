"""Cases: named searches with their purpose, notes, and verdicts on what was found."""
