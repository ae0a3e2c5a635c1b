"""Recorded runs → statistics over seeds → tables, verdicts on claims and a report; no torch."""
